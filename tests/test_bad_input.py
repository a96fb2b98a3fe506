"""What users get wrong, at every door: a typed error that says where, what was expected, what came and what to do.

The arrays that go in are read-only, and byte for byte the same afterwards.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from minidl import (
    L2,
    SGD,
    BatchNorm,
    BinaryCrossEntropy,
    CrossEntropy,
    Dense,
    Embedding,
    HalfSquaredError,
    Huber,
    Layer,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    Parameter,
    Sequential,
    Sigmoid,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
    batches,
    mlp,
)
from minidl.errors import ArgumentError, CallOrderError, DataError, DTypeError, MinidlError, ShapeError, StructureError
from tests.support.conformance_table import layers
from tests.support.refusal import refused

LAYERS = layers()

Door = Callable[[Any], Any]

ROWS, WIDTH, OUTPUTS = 6, 3, 2
X, Y = np.ones((ROWS, WIDTH)), np.ones((ROWS, OUTPUTS))
LABELS = np.array([0, 1, 0, 1, 1, 0])


def trainer(loss: Loss | None = None, outputs: int = OUTPUTS) -> Trainer:
    output = Sigmoid if loss and loss.from_probabilities else None
    model = mlp([WIDTH, 4, outputs], activation=Tanh, output=output, rng=0)
    return Trainer(model, loss or HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0)


def through(door: Door, value: Any, error: type[MinidlError], *words: str) -> None:
    """Send a value through a door, which must refuse it and leave it as it is."""
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        value = value.copy()
        value.flags.writeable = False
        before = value.tobytes()
        with refused(error, *words):
            door(value)
        assert value.tobytes() == before
    else:
        with refused(error, *words):
            door(value)


INPUT_DOORS: dict[str, tuple[str, Door]] = {
    "predict": ("Sequential: ", lambda x: trainer().model.predict(x)),
    "call": ("Sequential: ", lambda x: trainer().model(x)),
    "forward": ("Sequential: ", lambda x: trainer().model.forward(x)),
    "fit": ("x: ", lambda x: trainer().fit(x, Y, epochs=1)),
    "evaluate": ("x: ", lambda x: trainer().evaluate(x, Y)),
    "validation": ("x: ", lambda x: trainer().fit(X, Y, epochs=1, validation=(x, Y))),
}


@pytest.mark.parametrize("door", list(INPUT_DOORS))
@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (np.ones((ROWS, 2)), ShapeError, "expected x of shape (batch, 3), got (6, 2)"),
        (np.ones((ROWS, 0)), ShapeError, "expected x of shape (batch, 3), got (6, 0)"),
        (np.ones(WIDTH), ShapeError, "got (3,); for a single row use x[None, :]"),
        (np.ones((2, 3, 3)), ShapeError, "got (2, 3, 3); flatten each row first: x.reshape(len(x), -1)"),
        (np.float64(1), ShapeError, "got ()"),
        ([[1.0, 2.0, 3.0], [1.0]], ShapeError, "expected rows of equal length"),
        (np.ones((ROWS, WIDTH), complex), DTypeError, "expected real numbers, got dtype complex128"),
        (np.full((ROWS, WIDTH), "1"), DTypeError, "expected real numbers, got dtype <U1"),
        (np.full((ROWS, WIDTH), b"1"), DTypeError, "expected real numbers, got dtype |S1"),
        (np.full((ROWS, WIDTH), None), DTypeError, "got dtype object holding None"),
        (np.ones((ROWS, WIDTH), object), DTypeError, "got dtype object; cast it: x.astype(float)"),
        (np.zeros((ROWS, WIDTH), "M8[s]"), DTypeError, "got dtype datetime64[s]"),
        (sparse.csr_array(X), DTypeError, "expected a dense array, got a sparse csr_array; use .toarray()"),
        (np.ma.masked_array(X, X > 0), DataError, "got a masked array; fill or drop the masked entries"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else "",
)
def test_an_input_of_another_width_rank_or_kind(door: str, x: Any, error: type[MinidlError], words: str) -> None:
    where, enter = INPUT_DOORS[door]
    through(enter, x, error, where, words)


@pytest.mark.parametrize("door", ["fit", "evaluate", "validation"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_inputs_that_are_not_finite_are_refused_by_training_and_evaluation(door: str, bad: float) -> None:
    x = X.copy()
    x[4, 2] = bad
    through(INPUT_DOORS[door][1], x, DataError, f"x: expected finite numbers, got {bad} at index (4, 2) (1 in all)")


TARGET_DOORS: dict[str, Door] = {
    "fit": lambda y: trainer().fit(X, y, epochs=1),
    "evaluate": lambda y: trainer().evaluate(X, y),
    "validation": lambda y: trainer().fit(X, Y, epochs=1, validation=(X, y)),
    "loss": lambda y: HalfSquaredError().forward(Y, y),
    "loss call": lambda y: HalfSquaredError()(Y, y),
}


@pytest.mark.parametrize("door", list(TARGET_DOORS))
@pytest.mark.parametrize(
    ("y", "error", "words"),
    [
        (np.ones((ROWS, 1)), ShapeError, "expected a target of shape (6, 2) like the prediction, got (6, 1)"),
        (np.ones((ROWS, 3)), ShapeError, "got (6, 3)"),
        (LABELS, ShapeError, "for integer labels use SoftmaxCrossEntropy, or one-hot rows: np.eye(classes)[y]"),
        (np.ones((ROWS, OUTPUTS), complex), DTypeError, "expected real numbers, got dtype complex128"),
        (np.full((ROWS, OUTPUTS), "1"), DTypeError, "expected real numbers, got dtype <U1"),
        (np.full((ROWS, OUTPUTS), None), DTypeError, "got dtype object holding None"),
        (sparse.csr_array(Y), DTypeError, "expected a dense array, got a sparse csr_array"),
        (np.ma.masked_array(Y, Y > 0), DataError, "got a masked array"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else "",
)
def test_a_target_of_another_shape_or_kind(door: str, y: Any, error: type[MinidlError], words: str) -> None:
    through(TARGET_DOORS[door], y, error, "HalfSquaredError(): ", words)


@pytest.mark.parametrize("door", ["fit", "evaluate", "validation"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_targets_that_are_not_finite(door: str, bad: float) -> None:
    y = Y.copy()
    y[1, 0] = bad
    through(TARGET_DOORS[door], y, DataError, f"target y: expected finite numbers, got {bad} at index (1, 0)")


LOSSES: list[Loss] = [
    HalfSquaredError(), MeanSquaredError(), MeanAbsoluteError(), Huber(), BinaryCrossEntropy(), CrossEntropy(),
    SigmoidCrossEntropy(), SoftmaxCrossEntropy(),
]


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_a_flat_target_against_one_output_column_is_never_broadcast(loss: Loss) -> None:
    remedy = "use SigmoidCrossEntropy" if isinstance(loss, SoftmaxCrossEntropy) else "(6, 1) like the prediction"
    for door in (loss.forward, loss):
        through(
            lambda y, door=door: door(np.full((ROWS, 1), 0.5), y),  # type: ignore[misc]
            np.ones(ROWS), ShapeError, repr(loss), remedy,
        )  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("rows", [1, 5, 7])
def test_inputs_and_targets_of_different_lengths(loss: Loss, rows: int) -> None:
    through(
        lambda y: trainer(loss).fit(X, y, epochs=1), np.eye(2)[np.zeros(rows, int)], ShapeError,
        f"expected the same number of rows in x and y, got x 6, y {rows}",
    )


def test_labels_of_another_length() -> None:
    through(lambda y: trainer(SoftmaxCrossEntropy()).fit(X, y, epochs=1), LABELS[:4], ShapeError, "got x 6, y 4")


@pytest.mark.parametrize(("label", "row"), [(2, 3), (-1, 5), (100, 0)])
def test_labels_outside_of_the_classes(label: int, row: int) -> None:
    labels = LABELS.copy()
    labels[row] = label
    words = f"SoftmaxCrossEntropy(): expected labels in 0 … 1, got {label} at row {row}"
    through(lambda y: trainer(SoftmaxCrossEntropy()).fit(X, y, epochs=1), labels, DataError, words)
    through(lambda y: trainer(SoftmaxCrossEntropy()).evaluate(X, y), labels, DataError, words)
    through(lambda y: SoftmaxCrossEntropy().forward(Y, y), labels, DataError, words)


@pytest.mark.parametrize(
    ("y", "error", "words"),
    [
        (LABELS.astype(float), ShapeError, "labels must be integers: y.astype(int)"),
        (LABELS.astype(bool), ShapeError, "labels must be integers: y.astype(int)"),
        (LABELS[:, None], ShapeError, "got (6, 1); integer labels have the shape (rows,): use np.ravel(y)"),
        (LABELS.astype(str), DTypeError, "write classes as np.unique(y, return_inverse=True)[1]"),
        (LABELS.astype(str).astype(object), DTypeError, "holding '0'; write classes as np.unique("),
        (sparse.csr_array(np.eye(2)[LABELS]), DTypeError, "expected a dense array"),
        (np.ma.masked_array(LABELS, LABELS == 1), DataError, "got a masked array"),
    ],
    ids=["float", "bool", "column", "words", "objects", "sparse", "masked"],
)
def test_labels_of_another_kind(y: Any, error: type[MinidlError], words: str) -> None:
    for door in (lambda v: trainer(SoftmaxCrossEntropy()).fit(X, v, epochs=1),
                 lambda v: SoftmaxCrossEntropy().forward(Y, v)):
        through(door, y, error, "SoftmaxCrossEntropy(): ", words)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_empty_data(loss: Loss) -> None:
    with refused(DataError, "expected at least one row, got none"):
        trainer(loss).fit(np.ones((0, WIDTH)), np.ones((0, OUTPUTS)), epochs=1)
    with refused(DataError, f"{loss!r}: expected at least one row, got an empty batch"):
        loss.forward(np.ones((0, OUTPUTS)), np.ones((0, OUTPUTS)))
    with refused(ShapeError, "x: expected x of shape (batch, 3), got (0,)"):
        trainer(loss).fit([], [], epochs=1)
    with refused(DataError, "x and y: expected at least one row, got none"):
        batches(np.ones((0, WIDTH)), np.ones((0, OUTPUTS)), batch_size=1)


NUMBERS: dict[str, tuple[str, Door]] = {
    "in_features": ("Dense(in_features)", lambda n: Dense(n, 2)),
    "out_features": ("Dense(out_features)", lambda n: Dense(2, n)),
    "sizes": ("Dense(out_features)", lambda n: mlp([2, n, 1])),
    "epochs": ("fit(epochs)", lambda n: trainer().fit(X, Y, epochs=n)),
    "batch_size": ("fit(batch_size)", lambda n: trainer().fit(X, Y, epochs=1, batch_size=n)),
    "batches": ("batches(batch_size)", lambda n: batches(X, Y, batch_size=n)),
}


@pytest.mark.parametrize("argument", list(NUMBERS))
@pytest.mark.parametrize(
    ("value", "error"),
    [(0, ArgumentError), (-1, ArgumentError), (2.0, DTypeError), ("2", DTypeError), (None, DTypeError),
     (True, DTypeError), (np.nan, DTypeError), ([2], DTypeError)],
)
def test_sizes_epochs_and_batch_sizes(argument: str, value: Any, error: type[MinidlError]) -> None:
    where, door = NUMBERS[argument]
    through(door, value, error, f"{where}: expected", "at least 1", f"got {value!r}")


@pytest.mark.parametrize(
    ("rate", "error"),
    [(0, ArgumentError), (-0.1, ArgumentError), (np.nan, ArgumentError), (np.inf, ArgumentError), ("0.1", DTypeError),
     (None, DTypeError), (True, DTypeError), (1j, DTypeError)],
)
def test_learning_rates(rate: Any, error: type[MinidlError]) -> None:
    through(lambda value: SGD([Parameter(1.0)], value), rate, error, "SGD(learning_rate): expected", f"got {rate!r}")


@pytest.mark.parametrize("rng", ["0", 1.5, True, np.random.RandomState(0)])
def test_seeds(rng: Any) -> None:
    doors: list[Door] = [
        lambda value: Dense(1, 1).initialize(value),
        lambda value: Sequential(Dense(1, 1)).initialize(value),
        lambda value: batches(X, Y, batch_size=1, rng=value),
    ]
    for door in doors:
        through(door, rng, DTypeError, "rng: expected a numpy.random.Generator, an integer or None")


def test_sizes_that_do_not_chain_are_found_when_the_container_is_built() -> None:
    with refused(StructureError, 'Dense(4 -> 1) at "2": expected 4 features, Tanh() at "1" gives 3'):
        Sequential(Dense(2, 3), Tanh(), Dense(4, 1))
    with refused(StructureError, 'at "1": expected 4 features', 'at "0" gives 3'):
        Sequential(Sequential(Dense(2, 3)), Sequential(Tanh(), Dense(4, 1)))


def test_the_same_layer_twice_in_a_container() -> None:
    layer = Dense(2, 2)
    with refused(StructureError, 'at "1" is the same object as at "0"', "two layers that hold the same Parameter"):
        Sequential(layer, layer)
    with refused(StructureError, 'at "1.1" is the same object as at "0"'):
        Sequential(layer, Sequential(Tanh(), layer))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("call", ["backward", "backward_parameters"])
def test_backward_before_forward(name: str, call: str) -> None:
    layer, x = copy.deepcopy(LAYERS[name])
    if call == "backward_parameters" and hasattr(layer, "add_gradients") and not layer.parameters():
        pytest.skip("it has nothing to do")
    through(getattr(layer, call), np.ones_like(layer.predict(x)), CallOrderError, ": expected forward before backward")


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_the_backward_of_a_loss_before_its_forward(loss: Loss) -> None:
    fresh = type(loss)()
    with refused(CallOrderError, f"{fresh!r}.backward: expected forward before backward"):
        fresh.backward()


def test_a_step_without_gradients() -> None:
    with refused(CallOrderError, "step(): no parameter has a gradient", "model.backward(loss.backward())"):
        SGD([Parameter(1.0)], 0.1).step()


@pytest.mark.parametrize("shape", [(ROWS, 1), (ROWS, 3), (1, OUTPUTS), (5, OUTPUTS), (ROWS,), (ROWS, OUTPUTS, 1)])
def test_a_gradient_of_the_wrong_shape(shape: tuple[int, ...]) -> None:
    model = trainer().model
    model.forward(X)
    for call in (model.backward, model.backward_parameters):
        through(call, np.ones(shape), ShapeError, f"Sequential: expected a gradient of shape (6, 2), got {shape}")
    assert not any(parameter.grad.any() for parameter in model.parameters())


def test_an_optimizer_that_was_given_the_model_or_a_layer_says_what_to_give() -> None:
    model = trainer().model
    for given in (model, Dense(1, 1), [Dense(1, 1)], Parameter(1.0), [np.ones(2)]):
        through(lambda value: SGD(value, 0.1), given, DTypeError, "SGD(parameters): expected Parameter objects, got ",
                "pass model.parameters()")
        through(lambda value: L2(0.1, value), given, DTypeError, "L2(parameters): expected Parameter objects, got ")
    through(lambda value: SGD(value, 0.1), model, DTypeError, "got one Sequential; pass model.parameters()")
    through(lambda value: SGD(value, 0.1), Tanh().parameters(), ArgumentError, "SGD(parameters): expected at least one")


def test_an_initializer_that_is_a_class_or_a_name() -> None:
    from minidl.initializers import Normal

    for given in (Normal, "normal", 1.0):
        through(lambda value: Dense(1, 1, weight_initializer=value), given, ArgumentError, "expected an initializer")


def test_a_refused_training_changes_neither_model_history_nor_generator() -> None:
    one, other = trainer(), trainer()
    for x, y in ((X[:, :2], Y), (X, Y[:, 0]), (X * np.nan, Y), (X, Y[:4])):
        with pytest.raises(MinidlError):
            one.fit(x, y, epochs=1)
    assert len(one.history) == 0
    for each in (one, other):
        each.fit(X, Y, epochs=2, batch_size=2)
    for ours, theirs in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert ours.value.tobytes() == theirs.value.tobytes()


@pytest.mark.parametrize(
    ("error", "builtin"),
    [(ArgumentError, ValueError), (ShapeError, ValueError), (DTypeError, TypeError), (DataError, ValueError),
     (StructureError, ValueError), (CallOrderError, RuntimeError), (CallOrderError, AttributeError)],
)
def test_each_error_is_caught_by_its_builtin_kind_as_well(error: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(error, MinidlError)
    assert issubclass(error, builtin)


MODEL: Layer = mlp([WIDTH, OUTPUTS], rng=0)

LISTS: dict[str, tuple[str, Door]] = {
    "penalties": (
        "Trainer(penalties)",
        lambda n: Trainer(MODEL, HalfSquaredError(), SGD(MODEL.parameters(), 0.1), penalties=n),
    ),
    "callbacks": ("fit(callbacks)", lambda n: trainer().fit(X, Y, epochs=1, callbacks=n)),
    "decayed": ("SGD(decayed)", lambda n: SGD(MODEL.parameters(), 0.1, decayed=n)),
    "stream": ("fit_batches", lambda n: trainer().fit_batches(n, epochs=1)),
    "stream that is called": ("fit_batches", lambda n: trainer().fit_batches(lambda: n, epochs=1)),
}


@pytest.mark.parametrize("argument", list(LISTS))
def test_a_number_in_the_place_of_a_list(argument: str) -> None:
    where, door = LISTS[argument]
    through(door, 3, DTypeError, f"{where}: expected a", "got 3")


@pytest.mark.parametrize("make", [lambda n: Dense(n, 2), lambda n: Dense(2, n), BatchNorm, lambda n: Embedding(n, 2)])
@pytest.mark.parametrize("size", [10**30, 2**62])
def test_a_size_that_no_array_can_have(make: Callable[[int], Layer], size: int) -> None:
    with refused(ArgumentError, "Parameter(shape): expected a shape that an array can have, got ", str(size)):
        make(size)


class Series:
    """A column of pandas: no array, but NumPy can make one of it; an index in two dimensions is refused."""

    def __init__(self, values: Any) -> None:
        self.values = np.array(values)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, key: object) -> Any:
        raise KeyError(key)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.values if dtype is None else self.values.astype(dtype)


def test_a_series_of_pandas_is_taken_as_the_target() -> None:
    series, array = trainer(outputs=1), trainer(outputs=1)
    y: Any = Series(Y[:, 0])
    series.fit(X, y, epochs=1, validation=(X, y), sample_weight=y)
    array.fit(X, Y[:, :1], epochs=1, validation=(X, Y[:, :1]), sample_weight=Y[:, 0])
    assert series.history.loss == array.history.loss
    assert series.history.validation_loss == array.history.validation_loss
    labels: Any = Series(LABELS)
    trainer(SoftmaxCrossEntropy()).fit(X, labels, epochs=1)


@pytest.mark.parametrize("validation", [(X,), (X, Y, Y[:, 0], X), X, "0.2", {"x": X}])
def test_a_wrong_validation_is_described_in_a_line(validation: Any) -> None:
    with refused(DTypeError, "validation: expected (x, y) or (x, y, sample_weight)", "such as 0.2, got"):
        trainer().fit(X, Y, epochs=1, validation=validation)


def test_nan_in_a_row_gives_nan_in_that_row_alone() -> None:
    y = trainer().model.predict(np.array([[1.0, 2.0, 3.0], [np.nan, 2.0, 3.0]]))
    assert np.isnan(y[1]).all()
    assert np.isfinite(y[0]).all()


def test_an_input_is_named_once() -> None:
    with pytest.raises(DTypeError, match=r"^x: expected real numbers"):
        trainer().fit(X.astype(str), Y, epochs=1)
