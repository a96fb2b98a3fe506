"""Estimators of scikit-learn that train a network; they need the extra ``sklearn``."""

try:
    from ._classifier import NetworkClassifier
    from ._regressor import NetworkRegressor
except ImportError as _error:
    raise ImportError(
        f'minidl.sklearn needs scikit-learn 1.7 or later: pip install "minidl[sklearn]" ({_error})'
    ) from None

__all__ = ["NetworkClassifier", "NetworkRegressor"]
