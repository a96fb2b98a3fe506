"""Watch: what it sees, what it says, and that the run does not notice it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import (
    SGD,
    Adam,
    Array,
    BatchNorm,
    Concat,
    Dense,
    Dropout,
    Embedding,
    Graph,
    HalfSquaredError,
    Layer,
    Parameter,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
    Trainer,
    mlp,
)
from minidl.callbacks import EarlyStopping
from minidl.errors import DTypeError, ShapeError
from minidl.inspection import Finding, Watch
from minidl.inspection._case import LIMITS
from minidl.inspection._figures import Look
from minidl.layers import Columns
from minidl.layers.graph import Node
from minidl.schedules import Cosine
from tests.campaigns.watch import HEALTHY, ILLNESSES, false_alarms

X = np.random.default_rng(1).normal(size=(300, 3))
Y = np.sin(X[:, :1]) * X[:, 1:2]
ROOT = Path(__file__).parents[2]


def trainer(engine: Any = "numpy", *, layers: tuple[Layer, ...] | None = None, rate: Any = 0.05) -> Trainer:
    made = layers or (Dense(3, 8), BatchNorm(8), Tanh(), Dropout(0.2), Dense(8, 1))
    model = Sequential(*copy.deepcopy(made)).initialize(rng=0)
    return Trainer(model, HalfSquaredError(), SGD(model.parameters(), rate, momentum=0.9), rng=0, engine=engine)


def bits(run: Trainer) -> dict[str, bytes]:
    """Return all that a run leaves behind."""
    from minidl._core.parameter import Buffer
    from minidl.layers._parts import named

    vectors = {"values": run.optimizer.vector.values, **run.optimizer.slots(), "loss": np.array(run.history.loss)}
    buffers = {path: part.value for path, part in named(run.model, Buffer).items()}
    states = {path: part.bit_generator.state for path, part in named(run.model, np.random.Generator).items()}
    return {**{name: array.tobytes() for name, array in {**vectors, **buffers}.items()}, "rng": repr(states).encode()}


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_the_run_keeps_every_bit(engine: str) -> None:
    if engine == "compiled":
        pytest.importorskip("numba")
    layers = BatchNorm(3), Dropout(0.2), Dense(3, 1)
    with_watch, without = trainer(engine, layers=layers), trainer(engine, layers=layers)
    watch = Watch(X, Y, rows=64)
    with_watch.fit(X, Y, epochs=7, batch_size=16, callbacks=[watch], validation=0.1)
    without.fit(X, Y, epochs=7, batch_size=16, validation=0.1)
    assert bits(with_watch) == bits(without)
    assert with_watch.history.validation_loss == without.history.validation_loss
    assert with_watch.last_engine == engine


@pytest.mark.parametrize(("epochs", "batch_size", "looks"), [(1, 1, 60), (200, 100, 60), (7, 16, 20), (2, 300, 60)])
def test_it_looks_before_the_run_and_then_in_equal_distances(epochs: int, batch_size: int, looks: int) -> None:
    run, watch = trainer(layers=(Dense(3, 1),), rate=1e-3), Watch(X, Y, looks=looks)
    run.fit(X, Y, epochs=epochs, batch_size=batch_size, callbacks=[watch])
    steps = [look.step for look in watch.looks]
    updates = run.optimizer.steps
    assert steps[0] == 0
    assert min(looks, updates) * 0.8 <= len(steps) <= looks + 1
    assert np.diff(steps).max() <= 2 * max(1, updates / looks)


def test_it_looks_after_epochs_of_a_stream_without_length() -> None:
    def stream() -> Any:
        yield X[:100], Y[:100]
        yield X[100:], Y[100:]

    run, watch = trainer(), Watch(X, Y)
    run.fit_batches(stream, epochs=5, callbacks=[watch])
    assert [look.step for look in watch.looks] == [0, 2, 4, 6, 8, 10]


def test_a_resumed_run_continues_its_looks(tmp_path: Path) -> None:
    class Stop(EarlyStopping):
        @override
        def on_epoch_end(self, trainer: Trainer) -> None:
            if len(trainer.history) == 4 and not self.waited:
                trainer.save(tmp_path / "run.safetensors")

    whole, watch = trainer(), Watch(X, Y)
    whole.fit(X, Y, epochs=9, callbacks=[watch, Stop(monitor="loss")])
    second, again = trainer(), Watch(X, Y)
    second.restore(tmp_path / "run.safetensors")
    second.resume(X, Y, callbacks=[again, Stop(monitor="loss")])
    assert [look.to_dict() for look in again.looks] == [look.to_dict() for look in watch.looks]
    assert json.loads(json.dumps(watch.looks[0].to_dict()))


def test_a_new_fit_forgets_the_looks_of_the_last() -> None:
    run, watch = trainer(), Watch(X, Y)
    run.fit(X, Y, epochs=2, callbacks=[watch])
    run.fit(X, Y, epochs=3, callbacks=[watch])
    assert watch.looks[0].step == 20
    assert watch.looks[-1].step == 50


def test_the_figures_of_a_small_network_are_those_of_a_computation_by_hand() -> None:
    x, y = X[:, :2], Y
    model = Sequential(Dense(2, 3), Tanh(), Dense(3, 1)).initialize(rng=0)
    run, watch = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0), Watch(x, y, rows=300)
    first, second = (model[k].named_parameters() for k in (0, 2))
    w1, b1, w2, b2 = (p.value.copy() for p in (*first.values(), *second.values()))
    run.fit(x, y, epochs=1, batch_size=300, shuffle=False, callbacks=[watch])
    look = watch.looks[0]
    hidden = np.tanh(x @ w1.T + b1)
    error = (hidden @ w2.T + b2 - y) / 300
    back = error @ w2 * (1 - hidden**2)
    rms = [float(np.sqrt(np.mean(a**2))) for a in (x @ w1.T + b1, hidden, hidden @ w2.T + b2, back, error @ w2, error)]
    assert [part.output for part in look.parts] == pytest.approx(rms[:3], rel=1e-12)
    assert [part.error for part in look.parts] == pytest.approx(rms[3:], rel=1e-12)
    assert look.loss == pytest.approx(float(np.sum((300 * error) ** 2)) / 600)
    update = 0.1 * np.linalg.norm(back.T @ x) / np.linalg.norm(w1)
    assert look.parts[0].update == pytest.approx(float(update), rel=1e-9)
    assert look.parts[0].inputs is not None
    assert look.parts[0].inputs.size == pytest.approx(np.sqrt(np.mean(x**2, axis=0)).tolist())
    assert look.parts[1].flat == pytest.approx(float(np.mean(1 - hidden**2 < 0.05)))
    assert look.after == pytest.approx(watch.looks[1].loss)  # made by the run itself


def test_the_shuffled_loss_is_that_of_predictions_for_other_rows() -> None:
    run, watch = trainer(layers=(Dense(3, 1),)), Watch(X, Y, rows=300)
    prediction = run.model.predict(watch.x)
    run.fit(X, Y, epochs=1, callbacks=[watch])
    losses = [0.5 * np.mean((prediction[i] - watch.y[(i - k) % 300]) ** 2) for i in range(300) for k in range(1, 5)]
    assert watch.looks[0].shuffled == pytest.approx(float(np.mean(losses)))


@pytest.mark.parametrize(
    ("layer", "flat", "two_ended"),
    [
        (ReLU(), lambda x: x <= 0, False),
        (Sigmoid(), lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2 < 0.0125, True),
        (Tanh(), lambda x: 1 / np.cosh(x) ** 2 < 0.05, True),
    ],
)
def test_flat_outputs_are_those_with_a_small_slope(layer: Layer, flat: Any, two_ended: bool) -> None:
    run = trainer(layers=(layer, Dense(3, 1)))
    watch = Watch(3 * X, Y, rows=300)
    run.fit(3 * X, Y, epochs=1, callbacks=[watch])
    part = watch.looks[0].parts[0]
    assert part.flat == pytest.approx(float(np.mean(flat(3 * X))))
    assert part.dead == 0.0
    assert part.two_ended == two_ended


def test_layers_that_mix_numbers_have_no_slope() -> None:
    run, watch = trainer(layers=(Dense(3, 3), Softmax(), Dense(3, 1))), Watch(X, Y)
    run.fit(X, Y, epochs=1, callbacks=[watch])
    assert [part.flat for part in watch.looks[0].parts] == [None, None, None]


def test_layers_that_are_fed_with_data_are_found_in_a_graph() -> None:
    nodes: dict[str, Node] = {
        "code": (Columns([0]), "x"), "city": (Embedding(4, 2), "code"), "rest": (Columns([1, 2]), "x"),
        "row": (Concat(), "city", "rest"), "norm": (BatchNorm(4), "row"), "first": (Dense(4, 4), "norm"),
        "deep": (Residual(Dense(4, 4)), "first"), "last": (Dense(4, 1), "deep"),
    }  # fmt: skip
    model = Graph(nodes, output="last").initialize(rng=0)
    x = np.column_stack([np.arange(300) % 4, X[:, :2]])
    watch = Watch(x, Y)
    Trainer(model, HalfSquaredError(), Adam(model.parameters(), 0.01), rng=0).fit(x, Y, epochs=1, callbacks=[watch])
    found = {part.path: part.inputs is not None for part in watch.looks[0].parts}
    assert [path for path, fed in found.items() if fed] == ["first"]
    assert list(found)[-1] == "last"


@pytest.mark.parametrize("name", ILLNESSES)
def test_an_illness_is_the_first_finding(name: str) -> None:
    wanted, make = ILLNESSES[name]
    findings = make().watched().diagnosis()
    assert [finding.what for finding in findings][:1] == [wanted]
    for finding in findings:
        assert all([finding.where, finding.seen, finding.normal, finding.advice])
        assert all(part in str(finding) for part in (finding.where, finding.seen, finding.normal, finding.advice))


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_run_has_no_finding(name: str) -> None:
    assert HEALTHY[name]().watched().diagnosis() == []


@pytest.mark.parametrize("example", ["custom_layer", "custom_activation_and_loss", "tied_autoencoder"])
def test_an_example_has_no_finding(example: str) -> None:
    assert false_alarms(example) == []


def test_a_run_with_a_schedule_that_warms_up_is_healthy() -> None:
    run, watch = trainer(rate=Cosine(0.05, epochs=20), layers=(Dense(3, 16), Tanh(), Dense(16, 1))), Watch(X, Y)
    run.fit(X, Y, epochs=20, callbacks=[watch])
    assert watch.diagnosis() == []


def test_the_table_of_limits_in_the_docs_is_that_of_the_code() -> None:
    page = (ROOT / "docs" / "inspection.md").read_text(encoding="utf-8")
    table = page.split("\n### The rules\n")[1].split("\n\n")[1]
    rows = [line.split("|")[1:3] for line in table.splitlines()[2:]]
    assert {name.strip(" `"): float(limit) for name, limit in rows} == LIMITS


def test_a_layer_of_the_users_is_looked_at() -> None:
    class Own(Layer):
        @override
        def forward(self, x: Array) -> Array:
            if (np.abs(x) > 1e3).any():
                raise ValueError("too large")
            self._x = x
            return 2.0 * x

        @override
        def backward(self, grad: Array) -> Array:
            return 2.0 * grad

    run, watch = trainer(layers=(Dense(3, 4), Own(), Dense(4, 1)), rate=0.01), Watch(X, Y)
    run.fit(X, Y, epochs=2, callbacks=[watch])
    own = watch.looks[0].parts[1]
    assert (own.name, own.flat) == ("Own()", None)
    assert own.error is not None


def test_data_that_does_not_fit_is_refused_before_the_run() -> None:
    run = trainer()
    with pytest.raises(ShapeError, match=r"\(batch, 3\)") as refused:
        run.fit(X, Y, epochs=1, callbacks=[Watch(X[:, :2], Y)])
    assert refused.value.__notes__ == ["in the data of Watch(x, y)"]
    assert len(run.history) == 0
    with pytest.raises(ShapeError, match="same number of rows"):
        Watch(X, Y[:10])
    with pytest.raises(DTypeError, match=r"Watch\(rows\)"):
        Watch(X, Y, rows=1.5)  # type: ignore[arg-type]


def test_the_table_has_a_line_for_each_layer_and_the_diagnosis_needs_no_look() -> None:
    watch = Watch(X, Y)
    assert watch.diagnosis() == []
    assert watch.table().split() == ["layer", "output", "error", "flat", "dead", "update"]
    run = trainer()
    run.fit(X, Y, epochs=1, callbacks=[watch])
    lines = watch.table().splitlines()
    assert [line.split()[:2] for line in lines[1:4]] == [["0", "Dense(3"], ["1", "BatchNorm(8)"], ["2", "Tanh()"]]
    assert len(lines) == 6
    assert isinstance(watch.looks[0], Look)


def test_a_finding_is_printed_as_its_sentences() -> None:
    finding = Finding("dead units", 'ReLU() at "1"', "all are flat", "few", "Do this")
    assert repr([finding]) == '[dead units, ReLU() at "1": all are flat (normal: few). Do this.]'


def test_the_looks_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run, watch = Trainer(m := mlp([3, 8, 1], rng=0), HalfSquaredError(), SGD(m.parameters(), 0.01), rng=0), Watch(X, Y)
    run.fit(X, Y, epochs=5, callbacks=[watch])
    figure = watch.plot(tmp_path / "watch.png")
    assert (tmp_path / "watch.png").read_bytes().startswith(b"\x89PNG")
    steps = [look.step for look in watch.looks]
    loss, errors, updates, flat = figure.axes
    assert loss.lines[0].get_xydata().tolist() == [[look.step, look.loss] for look in watch.looks]
    assert [line.get_xdata().tolist() for line in errors.lines] == [steps, steps]
    assert [line.get_label() for line in updates.lines] == ["0 Dense(3 -> 8)", "2 Dense(8 -> 1)"]
    assert flat.get_xlabel() == "update"


class Cubic(Layer):
    """y = s x³ with a parameter s, and gradients times the numbers given."""

    def __init__(self, right_x: float, right_s: float) -> None:
        self.right = right_x, right_s
        self.scale = Parameter(np.full(1, 2.0))

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        return self.scale.value * x**3

    @override
    def backward(self, grad: Array) -> Array:
        self.scale.grad += self.right[1] * np.sum(grad * self._x**3)
        return self.right[0] * grad * self.scale.value * 3 * self._x**2


@pytest.mark.parametrize(
    ("right", "difference"), [((1, 1), 0.0), ((-1, 1), 2.0), ((1, 0.5), 0.5), ((0.0, 1), 1.0), ((1, 0), 1.0)]
)
def test_a_gradient_is_compared_with_a_numeric_one(right: tuple[float, float], difference: float) -> None:
    run, watch = trainer(layers=(Dense(3, 4), Cubic(*right), Dense(4, 1)), rate=1e-6), Watch(X, Y)
    run.fit(X, Y, epochs=1, callbacks=[watch])
    assert list(watch.looks[0].wrong) == ['Cubic() at "1"']
    for look in watch.looks:
        assert look.wrong['Cubic() at "1"'] == pytest.approx(difference, abs=0.05 if difference else 1e-6)


def test_data_is_judged_by_all_rows() -> None:
    x = np.tile(X, (20, 1))
    x[:, 2] = 1.0
    x[4321, 2] = -50.0
    run, watch = trainer(layers=(Dense(3, 1),), rate=1e-3), Watch(x, np.tile(Y, (20, 1)), rows=16)
    run.fit(x, np.tile(Y, (20, 1)), epochs=1, callbacks=[watch])
    scale = watch.looks[0].parts[0].inputs
    assert scale is not None
    assert scale.size == pytest.approx(np.sqrt(np.mean(x**2, axis=0)).tolist())
    low, middle, high = np.quantile(x[:, 0], [0.25, 0.5, 0.75])
    assert scale.far == pytest.approx([np.abs(x[:, 0] - middle).max() / (high - low), scale.far[1], 0.0])
    assert (scale.farthest[2], scale.repeats) == (-50.0, [20, 20, 1])
    assert not watch.looks[0].one_target


def test_an_update_of_a_look_has_the_mean_of_the_sample_weights() -> None:
    looks = []
    for weight, rate in ((1.0, 0.05), (0.001, 50.0)):
        run, watch = trainer(layers=(Dense(3, 1),), rate=rate), Watch(X, Y)
        run.fit(X, Y, sample_weight=np.full(300, weight), epochs=2, callbacks=[watch])
        looks.append([look.after for look in watch.looks])
    assert looks[0] == pytest.approx(looks[1])


def test_a_finding_of_nothing_learned_has_the_figures_of_the_end() -> None:
    run, watch = trainer(layers=(Dense(3, 1),), rate=0.01), Watch(X, X[::-1, :1])
    run.fit(X, X[::-1, :1], epochs=20, callbacks=[watch])
    (finding,) = watch.diagnosis()
    assert finding.what == "nothing learned"
    assert finding.seen.startswith(f"it is {run.evaluate(X, X[::-1, :1])['loss']:.4g} at the end, and ")
    assert "4 numbers" in finding.seen
