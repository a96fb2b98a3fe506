"""Train random models in random ways, and check what must hold: ``python -m tests.campaigns.jobs --count 500``.

A job is a seed. From it come a model of nested layers, data, a loss, an optimizer and all arguments of `fit`. What must
hold is known without the result: two ways to one result agree, and a call that is refused changes nothing. A job that
breaks is repeated by ``--seed S --count 1``.
"""

from __future__ import annotations

import argparse
import copy
import pickle
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import minidl
from minidl import Array, Layer, Trainer, callbacks, errors, losses, metrics, optimizers, schedules
from minidl.layers._container import Container
from minidl.layers._parts import named
from tests.campaigns.resume_points import bits, kept

ACTIVATIONS: list[Callable[[], Layer]] = [
    minidl.Identity, minidl.Sigmoid, minidl.Tanh, minidl.ReLU, minidl.LeakyReLU, minidl.ELU, minidl.GELU, minidl.SiLU,
    minidl.Softmax, minidl.Softplus, minidl.PReLU, lambda: minidl.Activation(np.sin, np.cos),
]  # fmt: skip
PER_FEATURE: list[Callable[[int], Layer]] = [
    minidl.BatchNorm, minidl.LayerNorm, minidl.RMSNorm, lambda width: minidl.PReLU(features=width),
    lambda width: minidl.layers.Standardize.of(1.0 + np.random.default_rng(width).normal(size=(9, width))),
    lambda width: minidl.layers.Rescale.of(1.0 + np.random.default_rng(width).normal(size=(9, width))),
]  # fmt: skip
LOSSES = ["HalfSquaredError", "MeanSquaredError", "MeanAbsoluteError", "Huber", "BinaryCrossEntropy", "CrossEntropy",
          "SigmoidCrossEntropy", "SoftmaxCrossEntropy", "PoissonLoss", "Pinball", "GaussianNLL", "ElementwiseLoss"]
SMOOTHED = LOSSES[4:8]
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "Pinball": ([0.1, 0.5, 0.9],),
    "ElementwiseLoss": (lambda a, y: np.log(np.cosh(a - y)), lambda a, y: np.tanh(a - y)),
}


def pick(draw: np.random.Generator, options: Any) -> Any:
    return options[int(draw.integers(len(options)))]


def part(draw: np.random.Generator, width: int, depth: int, chain: bool) -> tuple[Layer, int]:
    """Make a random layer for a width, and say what width comes out; ``chain`` for one that can be compiled."""
    out = int(draw.integers(1, 6))
    kinds = ["dense", "dense", "activation", "activation", "per feature", "dropout"]
    kinds += [] if chain else ["columns", "flatten", "tied"]
    kinds += [] if not depth else ["chain"] if chain else ["chain", "residual", "parallel", "merge", "graph"]
    merge = pick(draw, [minidl.Add, minidl.Mean, minidl.Multiply])()
    match pick(draw, kinds):
        case "dense":
            return minidl.Dense(width, out, bias=bool(draw.random() < 0.7)), out
        case "per feature":
            return pick(draw, PER_FEATURE)(width), width
        case "dropout":
            return minidl.Dropout(0.3), width
        case "columns":
            return minidl.Columns(draw.integers(0, width, out).tolist()), out
        case "flatten":
            return minidl.Flatten(), width
        case "tied":
            first, second = minidl.Dense(width, width), minidl.Dense(width, width)
            second.weight = first.weight
            return minidl.Sequential(first, minidl.Tanh(), second), width
        case "chain":
            return chained(draw, width, depth - 1, chain)
        case "residual":
            return minidl.Residual(ended(draw, width, depth - 1, width)), width
        case "parallel":
            branches = [chained(draw, width, depth - 1, chain) for _ in range(2)]
            return minidl.Parallel(*[layer for layer, _ in branches]), sum(out for _, out in branches)
        case "merge":
            return minidl.Parallel(*[ended(draw, width, depth - 1, out) for _ in range(3)], merge=merge), out
        case "graph":
            nodes: dict[str, Any] = {
                "a": (ended(draw, width, depth - 1, out), "x"), "b": (ended(draw, out, depth - 1, out), "a"),
                "c": (merge, "b", "a", "a"), "d": (minidl.Concat(), "x", "c", "b"),
            }  # fmt: skip
            return minidl.Graph(nodes, output="d"), width + 2 * out
    return pick(draw, ACTIVATIONS)(), width


def chained(draw: np.random.Generator, width: int, depth: int, chain: bool = False) -> tuple[minidl.Sequential, int]:
    layers = []
    for _ in range(int(draw.integers(1, 4))):
        layer, width = part(draw, width, depth, chain)
        layers.append(layer)
    return minidl.Sequential(*layers), width


def ended(draw: np.random.Generator, width: int, depth: int, out: int) -> Layer:
    """Make a chain of a given output width."""
    layer, wide = chained(draw, width, depth)
    return minidl.Sequential(layer, minidl.Dense(wide, out))


class StopAt(callbacks.Callback):
    """Save and stop once, at a batch of an epoch; do nothing without a path."""

    every_batches = 1

    def __init__(self, path: Path | None, place: tuple[int, int]) -> None:
        self.path, self.place = path, place

    def on_batches_end(self, trainer: Trainer) -> None:
        if self.path and (len(trainer.history), trainer.position.batch) == self.place:
            trainer.save(self.path)
            trainer.stop("interrupted")

    def on_epoch_end(self, trainer: Trainer) -> None:
        self.on_batches_end(trainer)


class Moving(callbacks.Callback):
    """Move weights when a fit begins, which a refusal after that must undo."""

    def on_train_begin(self, trainer: Trainer) -> None:
        for parameter in trainer.model.parameters():
            parameter.value += 1.0


class Job:
    """All that is drawn from one seed; `trainer` makes the same Trainer each time."""

    def __init__(self, seed: int, *, numba: bool = True) -> None:
        self.seed = seed
        draw = np.random.default_rng([seed, 0])
        self.chain = bool(draw.random() < 0.3)
        self.engine: Any = pick(draw, ["auto", "numpy"])
        if draw.random() < 0.3 and self.chain and numba:
            self.engine = "compiled"
        self.extras = not self.chain and bool(draw.random() < 0.4)  # penalties and a clip
        self.embedding = not self.chain and bool(draw.random() < 0.2)
        self.images = not self.chain and not self.embedding and bool(draw.random() < 0.2)
        self.dtype: Any = pick(draw, [np.float64, np.float64, np.float32])
        self.loss = pick(draw, LOSSES)
        self.smoothing = {"label_smoothing": 0.2} if self.loss in SMOOTHED and draw.random() < 0.4 else {}
        self.rows, self.batch = int(draw.integers(8, 40)), int(draw.integers(2, 12))
        self.outputs = 4 if self.loss == "GaussianNLL" else 3
        self.x = draw.normal(size=(self.rows, 4))
        if self.embedding:
            self.x[:, 0] = draw.integers(0, 5, self.rows)
        if self.images:
            self.x = self.x.reshape(self.rows, 2, 2)
        self.y = self.targets(draw)
        self.weight = pick(draw, [None, draw.random(self.rows) * draw.integers(0, 2, self.rows) + 0.01])
        self.shuffle = bool(draw.random() < 0.7)
        self.validation = pick(draw, [None, 0.25, (self.x[:5], self.y[:5])])
        self.scheduled = bool(draw.random() < 0.5)
        values = self.loss in (*LOSSES[:4], "PoissonLoss", "ElementwiseLoss")
        self.metrics = [metrics.mean_absolute_error] if values and draw.random() < 0.5 else []
        self.class_weight: Any = None
        if self.make_loss().classes(np.asarray(self.y)) is not None and draw.random() < 0.6:
            self.class_weight = pick(draw, ["balanced", {0: 3.0, 2: 0.5}])
        if draw.random() < 0.2 and not self.holds(minidl.BatchNorm):  # which refuses a single row
            self.batch = 1
        self.place = (int(draw.integers(0, 4)), int(draw.integers(0, max(2, self.rows // self.batch))))

    def holds(self, *kinds: type[Layer]) -> bool:
        return any(isinstance(layer, kinds) for layer in named(self.model(), Layer).values())

    def targets(self, draw: np.random.Generator) -> Any:
        shape = (self.rows, self.outputs)
        labels = np.arange(self.rows) % self.outputs
        if self.loss in ("BinaryCrossEntropy", "SigmoidCrossEntropy"):
            return pick(draw, [draw.random(shape), draw.integers(0, 2, shape)])
        if self.loss in ("CrossEntropy", "SoftmaxCrossEntropy"):
            every: Any = [draw.dirichlet(np.ones(self.outputs), self.rows), np.eye(self.outputs)[labels], labels]
            return pick(draw, every[: 2 + (self.loss == "SoftmaxCrossEntropy")])
        if self.loss == "PoissonLoss":
            return draw.poisson(2.0, shape)
        return draw.normal(size=(self.rows, {"Pinball": 1, "GaussianNLL": 2}.get(self.loss, self.outputs)))

    def make_loss(self) -> losses.Loss:
        made: losses.Loss = getattr(losses, self.loss)(*ARGUMENTS.get(self.loss, ()), **self.smoothing)
        return made

    def row_weights(self) -> Array | None:
        """Return the sample weights multiplied by those of the classes, computed one row after the other."""
        if self.class_weight is None:
            given: Array | None = self.weight
            return given
        labels = [int(np.argmax(y)) if np.ndim(y) else int(y) for y in self.y]
        rows = np.ones(self.rows) if self.weight is None else self.weight
        totals = {label: sum(w for w, own in zip(rows, labels, strict=True) if own == label) for label in labels}
        each = {label: sum(rows) / (len(totals) * total) for label, total in totals.items()}
        if self.class_weight != "balanced":
            each = {label: self.class_weight.get(label, 1.0) for label in totals}
        return np.array([w * each[label] for w, label in zip(rows, labels, strict=True)])

    def model(self) -> Layer:
        draw = np.random.default_rng([self.seed, 1])
        first: list[Layer] = [minidl.Flatten()] if self.images else []
        wide = 4
        if self.embedding:
            codes = minidl.Sequential(minidl.Columns([0, 0]), minidl.Embedding([5, 6], 1))
            rest, width = chained(draw, 3, 1)
            first, wide = [minidl.Parallel(codes, minidl.Sequential(minidl.Columns([1, 2, 3]), rest))], 2 + width
        body, wide = chained(draw, wide, 2, self.chain)
        ends: dict[str, Callable[[], Layer]] = {"BinaryCrossEntropy": minidl.Sigmoid, "CrossEntropy": minidl.Softmax}
        end = [ends[self.loss]()] if self.loss in ends else []
        model = minidl.Sequential(*first, body, minidl.Dense(wide, self.outputs), *end).initialize(self.seed)
        if draw.random() < 0.3:  # all but the last Dense layer may be frozen, or one of their parameters
            pick(draw, [body, *named(body, Layer).values(), *body.parameters()]).freeze()
        return model.astype(self.dtype)

    def optimizer(self, model: Layer) -> optimizers.Optimizer:
        draw = np.random.default_rng([self.seed, 2])
        compiled = ["SGD", "Adam", "AdamW"]
        name = pick(draw, compiled if self.engine == "compiled" else [*compiled, "NAdam", "Adagrad", "RMSProp"])
        unit = pick(draw, [{"steps": 5}, {"epochs": 2}])
        rate: Any = 0.01
        if self.scheduled:
            rate = pick(draw, [schedules.Constant(0.01), schedules.Step(0.01, 0.5, **unit),
                               schedules.Exponential(0.01, 0.5, **unit), schedules.Cosine(0.01, **unit),
                               schedules.MultiStep(0.01, [1, 2], 0.5, **unit),
                               schedules.CosineRestarts(0.01, growth=2, **unit),
                               schedules.OneCycle(0.01, **unit), lambda step: 0.01 / (1 + step)])  # fmt: skip
            rate = schedules.Warmup(rate, steps=3) if draw.random() < 0.4 else rate
        # A large epsilon: else these optimizers make a step of size 0.01 out of a gradient that is rounding alone.
        more: dict[str, Any] = {} if name == "SGD" else {"epsilon": 1e-2}
        if name in ("SGD", "RMSProp") and draw.random() < 0.6:
            more["momentum"] = 0.8
        if name == "SGD" and "momentum" in more:
            more["nesterov"] = bool(draw.random() < 0.5)
        if draw.random() < 0.3:
            more["weight_decay"] = 0.1
        made: optimizers.Optimizer = getattr(optimizers, name)(model.parameters(), rate, **more)
        if draw.random() < 0.4:
            group = [parameter for parameter in model.parameters() if draw.random() < 0.5]
            made.set_group(group or model.parameters(), rate_factor=pick(draw, [None, 0.5, 2.0]),
                           weight_decay=pick(draw, [None, 0.0, 0.2]))
        return made

    def trainer(self, engine: Any = None) -> Trainer:
        draw, model = np.random.default_rng([self.seed, 3]), self.model()
        more: dict[str, Any] = {}
        if self.extras:
            matrices = [parameter for parameter in model.parameters() if len(parameter.shape) == 2]
            clip = pick(draw, [minidl.ClipGlobalNorm, minidl.ClipNorm, minidl.ClipValue])(0.1)
            more = {"penalties": [pick(draw, [minidl.L1, minidl.L2])(0.01, matrices)], "clip": clip}
        loss, engine = self.make_loss(), engine or self.engine
        return Trainer(model, loss, self.optimizer(model), rng=self.seed, engine=engine, **more)

    def data(self) -> dict[str, Any]:
        more = {"validation": self.validation, "metrics": self.metrics, "sample_weight": self.weight}
        return {"x": self.x, "y": self.y, **more}

    def fit(self, trainer: Trainer, epochs: int = 4, **more: Any) -> Trainer:
        given = {**self.data(), "batch_size": self.batch, "shuffle": self.shuffle, "epochs": epochs,
                 "class_weight": self.class_weight, **more}
        trainer.fit(**given)
        return trainer

    def watchers(self, path: Path | None) -> list[callbacks.Callback]:
        plateau = [] if self.scheduled else [callbacks.ReduceOnPlateau(0.5, 1, "loss")]
        return [callbacks.EarlyStopping(1, "loss"), *plateau, StopAt(path, self.place)]

    def __str__(self) -> str:
        trainer = self.trainer()
        shown = [f"{trainer.loss!r}, class_weight {self.class_weight}, {trainer.optimizer!r}, {self.engine}, "
                 f"{np.dtype(self.dtype)}, batch {self.batch} of {self.rows}, weighted {self.weight is not None}, "
                 f"validation {type(self.validation).__name__}"]
        return "\n".join([*shown, repr(trainer.model)])


def state(trainer: Trainer) -> dict[str, Any]:
    """Return all bits of a run but what says how it was ended."""
    found = bits(trainer)
    found["callbacks"] = [repr(vars(c)) for c in trainer._run.callbacks if not isinstance(c, StopAt)]
    return {**found, "history": {k: v for k, v in found["history"].items() if k != "stopped_by"}}


def values(trainer: Trainer) -> Array:
    return np.concatenate([parameter.value.ravel() for parameter in trainer.model.parameters()]).astype(np.float64)


def equal(one: Any, other: Any, what: str) -> None:
    assert one == other, f"{what}: {[key for key in one if one[key] != other[key]] if isinstance(one, dict) else ''}"


def close(one: Array, other: Array, what: str, dtype: Any = np.float64) -> None:
    limit = (1e-7 if dtype == np.float64 else 2e-2) * max(1.0, float(np.abs(one).max()))
    worst = float(np.abs(one - other).max())
    assert worst <= limit, f"{what}: differ by {worst:.3g}"


def gradients(job: Job) -> None:
    """Compare backward with complex step: Im e(v + ih d) / h for each array v, in a random direction d."""
    model, loss = job.model().astype(np.float64), job.make_loss()
    weight = np.ones(job.rows) if job.weight is None else job.weight
    draw = np.random.default_rng([job.seed, 4])
    for own in model.parameters():  # a bias of 0 after Dropout would lie on the kink of a ReLU
        own.value += 0.1 * draw.normal(size=own.shape)

    def slope(name: str, direction: Array) -> float:
        moved = copy.deepcopy(model)
        for path, own in moved.named_parameters().items():
            own._value = own.value + 1e-30j * (direction if path == name else 0.0)  # type: ignore[assignment]
        x: Any = job.x + 1e-30j * (direction if name == "x" else 0.0)
        output = moved.forward(x)
        error = np.sum(weight * loss.forward_rows(output, loss.check(output, job.y))) / job.rows
        return float(error.imag) / 1e-30

    passed, alone = copy.deepcopy(model), copy.deepcopy(model)
    output = passed.forward(job.x)
    if loss.from_probabilities and not 1e-300 < output.min() <= output.max() < 1 - 1e-6:
        return  # a probability next to 0 or 1 has lost its digits, for which there are losses from logits
    loss.forward(output, job.y, job.weight)
    dx = passed.backward(loss.backward())
    alone.forward(job.x)
    alone.backward_parameters(loss.backward())
    found = {name: own.grad for name, own in passed.named_parameters().items() if not own.frozen}
    for name, own in alone.named_parameters().items():
        assert own.frozen or np.allclose(own.grad, found[name], 1e-12, 1e-14), f"backward_parameters: {name}"
    found["x"] = dx
    scale = max(1e-3, *(float(np.abs(gradient).max()) for gradient in found.values()))
    # What checks data for users takes no complex numbers.
    rows_of = minidl.Embedding.rows_of
    codes = mock.patch.object(minidl.Embedding, "rows_of", lambda layer, x: rows_of(layer, x.real))
    with mock.patch.object(Container, "_checked_input", lambda _, x: x), codes:
        for name, gradient in found.items():
            direction = draw.normal(size=gradient.shape)
            wrong = abs(float(np.sum(gradient * direction)) - slope(name, direction))
            assert wrong <= 1e-9 * scale * direction.size, f"gradient of {name}: off by {wrong:.3g} of {scale:.3g}"


def predictions(job: Job, folder: Path) -> None:
    """Copies of all kinds predict the same, and predict changes nothing."""
    trainer = job.fit(job.trainer(), 2)
    model, before = trainer.model, state(trainer)
    y = model.predict(job.x)
    minidl.save(model, folder / "model.safetensors")
    copies = {"load": minidl.load(folder / "model.safetensors"), "deepcopy": copy.deepcopy(model),
              "pickle": pickle.loads(pickle.dumps(model)), "astype": model.astype(job.dtype),
              "again": model}  # fmt: skip
    weights = job.trainer().model
    minidl.load_weights(weights, folder / "model.safetensors")
    copies["load_weights"] = weights
    for name, twin in copies.items():
        equal(twin.predict(job.x).tobytes(), y.tobytes(), f"predictions of {name}")
    rows = np.concatenate([model.predict(job.x[i : i + 1]) for i in range(job.rows)])
    close(y, rows, "predict row by row", job.dtype)
    close(y, model.inference().forward(job.x.astype(job.dtype)), "forward of inference()", job.dtype)
    close(y, model.astype(np.float32).predict(job.x), "astype(float32)", np.float32)
    trainer.evaluate(job.x, job.y)
    equal(state(trainer), before, "predict, save, copies and evaluate change nothing")


def ways(job: Job) -> None:
    """One fit of four epochs equals two of two, and to rounding the other engine, micro-batches and a stream."""
    whole = job.fit(job.trainer())
    equal(state(whole), state(job.fit(job.fit(job.trainer(), 2), 2)), "two fits for one")
    for path, first in job.model().named_parameters().items():
        moved = whole.model.named_parameters()[path]
        assert not first.frozen or (moved.value == first.value).all(), f"{path} is frozen"
    if job.engine == "compiled":
        assert whole.last_engine == "compiled", "the engine"
        close(values(whole), values(job.fit(job.trainer("numpy"))), "NumPy for compiled", job.dtype)
        return
    plain = job.fit(job.trainer(), validation=None, metrics=[], shuffle=False)
    places = [place for _, place in minidl.batches(job.x, np.arange(job.rows), batch_size=job.batch, shuffle=False)]
    weight = job.row_weights()
    stream = [(job.x[i], job.y[i], *([] if weight is None else [weight[i]])) for i in places]
    other = job.trainer()
    other.fit_batches(stream, epochs=4)
    close(values(plain), values(other), "a stream for arrays", job.dtype)
    if not job.holds(minidl.BatchNorm, minidl.Dropout):
        close(values(whole), values(job.fit(job.trainer(), micro_batch_size=2)), "micro-batches", job.dtype)


def interruptions(job: Job, folder: Path) -> None:
    """A run that is stopped, and goes on here or from a file, equals one in one piece; refusals change nothing."""
    whole = job.fit(job.trainer(), callbacks=job.watchers(None))
    path = folder / "run.safetensors"
    here = job.fit(job.trainer(), callbacks=job.watchers(path))
    if here.history.stopped_by == "interrupted":
        there = job.trainer()
        there.restore(path)
        right = {**job.data(), "callbacks": job.watchers(None)}
        for trainer in (here, there):
            refused(trainer, job, lambda trainer=trainer, **wrong: trainer.resume(**{**right, **wrong}))
        refused(there, job, lambda **_: there.resume(**{**right, "callbacks": [StopAt(None, (0, 0))]}))
        here._run.callbacks[-1].path = None
        here.resume(**job.data())
        there.resume(**right)
        equal(state(here), state(whole), "stopped and resumed")
        equal(state(there), state(whole), "saved, restored and resumed")
        assert there.history.stopped_by == whole.history.stopped_by, "why it stopped"
    refused(here, job, lambda **wrong: job.fit(here, **wrong), [{"class_weight": "equal"}, {"class_weight": {7: 2.0}}])
    equal(state(job.fit(here, 1)), state(job.fit(whole, 1)), "a fit after refusals")


def refused(trainer: Trainer, job: Job, call: Callable[..., Any], more: Sequence[dict[str, Any]] = ()) -> None:
    """Make mistakes, each of which must be refused and change nothing."""
    holes = job.x.copy()
    holes[-1] = np.nan
    monitor = [*job.watchers(None), Moving(), callbacks.EarlyStopping(1, "nonsense")]
    mistakes: list[dict[str, Any]] = [
        {"x": holes}, {"x": job.x[:-1]}, {"x": job.x[:, :0]}, {"y": job.y[:-1]}, {"sample_weight": -np.ones(job.rows)},
        {"callbacks": [object()]}, {"callbacks": monitor}, {"metrics": [3]}, {"validation": 1.5}, *more,
    ]  # fmt: skip
    for mistake in mistakes:
        before, had = state(trainer), kept(trainer)
        try:
            call(**mistake)
        except errors.MinidlError:
            equal(state(trainer), before, f"refused {list(mistake)} changes nothing")
            assert kept(trainer) == had, f"refused {list(mistake)} changes no position"
        else:
            raise AssertionError(f"not refused: {mistake}")


def broken(seed: int, *, numba: bool = True) -> str | None:
    """Run one job, and return what does not hold; "" where it diverges."""
    job = Job(seed, numba=numba)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            gradients(job)
            predictions(job, Path(folder))
            ways(job)
            interruptions(job, Path(folder))
        except errors.DivergenceError:
            return ""
        except Exception as error:
            return f"seed {seed}: {type(error).__name__}: {error}\n{job}\n"
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--numpy", action="store_true", help="compile nothing, which takes most of the time")
    given = parser.parse_args()
    results = []
    for seed in range(given.seed, given.seed + given.count):
        results.append(broken(seed, numba=not given.numpy))
        print(results[-1] or "", end="", flush=True)
    bad = len([text for text in results if text])
    print(f"jobs: {given.count} tried, {results.count('')} diverged, {bad} broken")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
