"""The estimators in scikit-learn: searches, pipelines, meta-estimators, plots, copies and threads."""

from __future__ import annotations

import copy
import io
import pickle
import threading
from functools import partial
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

import joblib
import sklearn
from scipy import sparse
from sklearn import calibration, compose, ensemble, feature_selection, inspection, model_selection, multiclass
from sklearn import multioutput as several
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - it makes HalvingGridSearchCV
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from minidl import (
    AdamW,
    BinaryCrossEntropy,
    ClipGlobalNorm,
    CrossEntropy,
    HalfSquaredError,
    Huber,
    SoftmaxCrossEntropy,
    schedules,
)
from minidl.callbacks import Callback
from minidl.sklearn import NetworkClassifier, NetworkRegressor
from minidl.sklearn._rows import Rows
from minidl.trainer import Trainer
from tests.estimators.data import SMALL, XR, YR, X, Y, normalized, waves

TWO = Y > 0
CLASSIFIER, REGRESSOR = NetworkClassifier(**SMALL), NetworkRegressor(**SMALL)


def wrapped(estimator: Any, x: Any = X, y: Any = Y, least: float = 0.9, **given: Any) -> Any:
    """Fit something that has a classifier inside; it has learned the data."""
    assert estimator.fit(x, y, **given).score(x, y) > least
    return estimator


# ---- searches


def test_a_grid_search_tries_arguments_inside_of_a_pipeline_in_two_processes() -> None:
    grid = {"networkclassifier__alpha": [1e-4, 1e-1], "networkclassifier__hidden_layer_sizes": [(8,), (16, 16)]}
    wrapped(GridSearchCV(make_pipeline(StandardScaler(), CLASSIFIER), grid, n_jobs=2, cv=2))


def test_a_grid_search_tries_functions_that_make_models() -> None:
    found = wrapped(GridSearchCV(CLASSIFIER, {"model": [normalized, waves]}, cv=2))
    assert found.best_params_["model"] in (normalized, waves)


def test_a_randomized_search_tries_learning_rates() -> None:
    wrapped(model_selection.RandomizedSearchCV(CLASSIFIER, {"learning_rate_init": [1e-3, 1e-2]}, n_iter=2, cv=2))


def test_a_halving_search_gives_the_better_ones_more_epochs() -> None:
    search = model_selection.HalvingGridSearchCV(
        CLASSIFIER, {"alpha": [1e-4, 1e-2, 1]}, resource="max_iter", max_resources=60, cv=2, random_state=0
    )
    assert wrapped(search).best_estimator_.n_iter_ <= 60


@pytest.mark.filterwarnings("ignore")
def test_a_search_goes_on_after_a_training_that_diverged() -> None:
    rates = {"learning_rate_init": [1e-2, 1e6]}
    scores = GridSearchCV(NetworkRegressor(**SMALL | {"solver": "sgd"}), rates, cv=2).fit(XR, YR).cv_results_
    assert np.isfinite(scores["mean_test_score"]).tolist() == [True, False]


def test_a_threshold_is_tuned() -> None:
    wrapped(model_selection.TunedThresholdClassifierCV(CLASSIFIER, cv=2), X, TWO)
    wrapped(model_selection.FixedThresholdClassifier(CLASSIFIER, threshold=0.3), X, TWO)


def test_a_learning_curve_uses_partial_fit() -> None:
    curve = model_selection.learning_curve(CLASSIFIER, X, Y, exploit_incremental_learning=True, shuffle=True, cv=2)
    assert curve[1].shape == (5, 2)


def test_weights_are_routed_by_their_requests() -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        asking = CLASSIFIER.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        assert cross_val_score(asking, X, Y, params={"sample_weight": np.ones(len(Y))}).mean() > 0.9


# ---- tables


def table() -> tuple[Any, Any]:
    """Make a frame with two columns of numbers and one of categories."""
    pandas = pytest.importorskip("pandas")
    return pandas, pandas.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": np.where(X[:, 2] > 0, "u", "v")})


def test_a_frame_with_categories_goes_through_a_pipeline() -> None:
    _, frame = table()
    columns = compose.ColumnTransformer(
        [("n", StandardScaler(), ["a", "b"]), ("c", OneHotEncoder(sparse_output=False), ["c"])]
    )
    pipeline = make_pipeline(columns, CLASSIFIER).set_output(transform="pandas")
    assert wrapped(pipeline, frame, least=0.7)[-1].feature_names_in_.tolist() == ["n__a", "n__b", "c__c_u", "c__c_v"]


def test_a_polars_frame_keeps_the_names_of_its_columns() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": X[:, 0], "b": X[:, 1]})
    pipeline = make_pipeline(StandardScaler(), CLASSIFIER).set_output(transform="polars")
    assert wrapped(pipeline, frame, polars.Series("y", Y), 0.6)[-1].feature_names_in_.tolist() == ["a", "b"]


def test_categories_of_an_array_of_objects_go_through_a_pipeline() -> None:
    rows = np.array([[x[0], "u" if x[2] > 0 else "v"] for x in X], dtype=object)
    columns = compose.make_column_transformer((StandardScaler(), [0]), (OneHotEncoder(), [1]))
    wrapped(make_pipeline(columns, CLASSIFIER), rows, TWO)


def test_labels_are_words() -> None:
    words = np.array(["a", "b", "c"])[Y]
    assert set(wrapped(clone(CLASSIFIER), X, words).predict(X)) == {"a", "b", "c"}
    assert set(wrapped(clone(CLASSIFIER), X, words.tolist()).classes_) == {"a", "b", "c"}


def test_sparse_text_is_classified() -> None:
    texts, labels = ["good fine nice", "bad poor ugly"] * 20, [1, 0] * 20
    wrapped(make_pipeline(TfidfVectorizer(), CLASSIFIER), texts, labels)
    wrapped(make_pipeline(TfidfVectorizer(), NetworkClassifier(**SMALL, early_stopping=True)), texts, labels)


def test_a_target_is_scaled_and_scaled_back() -> None:
    y = 100 * YR + 1000
    found = compose.TransformedTargetRegressor(REGRESSOR, transformer=StandardScaler()).fit(XR, y)
    assert found.score(XR, y) > 0.55


# ---- estimators made of estimators


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_probabilities_are_calibrated(method: str) -> None:
    wrapped(calibration.CalibratedClassifierCV(CLASSIFIER, cv=3, method=method), sample_weight=np.ones(len(Y)))


def test_bags_are_trained_in_processes_and_in_threads() -> None:
    wrapped(ensemble.BaggingRegressor(REGRESSOR, 3, n_jobs=2), XR, YR, 0.5)
    with joblib.parallel_config(backend="threading"):
        wrapped(ensemble.BaggingClassifier(CLASSIFIER, 3, n_jobs=2))


def test_boosting_gives_weights_to_the_rows() -> None:
    wrapped(ensemble.AdaBoostClassifier(CLASSIFIER, n_estimators=3))
    wrapped(ensemble.AdaBoostRegressor(REGRESSOR, n_estimators=3), XR, YR, 0.5)


def test_a_network_is_stacked_and_votes_beside_other_estimators() -> None:
    wrapped(ensemble.StackingClassifier([("n", CLASSIFIER), ("l", LogisticRegression())], cv=2))
    wrapped(ensemble.VotingRegressor([("n", REGRESSOR), ("l", Ridge())]), XR, YR, 0.5)


def test_one_network_for_each_class_or_output() -> None:
    wrapped(multiclass.OneVsRestClassifier(CLASSIFIER))
    x, y = make_multilabel_classification(200, random_state=0)
    for made in (several.MultiOutputClassifier(CLASSIFIER), several.ClassifierChain(CLASSIFIER), clone(CLASSIFIER)):
        wrapped(made, x, y, 0.4)


def test_several_labels_and_several_numbers() -> None:
    x, y = make_multilabel_classification(200, n_classes=4, random_state=0)
    network = clone(CLASSIFIER).fit(x, y)
    assert network.predict_proba(x).shape == (200, 4)
    assert (network.predict(x) == y).mean() > 0.85
    assert network.classes_.tolist() == [0, 1, 2, 3]
    both = clone(REGRESSOR).fit(XR, np.c_[YR, -YR])
    assert both.predict(XR).shape == (len(XR), 2)
    assert both.score(XR, np.c_[YR, -YR]) > 0.5


def test_features_are_selected() -> None:
    selector = feature_selection.SequentialFeatureSelector(
        NetworkClassifier(**SMALL | {"max_iter": 20}), n_features_to_select=1, cv=2
    )
    assert selector.fit(X, Y).get_support().sum() == 1


# ---- looks


def test_importance_and_dependence_of_a_feature_are_measured() -> None:
    importance = inspection.permutation_importance(clone(CLASSIFIER).fit(X, Y), X, Y, n_repeats=2, random_state=0)
    assert importance.importances_mean[2:].max() > importance.importances_mean[:2].max()
    assert inspection.partial_dependence(clone(REGRESSOR).fit(XR, YR), XR, [0])["average"].shape[0] == 1


def test_a_decision_boundary_is_drawn() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    inspection.DecisionBoundaryDisplay.from_estimator(clone(CLASSIFIER).fit(X[:, :2], Y), X[:, :2])
    import matplotlib.pyplot as plt

    plt.close("all")


def test_the_repr_shows_what_is_not_default() -> None:
    assert repr(NetworkClassifier((8,), alpha=0.1)) == "NetworkClassifier(alpha=0.1, hidden_layer_sizes=(8,))"
    assert is_classifier(CLASSIFIER)
    assert is_regressor(REGRESSOR)


# ---- copies, files, more training


@pytest.mark.parametrize("model", [None, normalized])
def test_a_pickle_a_joblib_file_and_a_deep_copy_predict_the_same(model: Any) -> None:
    network = NetworkClassifier(model=model, **SMALL).fit(X, Y)
    file = io.BytesIO()
    joblib.dump(network, file)
    file.seek(0)
    for other in (joblib.load(file), pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
        np.testing.assert_array_equal(other.predict_proba(X), network.predict_proba(X))


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_partial_fit_goes_on_after_a_pickle_with_the_same_bits(engine: Any) -> None:
    if engine == "compiled":
        pytest.importorskip("numba")
    one = NetworkClassifier(**SMALL, engine=engine)
    for _ in range(3):
        one.partial_fit(X, Y, classes=[0, 1, 2])
    other = pickle.loads(pickle.dumps(one))
    for _ in range(3):
        one.partial_fit(X, Y)
        other.partial_fit(X, Y)
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))
    assert one.n_iter_ == 6


def test_partial_fits_are_the_epochs_of_a_fit_without_shuffle() -> None:
    whole = NetworkRegressor(**SMALL | {"max_iter": 5}, shuffle=False).fit(XR, YR)
    parts = NetworkRegressor(**SMALL, shuffle=False)
    for _ in range(5):
        parts.partial_fit(XR, YR)
    np.testing.assert_allclose(parts.predict(XR), whole.predict(XR), rtol=1e-9)
    np.testing.assert_allclose(parts.loss_curve_, whole.loss_curve_, rtol=1e-9)


def test_a_warm_start_continues_and_a_fit_begins_anew() -> None:
    warm = NetworkClassifier(**SMALL, warm_start=True)
    losses = [warm.fit(X, Y).loss_ for _ in range(3)]
    assert losses[0] > losses[1] > losses[2]
    cold = NetworkClassifier(**SMALL)
    assert [cold.fit(X, Y).loss_ for _ in range(2)] == [losses[0]] * 2


def test_early_stopping_takes_the_weights_with_the_best_loss_on_held_out_rows() -> None:
    network = NetworkClassifier(**SMALL | {"max_iter": 500}, early_stopping=True, n_iter_no_change=5).fit(X, Y)
    curve = network.validation_loss_curve_
    assert network.n_iter_ == len(curve) < 500
    assert len(curve) - 6 <= int(np.argmin(curve)) <= len(curve) - 2
    assert network.stopped_by_ is not None
    assert "validation_loss" in network.stopped_by_
    assert network.score(X, Y) > 0.9


def test_the_best_weights_are_those_of_a_fit_that_ends_there() -> None:
    settings = {**SMALL, "early_stopping": True, "tol": 0.0}
    stopped = NetworkClassifier(**settings | {"max_iter": 500}, n_iter_no_change=5).fit(X, Y)
    epochs = int(np.argmin(stopped.validation_loss_curve_)) + 1
    assert epochs < stopped.n_iter_
    ended = NetworkClassifier(**settings | {"max_iter": epochs}, n_iter_no_change=None).fit(X, Y)
    np.testing.assert_array_equal(stopped.predict_proba(X), ended.predict_proba(X))


def test_the_held_out_rows_are_not_trained_on_and_are_of_every_class() -> None:
    network = NetworkClassifier(**SMALL).fit(X, Y)
    rows = Rows(np.arange(150.0)[:, None], Y, np.arange(150.0))
    kept, out = network._held_out(rows, np.random.RandomState(0))
    assert sorted([*kept.x[:, 0], *out.x[:, 0]]) == list(range(150))
    assert np.bincount(out.y).tolist() == [5, 5, 5]
    for part in (kept, out):
        np.testing.assert_array_equal(part.weight, part.x[:, 0])


def test_the_penalty_of_partial_fit_is_divided_by_the_rows_of_the_call() -> None:
    network = NetworkRegressor(**SMALL, alpha=1.0)
    for rows, weight in ((100, None), (50, np.full(50, 2.0)), (20, None)):
        network.partial_fit(XR[:rows], YR[:rows], weight)
        assert network._trainers is not None
        assert network._trainers[0].optimizer.weight_decay == 1.0 / (rows * (1 if weight is None else 2))


class Interrupted(Callback):
    def on_epoch_end(self, trainer: Trainer) -> None:
        trainer.stop("SIGINT")


def test_an_interrupt_keeps_one_network_but_not_half_an_ensemble() -> None:
    assert NetworkRegressor(**SMALL, callbacks=[Interrupted()]).fit(XR, YR).n_iter_ == 1
    several_networks = NetworkRegressor(**SMALL, callbacks=[Interrupted()], ensemble=2)
    with pytest.raises(KeyboardInterrupt):
        several_networks.fit(XR, YR)
    assert not hasattr(several_networks, "model_")


def test_a_fit_stops_when_the_loss_stays_and_not_without_tolerance() -> None:
    assert NetworkRegressor((4,), max_iter=400, tol=0.01, random_state=0).fit(XR, YR).n_iter_ < 400
    for never in ({"tol": 0.0}, {"n_iter_no_change": None}):
        assert NetworkRegressor((4,), max_iter=60, learning_rate_init=0.1, **never).fit(XR, YR).n_iter_ == 60


# ---- parts of minidl


@pytest.mark.parametrize("loss", [Huber(0.5), HalfSquaredError])
def test_a_regressor_takes_a_loss(loss: Any) -> None:
    assert NetworkRegressor(loss=loss, **SMALL).fit(XR, YR).score(XR, YR) > 0.5


@pytest.mark.parametrize("loss", [HalfSquaredError(), CrossEntropy, BinaryCrossEntropy, SoftmaxCrossEntropy()])
def test_a_classifier_of_two_classes_takes_a_loss(loss: Any) -> None:
    assert wrapped(NetworkClassifier(loss=loss, **SMALL), X, TWO).predict_proba(X).shape == (150, 2)


@pytest.mark.parametrize("solver", ["adam", "adamw", "nadam", "rmsprop", "sgd", "lbfgs"])
def test_a_solver_is_named(solver: str) -> None:
    wrapped(NetworkClassifier(**SMALL | {"solver": solver, "max_iter": 200}))


def test_a_solver_is_a_function_with_a_schedule() -> None:
    decaying = partial(AdamW, learning_rate=schedules.Cosine(0.02, epochs=60))
    for x in (X, sparse.csr_array(X)):
        wrapped(NetworkClassifier(**SMALL | {"solver": decaying}, clip=ClipGlobalNorm(1.0)), x)


def test_engines_class_weights_and_sample_weights_go_together() -> None:
    pytest.importorskip("numba")
    settings = {**SMALL, "class_weight": "balanced", "max_iter": 20}
    fits = [NetworkClassifier(engine=engine, **settings).fit(X, Y, sample_weight=np.arange(len(Y)) % 3)
            for engine in ("numpy", "compiled")]  # fmt: skip
    np.testing.assert_allclose(fits[0].predict_proba(X), fits[1].predict_proba(X), rtol=1e-9)


class Epochs(Callback):
    def __init__(self) -> None:
        self.seen = 0

    def on_epoch_end(self, trainer: Trainer) -> None:
        self.seen += 1


def test_callbacks_are_called() -> None:
    counter = Epochs()
    NetworkRegressor(**SMALL | {"max_iter": 3}, callbacks=[counter], ensemble=2).fit(XR, YR)
    assert counter.seen == 6


def test_float32_stays_float32() -> None:
    network = clone(CLASSIFIER).fit(X.astype(np.float32), Y)
    assert network.model_.dtype == network.predict_proba(X.astype(np.float32)).dtype == np.float32


def test_rows_are_predicted_alone_as_together() -> None:
    network = clone(REGRESSOR).fit(XR, YR)
    together, order = network.predict(XR), np.random.default_rng(0).permutation(len(XR))
    np.testing.assert_allclose(np.concatenate([network.predict(row[None]) for row in XR]), together, rtol=1e-10)
    np.testing.assert_allclose(network.predict(XR[order]), together[order], rtol=1e-10)


def test_a_fit_runs_in_a_thread() -> None:
    network = clone(CLASSIFIER)
    thread = threading.Thread(target=network.fit, args=(X, Y))
    thread.start()
    thread.join()
    assert network.n_iter_ == 60


def test_a_search_of_another_package_scores_it() -> None:
    optuna = pytest.importorskip("optuna")
    study = optuna.create_study(direction="maximize")
    study.optimize(lambda trial: cross_val_score(
        NetworkClassifier(**SMALL, alpha=trial.suggest_float("a", 1e-5, 1, log=True)), X, Y, cv=2).mean(), n_trials=2)
    assert study.best_value > 0.8


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    x, y = load_iris(return_X_y=True)
    same = [NetworkClassifier(random_state=seed, max_iter=5).fit(x, y).predict_proba(x) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(same[0], same[1])
    assert not np.array_equal(same[0], same[2])
