"""Bad arguments and bad data: clear errors, in scikit-learn's words where it has them, and nothing changed."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

import minidl
from minidl import Adam, BatchNorm, ClipNorm, Dense, Sequential, mlp
from minidl.callbacks import StopAfter
from minidl.errors import DivergenceError, DTypeError, MinidlError
from minidl.sklearn import NetworkClassifier, NetworkRegressor
from tests.estimators.data import SMALL, XR, YR, X, Y

ARGUMENTS: list[tuple[str, dict[str, Any], str]] = [
    ("hidden_layer_sizes", {"hidden_layer_sizes": (0,)}, "Dense(out_features): expected at least 1, got 0"),
    ("activation", {"activation": "selu"}, 'NetworkClassifier(activation): expected "identity", "logistic"'),
    ("model", {"model": lambda wide, out: None}, "NetworkClassifier(model): expected a Layer, got None"),
    ("width", {"model": lambda wide, out: Dense(wide, 7)}, "(model): expected 3 outputs for [0 1 2], got 7"),
    ("model as a word", {"model": "mlp"}, "NetworkClassifier(model): expected a Layer, got 'mlp'"),
    ("loss", {"loss": "mse"}, "NetworkClassifier(loss): expected a Loss, got 'mse'"),
    ("solver", {"solver": "adagrad"}, 'NetworkClassifier(solver): expected "adam", "sgd"'),
    ("learning rate", {"learning_rate_init": 0.0}, "Adam(learning_rate): expected a finite number and above 0"),
    ("alpha", {"alpha": -1.0}, "NetworkClassifier(alpha): expected a finite number and at least 0, got -1.0"),
    ("batch_size", {"batch_size": 0}, "NetworkClassifier(batch_size): expected at least 1, got 0"),
    ("batch_size as a word", {"batch_size": "all"}, 'NetworkClassifier(batch_size): expected'),
    ("max_iter", {"max_iter": 0}, "NetworkClassifier(max_iter): expected at least 1, got 0"),
    ("max_iter of lbfgs", {"max_iter": 0, "solver": "lbfgs"}, "NetworkClassifier(max_iter): expected at least 1"),
    ("tol", {"tol": -1.0}, "NetworkClassifier(tol): expected a finite number and at least 0, got -1.0"),
    ("patience", {"n_iter_no_change": 0}, "NetworkClassifier(n_iter_no_change): expected at least 1, got 0"),
    ("fraction", {"early_stopping": True, "validation_fraction": 1.0}, "NetworkClassifier(validation_fraction): exp"),
    ("few rows", {"early_stopping": True, "validation_fraction": 1e-4}, "leaves nothing on one of them"),
    ("class_weight", {"class_weight": "even"}, "'even'"),
    ("a negative class_weight", {"class_weight": {0: -1.0}}, "NetworkClassifier(class_weight): class 0: expected a f"),
    ("class_weights of 0", {"class_weight": {0: 0, 1: 0, 2: 0}}, "(class_weight): expected a weight above 0 for some"),
    ("an unknown class_weight", {"class_weight": {0: 2.0, 7: 1.0}}, "The classes, [1, 2], are not in class_weight"),
    ("solver that is made", {"solver": Adam(mlp([1, 1]).parameters())}, "(solver): expected a word, or a function"),
    ("clip of lbfgs", {"solver": "lbfgs", "clip": ClipNorm(1.0)}, '(clip): expected None with solver="lbfgs"'),
    ("callbacks of lbfgs", {"solver": "lbfgs", "callbacks": [StopAfter(9)]}, '(callbacks): expected None with solver='),
    ("ensemble", {"ensemble": 0}, "NetworkClassifier(ensemble): expected at least 1, got 0"),
    ("clip", {"clip": 1.0}, "Trainer(clip): expected a Clip"),
    ("callbacks", {"callbacks": 3}, "NetworkClassifier(callbacks): expected a list of callbacks, got 3"),
    ("engine", {"engine": "jit"}, 'Trainer(engine): expected "auto"'),
]


def state(estimator: Any) -> dict[str, Any]:
    """Return what an estimator holds; arrays of its model as bytes."""
    values = [p.value.tobytes() for model in getattr(estimator, "models_", []) for p in model.parameters()]
    return {**{name: repr(value) for name, value in vars(estimator).items()}, "values": values}


@pytest.mark.parametrize(("given", "text"), [row[1:] for row in ARGUMENTS], ids=[row[0] for row in ARGUMENTS])
def test_a_wrong_argument_is_refused_by_fit_and_changes_nothing(given: dict[str, Any], text: str) -> None:
    new = NetworkClassifier(**SMALL | given)
    fitted = NetworkClassifier(**SMALL).fit(X[:, :3], Y).set_params(**given)
    for network in (new, fitted):
        before = state(network)
        with pytest.raises((MinidlError, ValueError)) as caught:
            network.fit(X, Y)
        assert text in str(caught.value)
        assert state(network) == before


BAD: dict[str, tuple[Any, Any, Any, str]] = {
    "NaN": (np.where(X > 2, np.nan, X), Y, None, "Input X contains NaN"),
    "rows": (X, Y[1:], None, "inconsistent numbers of samples: [150, 149]"),
    "one class": (X, np.zeros(150, int), None, "expected at least 2 classes in y, got 1 class: "),
    "numbers as classes": (X, X[:, 0], None, "Unknown label type: continuous"),
    "two classes for each row": (X, np.c_[Y, Y], None, "Unknown label type"),
    "NaN in y": (X, np.where(Y == 1, np.nan, Y), None, "Input y contains NaN"),
    "weights": (X, Y, np.ones(3), "inconsistent numbers of samples: [150, 3]"),
    "a table of weights": (X, Y, np.ones((150, 2)), "Sample weights must be 1D array"),
    "a negative weight": (X, Y, -np.ones(150), "Negative values in data passed to `sample_weight`"),
    "NaN in the weights": (X, Y, np.full(150, np.nan), "Input sample_weight contains NaN"),
    "weights of 0": (X, Y, np.zeros(150), "sample_weight: expected at least one weight above zero"),
    "one class that counts": (X, Y, (Y == 1) * 1.0, "expected at least 2 classes in y, got 1 class: "),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_data_is_refused_and_changes_nothing(kind: str) -> None:
    x, y, weight, text = BAD[kind]
    for network in (NetworkClassifier(**SMALL), NetworkClassifier(**SMALL).fit(X, Y > 1)):
        for call in ("fit", "partial_fit"):
            before = state(network)
            more = {"classes": [0, 1, 2] if kind == "one class" else np.unique(network.__dict__.get("classes_", Y))}
            if "class" in kind and call == "partial_fit":
                continue
            with pytest.raises((ValueError, TypeError)) as caught:
                getattr(network, call)(x, y, sample_weight=weight, **(more if call == "partial_fit" else {}))
            assert text in str(caught.value)
            assert state(network) == before


def test_columns_that_are_missing_or_in_another_order_are_named() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    network = NetworkClassifier(**SMALL).fit(frame, Y)
    for method in (network.predict, network.predict_proba):
        with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
            method(frame[list("dcba")])
        with pytest.raises(ValueError, match=r"(?s)seen at fit time, yet now missing:\n- d"):
            method(frame[list("abc")])
        with pytest.raises(ValueError, match=r"(?s)unseen at fit time:\n- e"):
            method(frame.rename(columns={"d": "e"}))
        with pytest.warns(UserWarning, match="X does not have valid feature names, but NetworkClassifier was fitted"):
            method(X)
    before = state(network)
    with pytest.raises(ValueError, match="same order"):
        network.partial_fit(frame[list("dcba")], Y, classes=[0, 1, 2])
    assert state(network) == before


def test_a_class_that_was_never_seen_is_named() -> None:
    network = NetworkClassifier(**SMALL).partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"`y` has classes not in `self.classes_`.*\[0 1 2\]. 'y' has \[3\]"):
        network.partial_fit(X, Y + 1)
    with pytest.raises(ValueError, match="is not the same as on last call to partial_fit"):
        network.partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        NetworkClassifier().partial_fit(X, Y)
    warm = NetworkClassifier(**SMALL, warm_start=True).fit(X, Y)
    with pytest.raises(ValueError, match="'y' has \\[3\\]"):
        warm.fit(X, Y + 1)
    with pytest.raises(ValueError, match="expected one class for each row, as in the first fit"):
        warm.fit(X, np.eye(3, dtype=int)[Y])
    with pytest.raises(ValueError, match="'balanced' is not supported for partial_fit"):
        NetworkClassifier(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2])


def test_lbfgs_has_no_partial_fit() -> None:
    assert not hasattr(NetworkRegressor(solver="lbfgs"), "partial_fit")
    assert hasattr(NetworkRegressor(), "partial_fit")


def test_a_constant_feature_and_a_constant_target_are_no_trouble() -> None:
    constant = np.c_[X, np.full(len(X), 7.0)]
    assert NetworkClassifier(**SMALL).fit(constant, Y).score(constant, Y) > 0.9
    assert abs(NetworkRegressor(**SMALL | {"max_iter": 400}).fit(X, np.full(len(X), 0.5)).predict(X).mean() - 0.5) < 0.1


def test_a_target_that_is_too_large_diverges_with_a_hint() -> None:
    network = NetworkRegressor(**SMALL | {"solver": "sgd", "learning_rate_init": 0.5})
    before = state(network)
    with pytest.raises(DivergenceError, match="Try a smaller learning rate"):
        network.fit(XR * 100, YR * 1e3)
    assert state(network) == before


def test_a_single_row_for_batch_normalization_is_an_error() -> None:
    model = Sequential(Dense(4, 3), BatchNorm(3))
    with pytest.raises(ValueError, match="expected at least 2 rows"):
        NetworkRegressor(model=model).fit(X[:1], np.ones((1, 3)))


def test_an_estimator_in_place_of_a_layer_is_refused_by_naming_its_network() -> None:
    network = NetworkRegressor((3,), max_iter=1).fit(XR, YR)
    with pytest.raises(DTypeError, match=r"expected a Layer, got NetworkRegressor.*; give its \.model_$"):
        minidl.solvers.jacobian(network, XR)  # type: ignore[arg-type]


def test_an_argument_is_never_changed() -> None:
    model = mlp([4, 3], rng=0)
    network = NetworkClassifier(model=model, **SMALL)
    network.fit(X, Y)
    assert network.get_params()["model"] is model
    assert network.model_ is not model


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "sklearn" or name.startswith("minidl.sklearn")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(minidl, "sklearn")
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r'minidl.sklearn needs scikit-learn .*: pip install "minidl\[sklearn\]"'):
        minidl.sklearn  # noqa: B018
    with pytest.raises(AttributeError, match=r"use minidl.initializers.Normal"):
        minidl.Normal  # type: ignore[attr-defined]  # noqa: B018
