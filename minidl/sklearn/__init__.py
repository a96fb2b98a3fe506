"""Estimators of scikit-learn that train a network; they need ``pip install 'minidl[sklearn]'``."""

from ._classifier import NetworkClassifier
from ._regressor import NetworkRegressor

__all__ = ["NetworkClassifier", "NetworkRegressor"]
