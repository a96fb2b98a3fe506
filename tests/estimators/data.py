"""Data for the tests of the estimators, and builders of models that can be pickled."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import load_diabetes, load_iris
from sklearn.preprocessing import StandardScaler

from minidl import Activation, BatchNorm, Dense, Dropout, Layer, ReLU, Sequential

X, Y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
XR, YR = load_diabetes(return_X_y=True)
XR, YR = XR / XR.std(axis=0), (YR - YR.mean()) / YR.std()
SMALL: dict[str, Any] = {
    "hidden_layer_sizes": (16,), "max_iter": 60, "learning_rate_init": 0.01, "random_state": 0
}  # fmt: skip


def normalized(wide: int, out: int) -> Layer:
    return Sequential(Dense(wide, 16), BatchNorm(16), ReLU(), Dropout(0.1), Dense(16, out))


def waves(wide: int, out: int) -> Layer:
    return Sequential(Dense(wide, 16), Activation(np.sin, np.cos), Dense(16, out))
