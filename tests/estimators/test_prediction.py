"""Predictions: the quick way and the long way, sparse rows, ensembles, files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import PoissonRegressor
from sklearn.utils.validation import validate_data

import minidl
from minidl import CrossEntropy, HalfSquaredError, SigmoidCrossEntropy, Softmax, mlp
from minidl.errors import ArgumentError
from minidl.losses import PoissonLoss
from minidl.sklearn import NetworkClassifier, NetworkRegressor, _rows
from tests.estimators.data import SMALL, XR, YR, X, Y
from tests.support.refusal import refused


def raised(call: Any) -> tuple[type, str]:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the text is compared
        call()
    return type(caught.value), str(caught.value)


LONG_WAY: dict[str, Any] = {
    "a list": lambda x: x.tolist(), "float32": lambda x: x.astype(np.float32), "other bytes": lambda x: x.astype(">f8"),
    "columns in memory": np.asfortranarray, "integers": lambda x: x.astype(int), "a CSR matrix": sparse.csr_array,
}  # fmt: skip


@pytest.mark.parametrize("kind", LONG_WAY)
def test_a_prediction_does_not_depend_on_the_kind_of_array(kind: str) -> None:
    network = NetworkRegressor(**SMALL).fit(XR, YR)
    given = LONG_WAY[kind](XR)
    dense = _rows.dense_rows(given)
    wanted = network.model_.predict(np.array(dense, np.float64))[:, 0]
    np.testing.assert_allclose(network.predict(given), wanted, rtol=1e-5 if kind == "float32" else 1e-12)


BAD = {
    "NaN": np.full((2, 4), np.nan), "infinite": np.full((1, 4), -np.inf), "narrow": np.ones((2, 3)),
    "no rows": np.ones((0, 4)), "one dimension": np.ones(4), "three": np.ones((1, 4, 1)),
    "words": np.array([["a"] * 4]), "complex": np.ones((1, 4), complex),
    "sparse NaN": sparse.csr_array(np.full((1, 4), np.nan)),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_refused_in_the_words_of_scikit_learn(kind: str) -> None:
    network = NetworkClassifier(**SMALL).fit(X, Y)
    wanted = raised(lambda: validate_data(network, BAD[kind], accept_sparse="csr", dtype=float, reset=False))
    assert issubclass(wanted[0], (ValueError, TypeError))
    for method in (network.predict, network.predict_proba):
        assert raised(lambda method=method: method(BAD[kind])) == wanted
    assert raised(lambda: NetworkClassifier().predict(BAD[kind]))[0] is NotFittedError


def test_large_finite_numbers_are_no_bad_input() -> None:
    network = NetworkClassifier(**SMALL).fit(X, Y)
    assert network.predict(np.full((1, 4), 1e200)).shape == (1,)


def test_many_rows_and_sparse_rows_are_predicted_by_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    network = NetworkClassifier(**SMALL).fit(X, Y)
    whole = network.predict_proba(X)
    rows: list[int] = []
    predict = network.model_.predict

    def watched(x: Any) -> Any:
        rows.append(len(x))
        return predict(x)

    monkeypatch.setattr(network.model_, "predict", watched)
    monkeypatch.setattr(_rows, "DENSE", 4 * 40)
    np.testing.assert_allclose(network.predict_proba(sparse.csr_array(X)), whole, rtol=1e-12)
    assert rows == [40, 40, 40, 30]


def test_sparse_rows_are_trained_by_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    largest: list[int] = []
    dense = _rows.dense_rows

    def watched(x: Any) -> Any:
        largest.append(x.shape[0])
        return dense(x)

    monkeypatch.setattr(_rows, "dense_rows", watched)
    settings = {**SMALL, "batch_size": 32, "shuffle": False, "max_iter": 5}
    network = NetworkClassifier(**settings).fit(sparse.csr_array(X), Y)
    assert max(largest) == 32
    np.testing.assert_allclose(network.predict_proba(X), NetworkClassifier(**settings).fit(X, Y).predict_proba(X))


def test_the_orders_of_sparse_rows_differ_and_have_every_row_once() -> None:
    rows = _rows.Rows(sparse.csr_array(np.arange(1.0, 8)[:, None]), np.arange(7), np.arange(7.0))
    stream = _rows.SparseBatches(rows, 2, np.random.default_rng(0))
    epochs = [[part[1].tolist() for part in stream] for _ in range(2)]
    assert epochs[0] != epochs[1]
    assert [len(part) for part in epochs[0]] == [2, 2, 3]
    assert len(stream) == 3
    assert sorted(row for part in epochs[0] for row in part) == list(range(7))
    for x, y, weight in stream:
        np.testing.assert_array_equal(x[:, 0], y + 1)
        np.testing.assert_allclose(weight, y / 3)


def test_an_ensemble_predicts_the_mean_and_the_spread_of_its_networks() -> None:
    network = NetworkRegressor(**SMALL, ensemble=3).fit(XR, YR)
    members = np.stack([model.predict(XR)[:, 0] for model in network.models_])
    assert not np.allclose(members[0], members[1])
    mean, spread = network.predict(XR, return_std=True)
    np.testing.assert_allclose(mean, members.sum(axis=0) / 3)
    np.testing.assert_allclose(network.predict(XR), mean)
    np.testing.assert_allclose(spread, np.sqrt(((members - mean) ** 2).sum(axis=0) / 2))
    for small in (XR[:1], XR[:1].tolist()):
        np.testing.assert_allclose(network.predict(small, return_std=True)[1], spread[:1])
    assert network.predict(np.tile(XR, (20, 1)), return_std=True)[1].shape == (20 * len(XR),)


def test_an_ensemble_of_classifiers_predicts_the_mean_probability() -> None:
    for y in (Y, Y == 1):
        network = NetworkClassifier(**SMALL, ensemble=3).fit(X, y)
        members = [network.loss_function_.probabilities(model.predict(X)) for model in network.models_]
        np.testing.assert_allclose(network.predict_proba(X)[:, -1], np.mean(members, axis=0)[:, -1])


def test_an_ensemble_is_better_than_its_networks_on_average() -> None:
    networks = NetworkRegressor(**SMALL, ensemble=5).fit(XR[:300], YR[:300])
    alone = [np.mean((model.predict(XR[300:])[:, 0] - YR[300:]) ** 2) for model in networks.models_]
    assert np.mean((networks.predict(XR[300:]) - YR[300:]) ** 2) < np.mean(alone)


def test_a_single_network_has_no_spread() -> None:
    with refused(ArgumentError, "NetworkRegressor.predict(return_std): expected an ensemble", "ensemble=10"):
        NetworkRegressor(**SMALL).fit(XR, YR).predict(XR, return_std=True)


@pytest.mark.parametrize("ensemble", [1, 2])
def test_the_model_in_a_file_predicts_the_same(ensemble: int, tmp_path: Path) -> None:
    for y in (Y, Y == 1):
        network = NetworkClassifier(**SMALL, ensemble=ensemble).fit(X, y)
        minidl.save(network.model_, tmp_path / "model.safetensors")
        loaded = minidl.load(tmp_path / "model.safetensors")
        np.testing.assert_array_equal(loaded.predict(X)[:, -1], network.predict_proba(X)[:, -1])


def test_a_pickle_holds_no_data() -> None:
    x = np.tile(XR, (50, 1))
    network = NetworkRegressor((4,), max_iter=2).fit(x, np.tile(YR, 50))
    assert len(pickle.dumps(network)) < 20_000
    assert len(pickle.dumps(network.partial_fit(x, np.tile(YR, 50)))) < 30_000


def test_losses_decide_what_the_network_ends_in() -> None:
    for loss, outputs in ((CrossEntropy, 3), (HalfSquaredError(), 3), (None, 3)):
        network = NetworkClassifier(**SMALL, loss=loss).fit(X, Y)
        assert isinstance(network.model_[-1], Softmax)
        assert network.n_outputs_ == outputs
        np.testing.assert_allclose(network.predict_proba(X).sum(axis=1), 1.0)
        assert network.score(X, Y) > 0.9
    share = NetworkRegressor(**SMALL, loss=SigmoidCrossEntropy()).fit(X, (Y > 0) * 0.8 + 0.1)
    np.testing.assert_allclose(share.predict(X), (Y > 0) * 0.8 + 0.1, atol=0.3)


def test_a_model_that_is_given_is_copied_and_trained_from_its_values() -> None:
    model: Any = mlp([4, 8, 3], rng=0)
    before = model.predict(X)
    network = NetworkClassifier(model=model, learning_rate_init=1e-9, max_iter=1).fit(X, Y)
    np.testing.assert_allclose(network.models_[0].predict(X), before, atol=1e-6)
    network.set_params(learning_rate_init=0.1).fit(X, Y)
    np.testing.assert_array_equal(model.predict(X), before)
    model[0].freeze()
    frozen = NetworkClassifier(model=model, learning_rate_init=0.1, max_iter=3).fit(X, Y).models_[0]
    np.testing.assert_array_equal(frozen[0].weight.value, model[0].weight.value)
    assert not np.array_equal(frozen[2].weight.value, model[2].weight.value)


def test_the_html_shows_the_diagram_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    network = NetworkClassifier(**SMALL)
    assert "NetworkClassifier" in network._repr_html_()
    network.fit(X, Y)
    monkeypatch.setattr(minidl.Sequential, "_repr_html_", lambda _: "<svg>picture</svg>", raising=False)
    assert network._repr_html_().endswith("<svg>picture</svg>")
    assert network._repr_mimebundle_()["text/html"].endswith("<svg>picture</svg>")


@pytest.mark.parametrize("ensemble", [1, 3])
def test_a_regression_of_counts_predicts_the_rate(ensemble: int, tmp_path: Path) -> None:
    """The mean of the counts, as scikit-learn's PoissonRegressor; both are linear in the logarithm of the rate."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    y = rng.poisson(np.exp(1.0 + x @ [0.5, -0.3]))
    network = NetworkRegressor((), loss=PoissonLoss, solver="lbfgs", alpha=0.0, ensemble=ensemble, random_state=0)
    found = network.fit(x, y).predict(x)
    np.testing.assert_allclose(found, PoissonRegressor(alpha=0.0, tol=1e-8).fit(x, y).predict(x), rtol=1e-4)
    np.testing.assert_allclose(np.exp(network.models_[0].predict(x)[:, 0]), found, rtol=1e-3)
    minidl.save(network.model_, tmp_path / "counts.safetensors")
    assert np.array_equal(minidl.load(tmp_path / "counts.safetensors").predict(x)[:, 0], found)
    assert pickle.loads(pickle.dumps(network)).predict(x).tolist() == found.tolist()
    if ensemble > 1:
        mean, spread = network.predict(x, return_std=True)
        np.testing.assert_allclose(mean, found, rtol=1e-13)
        assert (spread < 1e-3 * mean).all()


def test_a_network_that_is_given_learns_the_logarithm_of_the_rate() -> None:
    x, y = np.zeros((40, 1)), np.full(40, 3.0)
    given = mlp([1, 4, 1], activation=minidl.Tanh, rng=0)
    network = NetworkRegressor(model=given, loss=PoissonLoss(), solver="lbfgs", alpha=0.0, random_state=0).fit(x, y)
    np.testing.assert_allclose(network.predict(x[:1]), [3.0], rtol=1e-3)
    np.testing.assert_allclose(network.models_[0].predict(x[:1]), [[np.log(3.0)]], rtol=1e-3)
