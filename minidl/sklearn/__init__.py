"""Estimators of scikit-learn that train a network; they need the extra ``sklearn``."""

try:
    from ._classifier import NetworkClassifier
    from ._regressor import NetworkRegressor
except ImportError as error:
    message = f'minidl.sklearn needs scikit-learn 1.6 or later: pip install "minidl[sklearn]" ({error})'
    raise ImportError(message) from None

__all__ = ["NetworkClassifier", "NetworkRegressor"]
