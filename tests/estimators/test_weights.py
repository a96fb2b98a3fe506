"""Weights: k is k rows, 0 is no row; the penalty and class weights as scikit-learn defines them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils.class_weight import compute_class_weight

from minidl.sklearn import NetworkClassifier, NetworkRegressor
from tests.estimators.data import SMALL, XR, YR, X, Y

K = np.random.default_rng(0).integers(0, 4, len(X))
KR = np.random.default_rng(0).integers(0, 4, len(XR))
FIT: dict[str, dict[str, Any]] = {
    "adam": {**SMALL, "batch_size": 10_000, "alpha": 1.0},
    "sgd": {**SMALL, "batch_size": 10_000, "alpha": 1.0, "solver": "sgd"},
    "lbfgs": {"solver": "lbfgs", "hidden_layer_sizes": (8,), "alpha": 1.0, "max_iter": 30, "random_state": 0},
    "ensemble": {**SMALL, "batch_size": 10_000, "ensemble": 2, "max_iter": 10},
    "balanced": {**SMALL, "batch_size": 10_000, "class_weight": "balanced"},
    "mapping": {**SMALL, "batch_size": 10_000, "class_weight": {0: 2.0, 1: 0.5}},
}


@pytest.mark.parametrize("name", FIT)
def test_weight_k_is_k_rows_and_weight_0_is_none(name: str) -> None:
    weighted = NetworkClassifier(**FIT[name]).fit(X, Y, sample_weight=K)
    repeated = NetworkClassifier(**FIT[name]).fit(np.repeat(X, K, axis=0), np.repeat(Y, K))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-9)


def test_weights_of_a_regression_are_counts_as_well() -> None:
    weighted = NetworkRegressor(**FIT["adam"]).fit(XR, YR, sample_weight=KR)
    repeated = NetworkRegressor(**FIT["adam"]).fit(np.repeat(XR, KR, axis=0), np.repeat(YR, KR))
    np.testing.assert_allclose(weighted.predict(XR), repeated.predict(XR), rtol=1e-8)


def test_without_hidden_layers_it_is_ridge_regression() -> None:
    weight = np.random.default_rng(0).uniform(0.1, 3.0, len(XR))
    for alpha in (1e-3, 30.0):
        network = NetworkRegressor((), solver="lbfgs", alpha=alpha, tol=1e-9, max_iter=500).fit(XR, YR, weight)
        ridge = Ridge(alpha=alpha).fit(XR, YR, weight)
        np.testing.assert_allclose(network.model_[0].weight.value[0], ridge.coef_, atol=1e-5)
        np.testing.assert_allclose(network.predict(XR), ridge.predict(XR), atol=1e-5)


def test_without_hidden_layers_it_is_logistic_regression() -> None:
    for y in (Y, Y > 1):
        network = NetworkClassifier((), solver="lbfgs", alpha=0.5, tol=1e-9, max_iter=500, class_weight="balanced")
        logistic = LogisticRegression(C=2.0, tol=1e-10, max_iter=1000, class_weight="balanced").fit(X[20:], y[20:])
        np.testing.assert_allclose(network.fit(X[20:], y[20:]).predict_proba(X), logistic.predict_proba(X), atol=1e-5)


def test_balanced_class_weights_are_those_of_scikit_learn_for_the_repeated_rows() -> None:
    y = np.repeat(Y, K)
    own = dict(zip(range(3), compute_class_weight("balanced", classes=np.arange(3), y=y), strict=True))
    balanced = NetworkClassifier(**FIT["balanced"]).fit(X, Y, sample_weight=K)
    mapped = NetworkClassifier(**{**FIT["balanced"], "class_weight": own}).fit(X, Y, sample_weight=K)
    np.testing.assert_allclose(balanced.predict_proba(X), mapped.predict_proba(X), rtol=1e-9)


def test_the_held_out_rows_have_their_weights() -> None:
    heavy = np.where(YR > 0, 1e6, 1e-6)
    network = NetworkRegressor(**SMALL, early_stopping=True).fit(XR, YR, heavy)
    assert network.predict(XR).mean() > 0.5
    assert network.validation_loss_curve_[-1] < 1.0
    assert len(network.validation_loss_curve_) == network.n_iter_


def test_a_class_with_weight_0_only_is_no_class() -> None:
    network = NetworkClassifier(**SMALL).fit(X, Y, sample_weight=np.where(Y == 2, 0.0, 1.0))
    assert network.classes_.tolist() == [0, 1]
    assert network.predict_proba(X).shape == (150, 2)


def test_partial_fit_takes_class_weights_also_of_classes_without_rows() -> None:
    x, y = X[Y < 2], Y[Y < 2]  # three classes are known, and the rows of the second call are of two
    found = NetworkClassifier(**SMALL, class_weight={2: 5.0, 1: 3.0}).partial_fit(X, Y, classes=[0, 1, 2])
    wanted = NetworkClassifier(**SMALL).partial_fit(X, Y, [0, 1, 2], np.array([1.0, 3.0, 5.0])[Y])
    for network, weight in ((found, None), (wanted, np.array([1.0, 3.0])[y])):
        network.partial_fit(x[y == 0], y[y == 0])
        network.partial_fit(x, y, sample_weight=weight)
    np.testing.assert_allclose(found.predict_proba(X), wanted.predict_proba(X), rtol=1e-12)
