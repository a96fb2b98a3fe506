"""Every public call of minidl with arguments that are right, and values that are wrong in some place."""

from __future__ import annotations

import copy
import inspect
import re
import tempfile
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from typing_extensions import override

from minidl import (
    SGD,
    Adam,
    Array,
    BatchNorm,
    Buffer,
    Dense,
    Dropout,
    HalfSquaredError,
    Layer,
    Loss,
    Parameter,
    Predictor,
    Sequential,
    Tanh,
    Trainer,
    initializers,
    layers,
    losses,
    metrics,
    mlp,
    optimizers,
    save,
    schedules,
)
from minidl.callbacks import Callback, EarlyStopping, ReduceOnPlateau
from minidl.inspection import Watch
from minidl.layers import Add, Merge
from tests.support.conformance_table import layers as table_of_layers

ROOT = Path(__file__).parents[2]
X = np.linspace(-1, 1, 24).reshape(8, 3)
Y = 0.5 * X[:, :2]


def boom(*_: object, **__: object) -> None:
    raise RuntimeError("boom")


def bad_values() -> dict[str, Any]:
    """Map the name of each wrong value to a fresh one; ``boom`` is a function that raises."""
    return {
        "none": None, "true": True, "word": "word", "zero": 0, "minus": -1, "half": 0.5, "nan": np.nan, "inf": np.inf,
        "huge": 10**400, "complex": 1j, "list": [1, "a"], "empty": [], "dict": {"a": 1}, "class": int,
        "object": type("Thing", (), {})(), "boom": boom, "generator": (i for i in [1]), "path": Path("no") / "where.x",
        "array": np.ones((7, 5)), "row": np.ones(3), "no rows": np.ones((0, 3)), "nans": np.full((8, 3), np.nan),
        "objects": np.array([[None, 1, 2]] * 8, object), "words": np.full((8, 3), "a"),
        "complexes": np.ones((8, 3), complex), "ragged": [[1.0, 2.0], [3.0]], "masked": np.ma.masked_array(X, X > 0),
        "single": np.array(1.0),
    }  # fmt: skip


class OwnLayer(Layer):
    def __init__(self) -> None:
        self.w = Parameter(np.ones(3))

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        return x * self.w.value

    @override
    def backward(self, grad: Array) -> Array:
        self.w.grad += (grad * self._x).sum(axis=0)
        return grad * self.w.value


class OwnMerge(Add):
    pass


class OwnError(HalfSquaredError):
    pass


class OwnOptimizer(optimizers.Optimizer):
    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        values -= learning_rate * gradients


class OwnCallback(Callback):
    @override
    def on_epoch_end(self, trainer: Trainer) -> None:
        pass


OWN: dict[Any, Any] = {
    Layer: OwnLayer, Merge: OwnMerge, Loss: OwnError, optimizers.Optimizer: OwnOptimizer,
    optimizers.Penalty: type("OwnPenalty", (optimizers.L2,), {}),
    optimizers.Clip: type("OwnClip", (optimizers.ClipValue,), {}),
    schedules.Schedule: type("OwnSchedule", (schedules.Schedule,), {"at": lambda *_: 0.1}),
    initializers.Initializer: type("OwnInitializer", (initializers.Zeros,), {}), Callback: OwnCallback,
}  # fmt: skip
"""Maps each abstract class to a subclass that can be made."""


class Enough(Callback):
    every_batches = 1

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        if len(trainer.history) == 1:
            trainer.stop("enough")


def a_model() -> Sequential:
    return Sequential(Dense(3, 4), BatchNorm(4), Tanh(), Dropout(0.3), Dense(4, 2)).initialize(0)


def a_trainer(streamed: bool = False) -> Trainer:
    """Make a Trainer with a fit that was stopped in the second epoch, so that there is a lot to lose."""
    model = a_model()
    trainer = Trainer(model, HalfSquaredError(), Adam(model.parameters(), 0.01), rng=0, engine="numpy")
    if streamed:
        trainer.fit_batches(a_stream(), epochs=3, callbacks=watchers())
    else:
        trainer.fit(X, Y, epochs=3, batch_size=4, callbacks=watchers())
    return trainer


def plain_trainer(learning_rate: float) -> Trainer:
    model = mlp([3, 4, 2], activation=Tanh, rng=0)
    return Trainer(model, HalfSquaredError(), SGD(model.parameters(), learning_rate), rng=0, engine="numpy")


def watchers() -> list[Callback]:
    return [EarlyStopping(3, "loss"), ReduceOnPlateau(0.5, 2, "loss"), Enough()]


def a_stream() -> list[tuple[Array, Array]]:
    return [(X[:4], Y[:4]), (X[4:], Y[4:])]


def an_optimizer(kind: Any = Adam) -> optimizers.Optimizer:
    optimizer: optimizers.Optimizer = kind([Parameter(np.ones((2, 3))), Parameter(np.ones(2))], 0.1)
    for parameter in optimizer.vector.parameters:
        parameter.grad += 1.0
    return optimizer


@cache
def files() -> dict[str, Path]:
    """Write a run and a model once, outside of the folder in which the calls are made."""
    folder = Path(tempfile.mkdtemp())
    a_trainer().save(folder / "run.safetensors")
    save(a_model(), folder / "model.safetensors")
    return {name: folder / f"{name}.safetensors" for name in ("run", "model")}


def _probable() -> Array:
    return np.linspace([0.1, 0.9], [0.8, 0.2], 8)


GOOD: dict[str, Callable[[], Any]] = {
    "in_features": lambda: 3, "out_features": lambda: 2, "features": lambda: 3, "codes": lambda: 4,
    "indices": lambda: [0, 2], "sizes": lambda: [3, 4, 2], "layers": lambda: (Dense(3, 2), Tanh()),
    "layer": lambda: Dense(3, 3), "nodes": lambda: {"h": (Dense(3, 4), "x"), "o": (Dense(4, 2), "h")},
    "Graph.output": lambda: "o", "function": lambda: np.sin, "derivative": lambda: np.cos,
    "parameters": lambda: [Parameter(np.ones((2, 3))), Parameter(np.ones(2))], "learning_rate": lambda: 0.1,
    "value": lambda: np.ones((2, 3)), "x": X.copy, "y": Y.copy, "rng": lambda: np.random.default_rng(0),
    "dtype": lambda: np.float32, "model": a_model, "loss": HalfSquaredError, "path": lambda: Path("new.safetensors"),
    "prediction": Y.copy, "target": Y.copy, "epochs": lambda: 2, "batch_size": lambda: 4, "stream": a_stream,
    "why": lambda: "because", "strength": lambda: 0.1, "limit": lambda: 1.0, "shape": lambda: (4, 3),
    "folder": lambda: Path("checkpoints"), "seconds": lambda: 9.0, "monitor": lambda: "loss", "mode": lambda: "min",
    "takes": lambda: "values", "rate": lambda: 0.1, "initial": lambda: 0.1, "factor": lambda: 0.5, "steps": lambda: 5,
    "highest": lambda: 0.1, "schedule": lambda: 0.1, "low": lambda: 0.0, "high": lambda: 1.0,
    "steps_per_epoch": lambda: 4, "values": lambda: np.array([0, 1, 1]), "merge": Add, "activation": Tanh,
    "make": lambda: lambda parameters: SGD(parameters, 0.1), "numbers": lambda: {"steps": 3},
    "Constant.value": lambda: 0.3, "data": X.copy,
    "load.path": lambda: files()["model"], "restore.path": lambda: files()["run"],
    "load_weights.source": lambda: files()["model"], "LogFile.path": lambda: Path("log.csv"), "step": lambda: 3,
    "mlp.activation": lambda: Tanh, "source": lambda: files()["model"],
    "__call__.parameters": lambda: an_optimizer().vector,
    **dict.fromkeys(["levenberg_marquardt.model", "lbfgs.model"], lambda: mlp([3, 4, 2], activation=Tanh, rng=0)),
    **{
        f"{name}.{argument}": make
        for name in metrics.__all__ if getattr(getattr(metrics, name), "takes", "classes") == "classes"
        for argument, make in {"prediction": _probable, "target": lambda: np.array([0, 1] * 4)}.items()
    }, "vector": lambda: np.ones(8), "index": lambda: 0, "max_iterations": lambda: 2,
    "trainers": lambda: [plain_trainer(0.1), plain_trainer(0.2)], "build": lambda: plain_trainer,
    "space": lambda: {"learning_rate": [0.1, 0.2]}, "candidates": lambda: 2, "find_settings.candidates": lambda: 2,
    "ElementwiseLoss.function": lambda: np.hypot, "ElementwiseLoss.derivative": lambda: np.hypot,
    "milestones": lambda: [2, 4], "growth": lambda: 2, "direction": lambda: [1.0, 0.5],
    "quantiles": lambda: [0.1, 0.9],
    "find_settings.rungs": lambda: [(2, 1), (1, 1)], "compare_rates.rates": lambda: [0.1, 0.2],
    "compare_rates.updates": lambda: 3, "plot_decision.y": lambda: np.array([0, 1] * 4),
    "plot_confusion.y": lambda: np.array([0, 1] * 4), "find_settings.monitor": lambda: None,
}  # fmt: skip
"""Maps an argument, or an argument of one call, to what makes a right value."""


class Call(NamedTuple):
    """A public call, ready to be made.

    Attributes:
        receiver: The object whose state may not change; None for constructors and functions.
        function: What to call.
        given: Its arguments by name; those of a star are a tuple.
    """

    receiver: object
    function: Callable[..., Any]
    given: dict[str, Any]

    def make(self, **other: Any) -> Any:
        """Make the call, with other values for some of the arguments."""
        given, named = {**self.given, **other}, {}
        positional: list[Any] = []
        for name, argument in inspect.signature(self.function).parameters.items():
            if argument.kind is argument.VAR_POSITIONAL:
                positional += given[name] if isinstance(given[name], (tuple, list)) else [given[name]]
            elif argument.kind is argument.KEYWORD_ONLY:
                named[name] = given[name]
            elif argument.kind is not argument.VAR_KEYWORD:
                positional.append(given[name])
        return self.function(*positional, **named)


def prepared(name: str, receiver: object, function: Callable[..., Any], **known: Any) -> Call:
    """Fill in right arguments: the known ones, those of `GOOD`, and the defaults."""
    short, given = name.split(".")[-1], {}
    for argument, described in inspect.signature(function).parameters.items():
        own = GOOD.get(f"{short}.{argument}")
        needed = described.default is described.empty or argument in ("rng", "max_iterations", "steps")
        if argument in known:
            given[argument] = known[argument]
        elif own or needed:
            given[argument] = (own or GOOD[argument])()
        else:
            given[argument] = described.default
    return Call(receiver, function, given)


def _layer(name: str) -> tuple[Layer, dict[str, Any]]:
    """Return a layer after a forward pass of other numbers, and right arguments for its methods."""
    layer, x = copy.deepcopy(TABLE_OF_LAYERS()[name])
    y = layer.forward(x[::-1].copy())
    known = {"x": x.copy(), "grad": np.ones_like(y), "input_features": int(np.prod(x.shape[1:]))}
    return layer, known


def _merge(kind: type[Merge]) -> tuple[Merge, dict[str, Any]]:
    merge, xs = kind(), (X.copy(), 2 * X)
    y = merge.forward(xs[1], xs[0])
    return merge, {"xs": xs, "grad": np.ones_like(y), "input_features": (3, 3)}


def _loss(kind: type[Loss]) -> tuple[Loss, dict[str, Any]]:
    arguments: dict[Any, Any] = {losses.Pinball: [[0.1, 0.9]], losses.ElementwiseLoss: [np.hypot, np.hypot]}
    loss: Loss = kind(*arguments.get(kind, []))
    target = np.eye(2)[[0, 1] * 4][:, : loss.target_features(2)]
    loss.forward(np.full((8, 2), 0.25), target[::-1].copy())
    return loss, {"prediction": np.full((8, 2), 0.5), "target": target, "output": np.full((8, 2), 0.5)}


def _optimizer(kind: type[optimizers.Optimizer]) -> tuple[optimizers.Optimizer, dict[str, Any]]:
    optimizer = an_optimizer(kind)
    return optimizer, {"parameters": optimizer.vector.parameters[:1]}


@cache
def TABLE_OF_LAYERS() -> dict[str, tuple[Layer, Array]]:  # noqa: N802 - a table that is made when it is needed
    return {name: entry for name, entry in table_of_layers().items() if not hasattr(initializers, name)}


def public(module: Any, kind: type[Any]) -> list[type[Any]]:
    """List the public subclasses of a class, and one of its own kind."""
    found = [OWN.get(getattr(module, name), getattr(module, name)) for name in module.__all__]
    return [one for one in found if isinstance(one, type) and issubclass(one, kind)]


def _made(kind: type[Any], name: str = "") -> Any:
    return prepared(name or kind.__name__, None, kind).make()



def receivers() -> dict[str, dict[str, Callable[[], Any]]]:
    """Map each public class with methods to what makes its objects, or pairs of an object and known arguments."""
    kinds = {
        "layers.Layer": (layers, Layer), "layers.Merge": (layers, Merge), "losses.Loss": (losses, Loss),
        "optimizers.Optimizer": (optimizers, optimizers.Optimizer), "optimizers.Clip": (optimizers, optimizers.Clip),
        "optimizers.Penalty": (optimizers, optimizers.Penalty), "schedules.Schedule": (schedules, schedules.Schedule),
        "initializers.Initializer": (initializers, initializers.Initializer),
    }  # fmt: skip
    makers: dict[Any, Callable[[Any], Any]] = {Merge: _merge, Loss: _loss, optimizers.Optimizer: _optimizer}
    found: dict[str, dict[str, Callable[[], Any]]] = {
        name: {one.__name__: partial(makers.get(kind, _made), one) for one in public(module, kind)}
        for name, (module, kind) in kinds.items()
    }
    found["layers.Layer"] = {name: partial(_layer, name) for name in TABLE_OF_LAYERS()}
    return found | {
        name: {"": make}
        for name, make in {
            "Parameter": lambda: Parameter(np.ones((2, 3))), "Buffer": lambda: Buffer(np.ones(3)),
            "Predictor": lambda: Predictor(mlp([3, 4, 2], activation=Tanh, rng=0)),
            "layers.Sequential": a_model, "trainer.Trainer": a_trainer, "trainer.History": lambda: a_trainer().history,
            "optimizers.ParameterVector": lambda: an_optimizer().vector,
            "layers.BatchNorm": lambda: BatchNorm(3), "layers.Standardize": lambda: layers.Standardize.of(X),
            "layers.Rescale": lambda: layers.Rescale.of(Y),
            "inspection.Watch": lambda: Watch(X, Y),
        }.items()
    }  # fmt: skip


MORE = [
    "layers.Layer.__call__", "losses.Loss.__call__", "optimizers.Clip.__call__", "schedules.Schedule.__call__",
    "Predictor.__call__", "layers.Sequential.__getitem__", "Parameter.value=", "Parameter.grad=",
    "Buffer.value=", "optimizers.Optimizer.learning_rate=", "optimizers.Optimizer.weight_decay=",
]  # fmt: skip
"""Public calls without a line of their own in the reference; with ``=`` an assignment."""

RECORDS = [
    "trainer.History.series", "trainer.History.last", "trainer.History.to_dict", "trainer.History.plot",
    "schedules.Epochs", "solvers.SolverResult", "testing.Check", "testing.Report", "testing.Outcome",
    "testing.Measurement", "testing.ConformanceError", "trainer.History", "search.Candidate", "search.Rates",
    "search.Rates.plot", "search.SearchResult", "search.SearchResult.plot", "inspection.Trace", "inspection.PartTrace",
    "inspection.Trace.symbols", "inspection.Trace.first_not_finite", "inspection.Trace.to_dict", "inspection.Step",
    "inspection.Trace.save", "inspection.Trace.to_html", "inspection.Line", "inspection.Value",
    "inspection.Row", "inspection.Summary", "inspection.Diagram", "inspection.Diagram.mermaid",
    "inspection.Diagram.save", "inspection.Finding",
]  # fmt: skip

EXCEPTIONS = {
    "records of results, which minidl makes": [*RECORDS, "schedules.Epochs.passed", "testing.Report.worst"],
    "methods that a subclass writes, and that minidl calls with values that it has checked": [
        "losses.Loss.forward_rows", "losses.Loss.backward_rows", "losses.Loss.classes", "losses.Loss.target_features",
        "optimizers.Optimizer.update",
        "schedules.Schedule.at", "schedules.Schedule.elapsed", "initializers.Initializer.draw",
        "callbacks.Callback.reset", "callbacks.Callback.on_train_begin", "callbacks.Callback.on_batches_end",
        "callbacks.Callback.on_epoch_end", "callbacks.Callback.on_train_end", "callbacks.Callback.state",
        "callbacks.Callback.restore", "callbacks.Monitor.improved",
    ],
    "short cuts for `p.grad += g` in a layer's backward, called in each update": [
        "Parameter.add_rows", "Parameter.add_product", "Parameter.add_grad",
    ],
    "the same arguments as those of the function …_checks, which lists the checks without running them": [
        "testing.check_layer", "testing.check_activation", "testing.check_merge", "testing.check_loss",
        "testing.check_optimizer",
    ],
    "calls that need the package onnx; tests/onnx tests them": ["onnx.save", "onnx.load"],
    "estimators, which scikit-learn's own checks test": [
        f"sklearn.{kind}{call}" for kind in ("NetworkClassifier", "NetworkRegressor")
        for call in ("", ".fit", ".partial_fit", ".predict", ".predict_proba", ".predict_log_proba")
        if kind == "NetworkClassifier" or "proba" not in call
    ],
    "no calls, but types": ["Array", "metrics.Metric", "schedules.LearningRate", "solvers.Reason"],
}  # fmt: skip
"""Public names that are not swept, by the reason."""


def public_names() -> list[str]:
    """List all public calls: `reference.md` has a line for each, ``layers.Layer.forward`` for example."""
    names = [*MORE]
    for section in (ROOT / "docs" / "reference.md").read_text(encoding="utf-8").split("\n## ")[1:]:
        module = section.split("`")[1].removeprefix("minidl").removeprefix(".")
        if module != "errors":
            for name, call in re.findall(r"^ *- `([\w.]+)(\(?)", section, re.MULTILINE):
                if call or (name[0].isupper() and "." not in name):
                    names.append(f"{module}.{name}".lstrip("."))
    return names


def calls(name: str) -> dict[str, Callable[[], Call]]:
    """Map each variant of a public call to what prepares it."""
    holder, _, method = name.rpartition(".")
    made = receivers().get(holder)
    if name == "trainer.Trainer":
        return {"": lambda: prepared(name, None, Trainer, model=(m := a_model()), optimizer=SGD(m.parameters(), 1.0))}
    if name == "trainer.Trainer.resume_batches":
        made = {"": partial(a_trainer, streamed=True)}
    if made is None:
        module = import_module(f"minidl.{holder}".rstrip("."))
        found = getattr(module, method)
        return {"": lambda: prepared(name, None, OWN.get(found, found))}

    def prepare(make: Callable[[], Any]) -> Call:
        entry = make()
        receiver, known = entry if isinstance(entry, tuple) else (entry, {})
        if method.endswith("="):
            function: Any = lambda value: setattr(receiver, method[:-1], value)  # noqa: E731
            return Call(receiver, function, {"value": getattr(receiver, method[:-1])})
        return prepared(name, receiver, getattr(receiver, method), **known)

    return {variant: partial(prepare, make) for variant, make in made.items()}
