"""Training on the compiled engine: what it takes, what it refuses, and that a run works as it does in NumPy."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

pytest.importorskip("numba")

from minidl import (
    L2,
    SGD,
    Activation,
    Adam,
    BatchNorm,
    ClipGlobalNorm,
    Dense,
    Dropout,
    Graph,
    HalfSquaredError,
    Huber,
    Layer,
    LeakyReLU,
    Loss,
    Predictor,
    PReLU,
    Residual,
    Sequential,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
)
from minidl._compiled import CompiledLoop, cache
from minidl._compiled.chain import _of_functions
from minidl._compiled.kernels import LAYERS
from minidl._compiled.kernels.activations import ARRAY_ACTIVATION
from minidl._compiled.program import FEW_LAYERS
from minidl._compiled.source import kernel_source
from minidl._core.parameter import Buffer, Parameter
from minidl._training import compiled_engine as compiled
from minidl.callbacks import Callback
from minidl.errors import ArgumentError, CallOrderError, CompileError, DivergenceError, ShapeError
from minidl.layers._parts import named
from minidl.optimizers import NAdam, Optimizer
from minidl.schedules import Exponential

Array = np.ndarray[Any, Any]
X = np.random.default_rng(1).normal(size=(60, 2))
Y = np.sin(X[:, :1])


def network() -> Sequential:
    return Sequential(Dense(2, 5), Tanh(), Dropout(0.2), Dense(5, 1)).initialize(rng=1)


def trainer(engine: Any = "compiled", model: Layer | None = None, **arguments: Any) -> Trainer:
    model = network() if model is None else model
    return Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=2, engine=engine, **arguments)


def bits(run: Trainer) -> list[Any]:
    generators = [own.bit_generator.state for own in named(run.model, np.random.Generator).values()]
    return [run.optimizer.vector.values.tobytes(), generators, run.history.loss, run.optimizer.steps]


# What is compiled, and what is not.


class OwnDense(Dense):
    """A subclass may compute anything."""


class OwnHalfSquaredError(HalfSquaredError):
    """A subclass may compute anything."""


class OwnSGD(SGD):
    """A subclass may compute anything."""


class OwnClip(ClipGlobalNorm):
    """A subclass may compute anything."""


class OwnPenalty(L2):
    """A subclass may compute anything."""


def own_function(x: Array) -> Array:
    return np.array([eval("x")][0])


def not_elementwise(x: Array) -> Array:
    return x + np.random.random()


def parts(*layers: Layer, loss: Loss | None = None, optimizer: type[Optimizer] = SGD) -> tuple[Layer, Loss, Optimizer]:
    model = Sequential(*layers)
    return model, loss or HalfSquaredError(), optimizer(model.parameters(), 0.1)


def patched() -> Layer:
    layer = Tanh()
    vars(layer)["forward"] = layer.forward
    return layer


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: parts(Dense(2, 3), OwnDense(3, 1)), r'OwnDense.* at "1" cannot be compiled; .*Dense, Dropout'),
        (lambda: parts(Sequential(Dense(2, 2), Residual(OwnDense(2, 2)))), r'OwnDense.* at "0.1.layer" cannot'),
        (lambda: parts(Graph({"h": (Dense(2, 2), "x")}, output="h")), 'at "0" cannot be compiled'),
        (lambda: parts(Dense(2, 2), patched()), r'Tanh at "1" has its own passes'),
        (lambda: parts(Dense(2, 2), loss=OwnHalfSquaredError()), r"expected a loss among .*, got OwnHalfSquaredError"),
        (lambda: parts(Dense(2, 2), optimizer=OwnSGD), "expected an optimizer among Adagrad, .* SGD, got OwnSGD"),
        (lambda: parts(Dense(2, 2), Activation(own_function, np.cos)), r"its function uses more than Numba .*\(.*eval"),
        (lambda: parts(Dense(2, 2), Activation(not_elementwise, np.cos)), "its function gives other results"),
    ],
)
def test_what_cannot_be_compiled_is_named(given: Callable[[], tuple[Layer, Loss, Optimizer]], message: str) -> None:
    with pytest.raises(CompileError, match=message):
        CompiledLoop(*given())


def test_a_shared_parameter_is_refused() -> None:
    first, second = Dense(2, 2), Dense(2, 2)
    second.weight = first.weight
    with pytest.raises(CompileError, match=r'"1\.weight" is the same parameter as "0\.weight"'):
        CompiledLoop(*parts(first, second))


def test_two_dtypes_are_refused() -> None:
    model = Sequential(Dense(2, 2), Dense(2, 2, dtype=np.float32))
    with pytest.raises(CompileError, match="two dtypes"):
        CompiledLoop(model, HalfSquaredError(), SGD(model.layers[0].parameters(), 0.1))


def test_an_optimizer_of_another_model_is_refused() -> None:
    with pytest.raises(CompileError, match="no parameter of this model"):
        CompiledLoop(network(), HalfSquaredError(), SGD(network().parameters(), 0.1))


@pytest.mark.filterwarnings("ignore:fit. the optimizer does not hold")
def test_a_penalty_on_what_the_optimizer_does_not_hold_is_refused() -> None:
    model = network()
    with pytest.raises(CompileError, match="on parameters of the optimizer, got L2"):
        CompiledLoop(
            model, HalfSquaredError(), SGD(model.parameters()[2:], 0.1), penalties=(L2(0.1, model.parameters()),)
        )


def without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minidl._compiled.chain.find_spec", lambda name: None)


def beside_another_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minidl._compiled.chain.find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "numba", None)  # Importing it now raises an ImportError.


def switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)


def without_source(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: object) -> str:
        raise OSError("could not get source code")

    monkeypatch.setattr("minidl._compiled.source.inspect.getsource", missing)
    kernel_source.cache_clear()


@pytest.mark.parametrize(
    ("lack", "message"),
    [
        (without_numba, r'not installed: pip install "minidl\[jit\]"'),
        (beside_another_numpy, "Numba, which cannot be imported .*numba"),
        (switched_off, "NUMBA_DISABLE_JIT switches off"),
        (without_source, "needs the .py files of minidl"),
    ],
)
def test_what_compiling_lacks_is_named_and_auto_takes_numpy(
    lack: Callable[[pytest.MonkeyPatch], None], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lack(monkeypatch)
    with pytest.raises(CompileError, match=message):
        trainer().fit(X, Y, epochs=1)
    with pytest.raises(CompileError, match=message):
        _ = Predictor(network()).source
    run = trainer("auto")
    monkeypatch.setattr(compiled, "UPDATES", 1)
    run.fit(X, Y, epochs=1)
    assert run.last_engine == "numpy"


@pytest.mark.parametrize(
    ("arguments", "fit_arguments", "message"),
    [
        ({"clip": OwnClip(1.0)}, {}, r"expected a clip among .*ClipValue, got OwnClip\(1\)"),
        ({"penalties": OwnPenalty}, {}, r"expected penalties L1 or L2 on parameters of the optimizer, got OwnPenalty"),
        ({}, {"micro_batch_size": 4}, "no micro_batch_size, got 4"),
    ],
)
def test_extras_of_the_trainer_stay_in_numpy(
    arguments: dict[str, Any], fit_arguments: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network()
    if "penalties" in arguments:
        arguments = {"penalties": [arguments["penalties"](0.1, model.parameters())]}
    with pytest.raises(CompileError, match=message):
        trainer("compiled", model, **arguments).fit(X, Y, epochs=1, **fit_arguments)
    monkeypatch.setattr(compiled, "UPDATES", 1)
    run = trainer("auto", model, **arguments)
    run.fit(X, Y, epochs=1, **fit_arguments)
    assert run.last_engine == "numpy"


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ArgumentError, match='expected "auto", "numpy" or "compiled", got \'jit\''):
        trainer("jit")


@pytest.mark.parametrize(
    ("updates", "work", "epochs", "expected"),
    [(40, 1 << 25, 10, "compiled"), (41, 1 << 25, 10, "numpy"), (40, 1 << 25, 9, "numpy"), (40, 335, 10, "numpy")],
)
def test_auto_compiles_by_a_rule_on_sizes(
    monkeypatch: pytest.MonkeyPatch, updates: int, work: int, epochs: int, expected: str
) -> None:
    monkeypatch.setattr(compiled, "UPDATES", updates)
    monkeypatch.setattr(compiled, "WORK", work)
    run = trainer("auto")
    assert (run.engine, run.last_engine) == ("auto", None)
    run.fit(X, Y, epochs=epochs, batch_size=16)
    assert (run.engine, run.last_engine) == ("auto", expected)


def test_another_engine_may_be_asked_for_later() -> None:
    run = trainer("numpy")
    run.fit(X, Y, epochs=1)
    run.engine = "compiled"
    run.fit(X, Y, epochs=1)
    assert run.last_engine == "compiled"
    run.engine = "jit"  # type: ignore[assignment]
    with pytest.raises(ArgumentError, match='expected "auto", "numpy" or "compiled", got \'jit\''):
        run.fit(X, Y, epochs=1)


# A run on the compiled engine.


def test_the_source_can_be_read() -> None:
    source = CompiledLoop(*parts(Dense(2, 5), Tanh(), Dense(5, 1))).source
    assert source.startswith('"""Dense -> Tanh -> Dense -> HalfSquaredError, SGD, float64."""')
    loop = source[source.index("def train(") :]
    steps = [line.strip().split("(")[0] for line in loop.splitlines() if line.startswith("        ")]
    begin = steps.index("order = orders[epoch]") + 1
    assert steps[begin : begin + 6] == [
        "fetch_rows", "fetch_targets", "fetch_sample_weight", "dense_forward", "tanh_forward", "dense_forward"
    ]
    backward = ["dense_backward", "tanh_backward", "dense_backward_parameters", "sgd"]
    assert steps[steps.index("dense_backward") :][:4] == backward
    assert "def tanh_backward(y: Vector, grad: Vector, dx: Vector)" in source


@pytest.mark.parametrize(
    ("model", "options", "last"),
    [
        (lambda: Sequential(Dense(2, 5), Tanh(), Dense(5, 1)), {}, "dense_row_descent_parameters"),
        (lambda: Sequential(Dense(2, 5), Residual(Tanh()), Dense(5, 1)), {}, "dense_row_descent_parameters"),
        (lambda: Sequential(Dense(2, 5), PReLU(), Dense(5, 1)), {}, "sgd"),
        (lambda: Sequential(Dense(2, 5), Tanh(), Dense(5, 1)), {"weight_decay": 0.1}, "sgd"),
        (lambda: Sequential(Dense(2, 5), Tanh(), Dense(5, 1)), {"momentum": 0.9}, "sgd_momentum"),
    ],
)
def test_plain_sgd_on_single_rows_steps_on_the_way_back_where_all_layers_can(
    model: Callable[[], Layer], options: dict[str, Any], last: str
) -> None:
    net = model()
    loop = CompiledLoop(net, HalfSquaredError(), SGD(net.parameters(), 0.1, **options), one_row=True)
    assert loop.source.splitlines()[-5].strip().split("(")[0] == last
    frozen = SGD(net.parameters()[1:], 0.1, **options)
    assert "descent" not in CompiledLoop(net, HalfSquaredError(), frozen, one_row=True).source


def test_a_seed_means_the_same_bits() -> None:
    runs = [trainer(), trainer()]
    for run in runs:
        run.fit(X, Y, epochs=4, batch_size=7)
    assert bits(runs[0]) == bits(runs[1])


class StopAt(Callback):
    """Stop at a batch, or press Ctrl-C there."""

    every_batches = 1

    def __init__(self, batch: int, interrupt: bool) -> None:
        self.batch, self.interrupt = batch, interrupt

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        if (len(trainer.history), trainer.position.batch) == (1, self.batch):
            if self.interrupt:
                os.kill(os.getpid(), signal.SIGINT)
            else:
                trainer.stop("asked to")


def with_extras() -> Trainer:
    model = Sequential(Dense(2, 5), Residual(Tanh()), Dense(5, 1)).initialize(rng=1)
    extras: Any = {"penalties": [L2(0.1, model.parameters())], "clip": ClipGlobalNorm(0.1)}
    return Trainer(model, HalfSquaredError(), NAdam(model.parameters(), 0.1), rng=2, engine="compiled", **extras)


@pytest.mark.parametrize("interrupt", [True, False])
@pytest.mark.parametrize(("batch", "make"), [(1, trainer), (4, trainer), (8, trainer), (4, with_extras)])
def test_a_resumed_run_has_the_bits_of_a_run_in_one_piece(
    batch: int, make: Callable[[], Trainer], interrupt: bool
) -> None:
    whole, cut = make(), make()
    whole.fit(X, Y, epochs=3, batch_size=7)
    cut.fit(X, Y, epochs=3, batch_size=7, callbacks=[StopAt(batch, interrupt)])
    assert len(cut.history) == 1
    cut.resume(X, Y, callbacks=[])
    assert cut.last_engine == "compiled"
    assert bits(cut) == bits(whole)


class Count(Callback):
    """Note at which batches it is called."""

    def __init__(self, every: int) -> None:
        self.every_batches = every
        self.seen: list[int] = []

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        self.seen.append(trainer.position.batch)


@pytest.mark.parametrize("every", [1, 2, 3, 4, 100])
def test_callbacks_are_called_at_the_same_batches(every: int) -> None:
    seen = []
    for engine in ("numpy", "compiled"):
        count = Count(every)
        trainer(engine).fit(X, Y, epochs=2, batch_size=7, callbacks=[count])
        seen.append(count.seen)
    assert seen[0] == seen[1]


def test_ctrl_c_ends_a_long_run_soon() -> None:
    run = trainer()
    run.fit(X, Y, epochs=1, batch_size=7)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    run.fit(X, Y, epochs=10_000_000, batch_size=7)
    timer.join()
    assert run.history.stopped_by == "SIGINT"


@pytest.mark.parametrize("batch_size", [1, 7])
def test_divergence_is_explained_as_in_numpy(batch_size: int) -> None:
    found = {}
    for engine in ("numpy", "compiled"):
        model = Sequential(Dense(2, 5), Tanh(), Dropout(0.2), Dense(5, 1)).initialize(rng=1)
        run = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 40.0), rng=2, engine=engine)
        with pytest.raises(DivergenceError) as caught:
            run.fit(X, 1e3 * Y, epochs=200, batch_size=batch_size)
        error = caught.value
        found[engine] = [error.epoch, error.batch, error.layer, error.phase, error.learning_rate, run.optimizer.steps,
                         [array.tolist() for array in error.data]]
        assert np.isfinite(run.optimizer.vector.values).all()
    assert found["compiled"] == found["numpy"]


@pytest.mark.parametrize("callbacks", [[], [Count(100)]])
def test_a_loss_that_is_infinite_in_the_first_batch_is_a_divergence(callbacks: list[Callback]) -> None:
    found = []
    for engine in ("numpy", "compiled"):
        model = Sequential(Dense(2, 5), Dense(5, 1)).initialize(rng=1)
        model[1].parameters()[0].value[...] = 1e200
        run = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=2, engine=engine)
        with pytest.raises(DivergenceError) as caught:
            run.fit(X, Y, epochs=2, batch_size=7, callbacks=callbacks)
        found.append((str(caught.value), run.optimizer.steps, run.position))
    assert found[0] == found[1]


def test_frozen_parameters_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for engine in ("numpy", "compiled"):
        model = network()
        frozen = [model[0].parameters()[0], model[3].parameters()[1]]
        before = [parameter.value.copy() for parameter in frozen]
        learned = [p for p in model.parameters() if p not in frozen]
        for parameter in frozen:
            parameter.freeze()
        run = Trainer(model, HalfSquaredError(), SGD(learned, 0.1), rng=2, engine=engine)
        run.fit(X, Y, epochs=2, batch_size=7)
        assert all(np.array_equal(p.value, value) for p, value in zip(frozen, before, strict=True))
        results.append(run.optimizer.vector.values)
    np.testing.assert_allclose(results[1], results[0], rtol=1e-12)


def test_layers_before_the_first_that_learns_only_run_forward() -> None:
    results = []
    for engine in ("numpy", "compiled"):
        model = network()
        model[:3].freeze()
        run = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=2, engine=engine)
        run.fit(X, Y, epochs=2, batch_size=7)
        results.append(run.optimizer.vector.values)
    np.testing.assert_allclose(results[1], results[0], rtol=1e-12)


def layouts() -> dict[str, tuple[Array, Array]]:
    read_only = X.copy(), Y.copy()
    for array in read_only:
        array.flags.writeable = False
    wide = np.repeat(X, 2, axis=1)
    return {"fortran": (np.asfortranarray(X), Y), "strided": (wide[:, ::2], Y), "read-only": read_only,
            "reversed": (X[::-1].copy()[::-1], Y)}


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("layout", layouts())
def test_every_layout_of_the_data_gives_the_same_bits(layout: str, shuffle: bool) -> None:
    runs = []
    for x, y in ((X, Y), layouts()[layout]):
        run = trainer()
        run.fit(x, y, epochs=2, batch_size=7, shuffle=shuffle)
        runs.append(bits(run))
    assert runs[0] == runs[1]


def test_memory_mapped_data(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    first, second = trainer(), trainer()
    first.fit(X, Y, epochs=1)
    second.fit(np.load(tmp_path / "x.npy", mmap_mode="r"), Y, epochs=1)
    assert bits(first) == bits(second)


def test_a_stream_is_trained_on_as_in_numpy() -> None:
    cuts = [(0, 9), (9, 10), (10, 40), (40, 60)]
    runs = []
    for engine in ("numpy", "compiled"):
        run = trainer(engine)
        run.fit_batches(lambda: ((X[a:b], Y[a:b]) for a, b in cuts), epochs=3)
        assert run.last_engine == engine
        runs.append(run)
    np.testing.assert_allclose(runs[1].history.loss, runs[0].history.loss, rtol=1e-12)
    np.testing.assert_allclose(runs[1].optimizer.vector.values, runs[0].optimizer.vector.values, rtol=1e-12)


def test_a_batch_too_small_for_a_layer_is_refused_as_in_numpy() -> None:
    messages = []
    for engine in ("numpy", "compiled"):
        model = Sequential(Dense(2, 3), BatchNorm(3), Dense(3, 1)).initialize(rng=0)
        run = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), engine=engine)
        with pytest.raises(ShapeError, match="at least 2 rows") as caught:
            run.fit(X, Y, epochs=1, batch_size=1)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_running_statistics_that_someone_holds_are_not_written_to() -> None:
    model = Sequential(BatchNorm(2), Dense(2, 1)).initialize(rng=0)
    run = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0, engine="compiled")
    run.fit(X + 3.0, Y, epochs=1)
    fixed = model.inference()
    before = fixed.predict(X)
    held = next(iter(named(model, Buffer).values())).value
    copy = held.copy()
    weights = run.optimizer.vector.values.copy()
    run.fit(X - 9.0, Y, epochs=1)
    run.optimizer.vector.values[...] = weights
    assert np.array_equal(held, copy)
    assert np.array_equal(fixed.predict(X), before)


class Meddle(Callback):
    """Change the rate, and move the parameters to another optimizer's storage, in the middle of an epoch."""

    every_batches = 4

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        trainer.optimizer.learning_rate = 0.02
        Adam(trainer.model.parameters())


def test_what_a_callback_changes_is_seen_at_the_next_batch() -> None:
    runs = []
    for engine in ("numpy", "compiled"):
        run = trainer(engine)
        run.fit(X, Y, epochs=2, batch_size=7, callbacks=[Meddle()])
        runs.append(run)
    np.testing.assert_allclose(runs[1].model.predict(X), runs[0].model.predict(X), rtol=1e-12)
    assert runs[1].history.learning_rate == [0.02, 0.02]


class Set(Callback):
    """Set one attribute in the middle of the second epoch."""

    every_batches = 5

    def __init__(self, of: Callable[[Trainer], Any], name: str, value: Callable[[], Any]) -> None:
        self.of, self.name, self.value = of, name, value

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        if len(trainer.history) == 1 and trainer.position.batch == 5:
            setattr(self.of(trainer), self.name, self.value())


def meddled(engine: str, make: Callable[[Layer], Optimizer], callback: Callback | None, batch_size: int = 7) -> Trainer:
    model = Sequential(Dense(2, 5), LeakyReLU(0.1), BatchNorm(5), Dropout(0.2), Dense(5, 1)).initialize(rng=1)
    run = Trainer(model, Huber(0.3), make(model), rng=2, engine=engine)  # type: ignore[arg-type]
    run.fit(X, Y, epochs=3, batch_size=batch_size, callbacks=[callback] if callback else [])
    return run


def small(engine: str, make: Callable[[Layer], Optimizer], callback: Callback | None, batch_size: int = 7) -> Trainer:
    """Train the smallest network: it compiles in a third of the time of `meddled`."""
    model = Sequential(Dense(2, 1)).initialize(rng=1)
    run = Trainer(model, HalfSquaredError(), make(model), rng=2, engine=engine)  # type: ignore[arg-type]
    run.fit(X, Y, epochs=3, batch_size=batch_size, callbacks=[callback] if callback else [])
    return run


def check_seen(run: Callable[..., Trainer], make: Callable[[Layer], Optimizer], callback: Callback, size: int) -> None:
    """What a callback sets changes the run, and in the same way on both engines."""
    wanted, found, without = (
        run(engine, make, own, size)
        for engine, own in (("numpy", callback), ("compiled", callback), ("compiled", None))
    )
    np.testing.assert_allclose(found.history.loss, wanted.history.loss, rtol=1e-10)
    np.testing.assert_allclose(found.optimizer.vector.values, wanted.optimizer.vector.values, rtol=1e-8, atol=1e-12)
    assert not np.allclose(found.history.loss, without.history.loss, rtol=1e-8)


def sgd(model: Layer) -> Optimizer:
    return SGD(model.parameters(), 0.1, weight_decay=0.2, momentum=0.9)


def plain(model: Layer) -> Optimizer:
    return SGD(model.parameters(), 0.1)


def adam(model: Layer) -> Optimizer:
    return Adam(model.parameters(), 0.01, weight_decay=0.2)


def nadam(model: Layer) -> Optimizer:
    return NAdam(model.parameters(), 0.01)


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (plain, "weight_decay", 0.5), (sgd, "weight_decay", 0.0), (sgd, "weight_decay", 0.6), (sgd, "momentum", 0.0),
        (sgd, "momentum", 0.5), (sgd, "nesterov", True), (adam, "weight_decay", 0.0), (adam, "beta1", 0.5),
        (adam, "beta2", 0.9), (adam, "epsilon", 0.1), (adam, "weight_decay", 0.6), (nadam, "beta1", 0.5),
        (nadam, "momentum_decay", 0.5), (nadam, "momentum_product", 0.1),
    ],
)
def test_a_setting_of_the_optimizer_counts_from_the_next_batch(make: Any, name: str, value: Any) -> None:
    check_seen(small, make, Set(lambda trainer: trainer.optimizer, name, lambda: value), 7)


def test_weight_decay_that_begins_on_single_rows_counts() -> None:
    check_seen(small, plain, Set(lambda trainer: trainer.optimizer, "weight_decay", lambda: 0.5), 1)


@pytest.mark.parametrize(
    ("of", "name", "value"),
    [
        (lambda trainer: trainer.model[1], "slope", lambda: 0.7),
        (lambda trainer: trainer.model[2], "epsilon", lambda: 0.7),
        (lambda trainer: trainer.model[3], "rate", lambda: 0.6),
        (lambda trainer: trainer.model[3], "rng", lambda: np.random.default_rng(9)),
        (lambda trainer: trainer.loss, "delta", lambda: 0.1),
        (lambda trainer: trainer.model[0], "weight", lambda: Parameter(np.ones((5, 2)))),
    ],
)
def test_an_attribute_of_a_part_counts_from_the_next_batch(of: Any, name: str, value: Any) -> None:
    check_seen(meddled, plain, Set(of, name, value), 7)


def swapped(engine: str, make: Callable[[Layer], Optimizer], callback: Callback | None, batch_size: int) -> Trainer:
    model = Sequential(Dense(2, 5), LeakyReLU(0.1), Dropout(0.2), Dense(5, 1)).initialize(rng=1)
    run = Trainer(model, HalfSquaredError(), make(model), rng=2, engine=engine)  # type: ignore[arg-type]
    run.fit(X, Y, epochs=3, batch_size=batch_size, callbacks=[callback] if callback else [])
    return run


@pytest.mark.parametrize("batch_size", [1, 7])
def test_a_new_strength_or_limit_counts_and_compiles_nothing(batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for engine in ("numpy", "compiled"):
        model = network()
        penalty, clip = L2(0.1, model.parameters()), ClipGlobalNorm(0.5)
        run = trainer(engine, model, penalties=[penalty], clip=clip)
        run.fit(X, Y, epochs=2, batch_size=batch_size)
        with monkeypatch.context() as patch:
            patch.setattr(cache, "_written", lambda *_: pytest.fail("a program was written"))
            penalty.strength, clip.limit = 0.02, 0.1
            penalty.parameters.pop()
            callback = Set(lambda trainer: trainer.clip, "limit", lambda: 0.2)
            run.fit(X, Y, epochs=2, batch_size=batch_size, callbacks=[callback])
        found.append([*run.history.loss, *run.optimizer.vector.values])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-11)


class Swap(Set):
    """Put another layer in the place of one."""

    def __init__(self) -> None:
        super().__init__(lambda trainer: trainer.model, "layers", lambda: ())

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        first, _, *others = trainer.model.layers  # type: ignore[attr-defined]
        self.value = lambda: (first, Tanh(), *others)
        super().on_batches_end(trainer)


def test_a_predictor_sees_a_new_layer_in_a_residual() -> None:
    model: Any = Sequential(Residual(Tanh()), Dense(2, 2)).initialize(rng=0)
    predict = Predictor(model)
    for rows in (1, 60, 2000):
        x = np.random.default_rng(rows).normal(size=(rows, 2))
        model[0].layer = Tanh()
        np.testing.assert_allclose(predict(x), model.predict(x), rtol=1e-12)
        model[0].layer = LeakyReLU(0.5)
        np.testing.assert_allclose(predict(x), model.predict(x), rtol=1e-12)


def test_a_layer_that_a_callback_replaces_counts_from_the_next_batch() -> None:
    check_seen(swapped, plain, Swap(), 7)


@pytest.mark.parametrize(("name", "value"), [("momentum", lambda: 0.7), ("running_mean", lambda: Buffer(np.ones(5)))])
def test_running_statistics_are_those_of_numpy(name: str, value: Any) -> None:
    callback = Set(lambda trainer: trainer.model[2], name, value)  # type: ignore[index]
    wanted, found, without = (
        np.hstack([buffer.value for buffer in named(meddled(engine, plain, own).model, Buffer).values()])
        for engine, own in (("numpy", callback), ("compiled", callback), ("numpy", None))
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-10)
    assert not np.allclose(found, without)


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_a_replaced_slot_is_refused(engine: str) -> None:
    def fresh() -> Array:
        return np.zeros(2 + 1)

    with pytest.raises(CallOrderError, match=r"SGD: expected 'velocity' to be the vector that slot\(\) made"):
        small(engine, sgd, Set(lambda trainer: trainer.optimizer, "velocity", fresh))


def test_a_slot_of_another_size_is_never_written_to() -> None:
    with pytest.raises(CallOrderError, match=r"expected 'velocity' to be the vector of 3 numbers"):
        small("compiled", sgd, Set(lambda trainer: trainer.optimizer, "velocity", lambda: np.zeros(2)))


def bend(x: Array) -> Array:
    return 0.1 * x * x


def bend_prime(x: Array) -> Array:
    return 0.2 * x


def ramp(x: Array) -> Array:
    y = x.copy()  # Numba has no copy of a number.
    for row in y:
        for i in range(len(row)):
            row[i] = max(row[i], 0.0)
    return y


def step(x: Array) -> Array:
    y = x.copy()
    for row in y:
        for i in range(len(row)):
            row[i] = 1.0 if row[i] > 0.0 else 0.0
    return y


def test_functions_of_the_user_are_compiled() -> None:
    runs = []
    for engine in ("numpy", "compiled"):
        functions = Activation(np.sin, np.cos), Activation(ramp, step), Activation(bend, bend_prime)
        model = Sequential(Dense(2, 5), *functions, Dense(5, 1)).initialize(rng=1)
        run = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=2, engine=engine)
        run.fit(X, Y, epochs=2, batch_size=7)
        runs.append(run)
    np.testing.assert_allclose(runs[1].optimizer.vector.values, runs[0].optimizer.vector.values, rtol=1e-12)


def test_a_function_is_compiled_for_numbers_where_that_is_possible() -> None:
    found = [_of_functions("", Activation(*pair)) for pair in ((bend, bend_prime), (np.sin, np.cos), (ramp, step))]
    assert found == [LAYERS[Activation], LAYERS[Activation], ARRAY_ACTIVATION]


def test_batches_of_a_stream_may_differ_in_width() -> None:
    found = []
    for engine in ("numpy", "compiled"):
        model = Sequential(Dropout(0.5), PReLU()).initialize(rng=1)
        run = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=2, engine=engine)
        data = [np.random.default_rng(width).normal(size=(30, width)) for width in (1, 40, 2)]
        run.fit_batches([(x, x) for x in data], epochs=2)
        found.append([*run.history.loss, *run.optimizer.vector.values])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-12)


def test_two_threads_train_at_once() -> None:
    alone = trainer()
    alone.fit(X, Y, epochs=50, batch_size=7)
    model, labels = Sequential(Dense(2, 3)).initialize(rng=0), (X[:, 0] > 0).astype(int)
    other = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1), rng=0, engine="compiled")
    together = trainer()
    threads = [
        threading.Thread(target=together.fit, args=(X, Y), kwargs={"epochs": 50, "batch_size": 7}),
        threading.Thread(target=other.fit, args=(X, labels), kwargs={"epochs": 50, "batch_size": 7}),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bits(together) == bits(alone)
    assert other.last_engine == "compiled"


def test_a_bare_layer_is_a_chain_of_one() -> None:
    model: Layer = Dense(2, 1).initialize(0)
    found = trainer("compiled", model)
    found.fit(X, Y, epochs=2)
    model = Dense(2, 1).initialize(0)
    wanted = trainer("numpy", model)
    wanted.fit(X, Y, epochs=2)
    np.testing.assert_allclose(found.history.loss, wanted.history.loss, rtol=1e-12)


class MoveFrozen(Callback):
    """Move a frozen parameter to the storage of another optimizer, and change it there."""

    every_batches = 20

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        frozen = trainer.model.parameters()[0]
        other = SGD([frozen], 0.5)
        frozen.grad += 0.1
        other.step()


@pytest.mark.filterwarnings("ignore:fit. the optimizer does not hold")
@pytest.mark.parametrize("batch_size", [1, 6])
def test_a_frozen_parameter_that_something_else_moves_is_seen(batch_size: int) -> None:
    runs = []
    for engine in ("numpy", "compiled"):
        model = network()
        run = Trainer(model, HalfSquaredError(), SGD(model.parameters()[2:], 0.1), rng=2, engine=engine)
        run.fit(X, Y, epochs=2, batch_size=batch_size, callbacks=[MoveFrozen()])
        runs.append(run)
    np.testing.assert_allclose(runs[1].model.predict(X), runs[0].model.predict(X), rtol=1e-11)


def test_labels_of_every_kind_are_the_same_labels() -> None:
    labels = (X[:, 0] > 0).astype(int)
    losses = []
    for given in (labels, labels.astype(np.uint8), labels.astype(">i4"), np.repeat(labels, 2)[::2]):
        model = Sequential(Dense(2, 3)).initialize(rng=0)
        run = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1), rng=0, engine="compiled")
        losses.append(run.fit(X, given, epochs=2, batch_size=7).loss)
    assert all(found == losses[0] for found in losses)


def test_long_chains_are_compiled_without_inlining() -> None:
    short, long = (parts(*(Dense(2, 2) for _ in range(count))) for count in (FEW_LAYERS, FEW_LAYERS + 1))
    assert "@njit(**kernel)" in CompiledLoop(*short).source
    assert "@njit(**kernel)" not in CompiledLoop(*long).source
    assert "@njit(**kernel)" in CompiledLoop(*long, one_row=True).source


class Places(Callback):
    """Note where the run stands each time that it is asked."""

    def __init__(self) -> None:
        self.places: list[int] = []

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        self.places.append(trainer.position.batch)


def test_a_fit_in_small_pieces_is_that_in_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    from minidl._compiled import feed, loop

    found, pieces = {}, [0]

    def noted(uniform: Any, number: int, *others: Any) -> Any:
        pieces.append(number)
        return feed.draw(uniform, number, *others)

    monkeypatch.setattr(loop, "draw", noted)
    for name, engine, size in (("numpy", "numpy", 0), ("whole", "compiled", 1 << 18), ("pieces", "compiled", 700),
                               ("copied", "compiled", 1000)):
        monkeypatch.setattr(loop, "BYTES_AT_ONCE", size)
        run = trainer(engine)
        run.optimizer.learning_rate = Exponential(0.1, 0.5, steps=3)
        run.fit(np.asfortranarray(X) if name == "copied" else X, Y, epochs=2, batch_size=7)
        found[name] = [*run.optimizer.vector.values, *run.history.loss, *run.history.learning_rate]
    # In each epoch 8 batches of 7 rows and one of 4. Dropout takes 5 numbers of 8 bytes for a row, and a copy of it 3.
    assert pieces == [0, *([9] * 2), *([2, 2, 2, 2, 1] * 4)]
    assert found["numpy"][-2:] == pytest.approx([0.1 * 0.5 ** (n / 3) for n in (8, 17)], rel=1e-12)
    for name in ("whole", "pieces", "copied"):
        np.testing.assert_allclose(found[name], found["numpy"], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("work", "wanted"), [(1 << 24, [16_384]), (3 * 21 * 7000, [7000, 14_000]), (0, [8, 16])])
def test_callbacks_come_after_the_batches_of_a_call(work: int, wanted: list[int], monkeypatch: Any) -> None:
    monkeypatch.setattr(compiled, "WORK_AT_ONCE", work)
    count, places = max(wanted) + 7, Places()
    x = np.random.default_rng(0).normal(size=(3 * count, 2))
    trainer().fit(x, x[:, :1], epochs=1, batch_size=3, callbacks=[places])
    assert places.places == wanted
