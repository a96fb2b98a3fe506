from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import (
    SGD,
    Array,
    Dense,
    HalfSquaredError,
    Layer,
    Loss,
    Sequential,
    Sigmoid,
    SigmoidCrossEntropy,
    Softmax,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
    mlp,
)
from minidl.errors import ArgumentError, DataError, DTypeError, ShapeError, StructureError
from minidl.optimizers import Optimizer
from tests.support.refusal import refused

RNG = np.random.default_rng(0)
X = RNG.normal(size=(23, 2))
Y = np.sin(X[:, :1]) + 0.1 * X[:, 1:]


class RecordedSquaredError(HalfSquaredError):
    """Write down which targets come, in which order."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        self.seen.extend(target[:, 0].tolist())
        return super().forward_rows(prediction, target)


def make(seed: int = 0, rate: float = 0.1, momentum: float = 0.0, loss: Loss | None = None) -> Trainer:
    model = mlp([2, 6, 1], activation=Tanh, rng=1)
    return Trainer(model, loss or HalfSquaredError(), SGD(model.parameters(), rate, momentum=momentum), rng=seed)


def weights(trainer: Trainer) -> list[bytes]:
    return [parameter.value.tobytes() for parameter in trainer.model.parameters()]


@pytest.mark.parametrize("size", [1, 4, 11, 100])
def test_fit_is_forward_loss_backward_step_for_each_batch(size: int) -> None:
    trainer, by_hand = make(momentum=0.9), make(momentum=0.9)
    model, loss, optimizer = by_hand.model, by_hand.loss, by_hand.optimizer
    starts = list(range(0, len(X), size))
    if len(starts) > 1 and len(X) - starts[-1] == 1 and size > 1:
        starts.pop()
    losses = []
    for _ in range(3):
        total = 0.0
        for number, start in enumerate(starts):
            rows = slice(start, None if number == len(starts) - 1 else start + size)
            total += loss.forward(model.forward(X[rows]), Y[rows]) * len(X[rows])
            model.backward(loss.backward())
            optimizer.step()
        losses.append(total / len(X))
    history = trainer.fit(X, Y, epochs=3, batch_size=size, shuffle=False)
    assert weights(trainer) == weights(by_hand)
    assert history.loss == pytest.approx(losses, rel=1e-14)


def test_the_same_seed_gives_the_same_bits_and_another_seed_gives_others() -> None:
    one, same, other = make(3), make(3), make(4)
    for trainer in (one, same, other):
        trainer.fit(X, Y, epochs=3, batch_size=4)
    assert weights(one) == weights(same)
    assert one.history.loss == same.history.loss
    assert weights(one) != weights(other)


def test_two_fits_go_on_where_one_would_have() -> None:
    whole, parts = make(momentum=0.5), make(momentum=0.5)
    whole.fit(X, Y, epochs=5, batch_size=4)
    parts.fit(X, Y, epochs=2, batch_size=4)
    history = parts.fit(X, Y, epochs=3, batch_size=4)
    assert weights(parts) == weights(whole)
    assert history is parts.history
    assert history.loss == whole.history.loss


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_a_batch_size_may_be_a_small_integer_of_numpy(engine: Any) -> None:
    if engine == "compiled":
        pytest.importorskip("numba")
    x = np.random.default_rng(0).normal(size=(5000, 2))
    results = []
    for kind in (int, np.int8):
        model = mlp([2, 6, 1], activation=Tanh, rng=1)
        trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0, engine=engine)
        trainer.fit(x, x[:, :1], epochs=kind(2), batch_size=kind(100))  # type: ignore[arg-type]
        results.append(weights(trainer))
    assert results[0] == results[1]


def test_a_trainers_stream_is_not_its_models() -> None:
    model = Sequential(Dense(2, 1)).initialize(rng=0)
    drawn = np.random.default_rng(0).permutation(23)

    loss = RecordedSquaredError()
    Trainer(model, loss, SGD(model.parameters(), 0.1), rng=0).fit(X, Y, epochs=1, batch_size=4)
    assert loss.seen != Y[drawn, 0].tolist()
    assert sorted(loss.seen) == sorted(Y[:, 0].tolist())


def test_every_epoch_goes_through_all_rows_in_an_order_of_its_own() -> None:
    loss = RecordedSquaredError()
    make(loss=loss).fit(X, Y, epochs=3, batch_size=5)
    epochs = [loss.seen[start:start + 23] for start in (0, 23, 46)]
    assert all(sorted(epoch) == sorted(Y[:, 0].tolist()) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != Y[:, 0].tolist()


def test_the_global_random_state_is_neither_read_nor_written() -> None:
    np.random.seed(0)
    before = repr(np.random.get_state(legacy=False))
    one = make(3)
    one.fit(X, Y, epochs=1)
    assert repr(np.random.get_state(legacy=False)) == before
    np.random.seed(1)
    other = make(3)
    other.fit(X, Y, epochs=1)
    assert weights(one) == weights(other)


def test_no_input_array_is_modified() -> None:
    x, y, w = X.copy(), Y.copy(), np.ones(23)
    held_out = X[:5].copy(), Y[:5].copy()
    for array in (x, y, w, *held_out):
        array.flags.writeable = False
    make().fit(x, y, epochs=2, batch_size=4, sample_weight=w, validation=held_out)
    assert (x.tobytes(), y.tobytes(), w.tobytes()) == (X.tobytes(), Y.tobytes(), np.ones(23).tobytes())


def test_data_may_be_memory_mapped_and_of_any_real_kind(tmp_path: Any) -> None:
    plain = make()
    plain.fit(X, Y, epochs=2, batch_size=4)
    mapped = np.memmap(tmp_path / "x.bin", X.dtype, "w+", shape=X.shape)
    mapped[:] = X
    for x in (mapped, np.asfortranarray(X), X.astype(">f8"), X.tolist(), np.repeat(X, 2, axis=1)[:, ::2]):
        other = make()
        other.fit(x, Y, epochs=2, batch_size=4)
        assert weights(other) == weights(plain)


def test_a_float32_model_stays_float32() -> None:
    model = mlp([2, 6, 1], activation=Tanh, rng=1).astype(np.float32)
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1, momentum=0.9), rng=0)
    trainer.fit(X, Y, epochs=3, batch_size=4)
    exact = make(momentum=0.9)
    exact.fit(X, Y, epochs=3, batch_size=4)
    for ours, theirs in zip(model.parameters(), exact.model.parameters(), strict=True):
        assert ours.value.dtype == np.float32
        assert np.allclose(ours.value, theirs.value, atol=1e-4)


def test_the_history_has_a_figure_for_every_epoch() -> None:
    trainer = make()
    trainer.optimizer.learning_rate = lambda step: 0.1 / (1 + step)
    history = trainer.fit(X, Y, epochs=3, batch_size=5, validation=(X[:7], Y[:7]))
    assert len(history) == 3
    assert len(history.loss) == len(history.validation_loss) == len(history.seconds) == 3
    assert history.learning_rate == [0.1 / 5, 0.1 / 10, 0.1 / 15]
    assert min(history.seconds) > 0
    expected = 0.5 * float(np.mean((trainer.model.predict(X[:7]) - Y[:7]) ** 2))
    assert history.validation_loss[-1] == pytest.approx(expected, rel=1e-13)


def test_validation_changes_no_bit_of_the_training() -> None:
    plain, validated = make(), make()
    plain.fit(X, Y, epochs=3, batch_size=4)
    validated.fit(X, Y, epochs=3, batch_size=4, validation=(X[:3], Y[:3]))
    assert weights(plain) == weights(validated)
    assert plain.history.loss == validated.history.loss
    assert plain.history.validation_loss == []


def test_sample_weights_scale_each_rows_part() -> None:
    w = RNG.uniform(0, 2, 23)
    weighted, by_hand = make(), make()
    weighted.fit(X, Y, epochs=2, batch_size=23, shuffle=False, sample_weight=w)
    for _ in range(2):
        difference = by_hand.model.forward(X) - Y
        by_hand.model.backward(w[:, None] * difference / 23)
        by_hand.optimizer.step()
    for ours, theirs in zip(weighted.model.parameters(), by_hand.model.parameters(), strict=True):
        assert np.allclose(ours.value, theirs.value, rtol=1e-12)


def test_sample_weights_follow_their_rows_through_the_shuffle() -> None:
    keep = np.zeros(23)
    keep[[4, 9, 17]] = 1.0
    spoiled = np.where(keep[:, None] == 1, Y, 1e6)
    trainer = make()
    trainer.fit(X, spoiled, epochs=5, batch_size=4, sample_weight=keep)
    assert max(float(np.abs(p.value).max()) for p in trainer.model.parameters()) < 10


def test_integer_labels_are_learned() -> None:
    labels = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
    model = mlp([2, 12, 3], activation=Tanh, rng=0)
    trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.5, momentum=0.9), rng=0)
    trainer.fit(X, labels, epochs=150, batch_size=8)
    assert (model.predict(X).argmax(axis=1) == labels).mean() == 1.0


def test_parameters_outside_of_the_optimizer_stay_and_do_not_add_gradients_up() -> None:
    model = mlp([2, 6, 6, 1], activation=Tanh, rng=1)
    first, second, third = (model[place].parameters() for place in (0, 2, 4))
    before = [p.value.tobytes() for p in first + third]
    trainer = Trainer(model, HalfSquaredError(), SGD(second, 0.1), rng=0)
    with pytest.warns(UserWarning, match=r"does not hold 0.weight, 0.bias, 4.weight and 1 more"):
        trainer.fit(X, Y, epochs=2, batch_size=4)
    assert [p.value.tobytes() for p in first + third] == before
    assert not any(p.grad.any() for p in first + third)


def test_gradients_from_before_the_run_are_thrown_away() -> None:
    plain, dirty = make(), make()
    for parameter in dirty.model.parameters():
        parameter.grad += 100.0
    for trainer in (plain, dirty):
        trainer.fit(X, Y, epochs=1, batch_size=4)
    assert weights(plain) == weights(dirty)


def test_values_assigned_before_the_run_are_what_it_starts_from() -> None:
    plain, assigned = make(), make()
    for parameter in assigned.model.parameters():
        kept = parameter.value.copy()
        parameter.value = np.zeros(parameter.shape)
        parameter.value = kept
    for trainer in (plain, assigned):
        trainer.fit(X, Y, epochs=1, batch_size=4)
    assert weights(plain) == weights(assigned)


def test_a_copied_trainer_goes_on_by_itself() -> None:
    trainer = make(momentum=0.9)
    trainer.fit(X, Y, epochs=1, batch_size=4)
    before = weights(trainer)
    twin = copy.deepcopy(trainer)
    twin.fit(X, Y, epochs=2, batch_size=4)
    assert weights(trainer) == before
    trainer.fit(X, Y, epochs=2, batch_size=4)
    assert weights(twin) == weights(trainer)


@pytest.mark.parametrize("rows", [1, 23, 5000])
def test_evaluate_is_the_mean_loss_of_the_predictions_and_changes_nothing(rows: int) -> None:
    trainer = make()
    x = np.resize(X, (rows, 2))
    y = np.resize(Y, (rows, 1))
    before = weights(trainer), [dict(vars(layer)) for layer in trainer.model]  # type: ignore[attr-defined]
    expected = 0.5 * sum((p - t) ** 2 for p, t in zip(trainer.model.predict(x)[:, 0], y[:, 0], strict=True)) / rows
    assert trainer.evaluate(x, y) == {"loss": pytest.approx(float(expected), rel=1e-12)}
    assert (weights(trainer), [dict(vars(layer)) for layer in trainer.model]) == before  # type: ignore[attr-defined]
    assert len(trainer.history) == 0


def test_a_single_layer_is_a_model() -> None:
    model = Dense(2, 1).initialize(0)
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0)
    target = X @ [[2.0], [-1.0]] + 0.5
    assert trainer.fit(X, target, epochs=300, batch_size=23).loss[-1] < 1e-6
    assert model.weight.value == pytest.approx(np.array([[2.0, -1.0]]), abs=1e-2)


BAD: list[tuple[dict[str, Any], type[Any], str]] = [
    ({"x": X[:, :1]}, ShapeError, "x: expected x of shape (batch, 2), got (23, 1)"),
    ({"y": Y[:, :, None]}, ShapeError, "expected a target of shape (23, 1) like the prediction, got (23, 1, 1)"),
    ({"y": Y[:22]}, ShapeError, "got x 23, y 22"),
    ({"x": X * np.nan}, DataError, "x: expected finite numbers"),
    ({"epochs": 0}, ArgumentError, "fit(epochs): expected at least 1, got 0"),
    ({"epochs": 1.5}, DTypeError, "fit(epochs): expected a whole number"),
    ({"batch_size": 0}, ArgumentError, "fit(batch_size): expected at least 1, got 0"),
    ({"batch_size": "4"}, DTypeError, "fit(batch_size): expected a whole number"),
    ({"sample_weight": np.ones(22)}, ShapeError, "sample_weight: expected shape (23,)"),
    ({"sample_weight": -np.ones(23)}, DataError, "sample_weight: expected finite numbers of at least 0"),
    ({"validation": (X[:, :1], Y)}, ShapeError, "x: expected x of shape (batch, 2)"),
    ({"validation": (X, Y[:, [0, 0]])}, ShapeError, "expected a target of shape (23, 1)"),
    ({"validation": (X, Y, -np.ones(23))}, DataError, "sample_weight: expected finite numbers of at least 0"),
]


@pytest.mark.parametrize(("change", "error", "words"), BAD, ids=[f"{i}-{words}" for i, (_, _, words) in enumerate(BAD)])
def test_bad_input_is_found_before_anything_is_changed(change: dict[str, Any], error: Any, words: str) -> None:
    trainer, fresh = make(), make()
    arguments: dict[str, Any] = {"x": X, "y": Y, "epochs": 1, "batch_size": 4, **change}
    with refused(error, words):
        trainer.fit(arguments.pop("x"), arguments.pop("y"), **arguments)
    assert weights(trainer) == weights(fresh)
    assert len(trainer.history) == 0
    for each in (trainer, fresh):
        each.fit(X, Y, epochs=1, batch_size=4)
    assert weights(trainer) == weights(fresh)


def test_the_parts_of_a_trainer_are_checked() -> None:
    model = mlp([2, 1], rng=0)
    optimizer = SGD(model.parameters(), 0.1)
    parts: tuple[tuple[Any, Any, Any, str], ...] = (
        (mlp, HalfSquaredError(), optimizer, "Trainer(model): expected a Layer"),
        (model, HalfSquaredError, optimizer, "did you forget the parentheses of HalfSquaredError()?"),
        (model, HalfSquaredError(), 0.1, "Trainer(optimizer): expected an Optimizer, got 0.1"),
        (model, "mse", optimizer, "Trainer(loss): expected a Loss, got 'mse'; give an object, not a name"),
    )
    for a_model, a_loss, an_optimizer, words in parts:
        with refused(DTypeError, words):
            Trainer(a_model, a_loss, an_optimizer)


def test_an_optimizer_of_another_model_is_refused_with_the_remedy() -> None:
    other: Optimizer = SGD(mlp([2, 1]).parameters(), 0.1)
    with refused(ArgumentError, "expected parameters of this model", "SGD(model.parameters(), …)"):
        Trainer(mlp([2, 1]), HalfSquaredError(), other)


@pytest.mark.parametrize("last", [Sigmoid, Softmax])
@pytest.mark.parametrize("loss", [SigmoidCrossEntropy, SoftmaxCrossEntropy])
@pytest.mark.parametrize("nested", [False, True])
def test_an_activation_that_the_loss_contains_already_is_refused(last: Any, loss: Any, nested: bool) -> None:
    end: list[Layer] = [Sequential(Dense(3, 2), last())] if nested else [Dense(3, 2), last()]
    model = Sequential(Dense(2, 3), *end)
    with refused(StructureError, f"{loss()!r} expects logits, but the model ends in {last()!r}", "leave the last"):
        Trainer(model, loss(), SGD(model.parameters(), 0.1))
    Trainer(model[:-1] if not nested else model, HalfSquaredError(), SGD(model.parameters(), 0.1))
