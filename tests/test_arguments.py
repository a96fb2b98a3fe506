"""Every number that a public name takes: its range, to the last bit at both ends, and its default."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import (
    ELU,
    L1,
    L2,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    BatchNorm,
    ClipGlobalNorm,
    ClipNorm,
    ClipValue,
    Dense,
    Dropout,
    Embedding,
    HalfSquaredError,
    Huber,
    LayerNorm,
    LeakyReLU,
    NAdam,
    Parameter,
    PReLU,
    ReLU,
    RMSNorm,
    RMSProp,
    Trainer,
    batches,
    export,
    initializers,
    inspection,
    layers,
    load,
    load_weights,
    losses,
    mlp,
    onnx,
    schedules,
    search,
    sklearn,
)
from minidl.callbacks import Checkpoint, EarlyStopping, Monitor, ReduceOnPlateau, StopAfter
from minidl.errors import ArgumentError, DTypeError
from minidl.initializers import Normal, Orthogonal, TruncatedNormal, Uniform
from minidl.optimizers import Optimizer
from minidl.schedules import Constant, Cosine, CosineRestarts, Exponential, MultiStep, OneCycle, Step, Warmup
from minidl.solvers import lbfgs, levenberg_marquardt
from minidl.trainer import History
from tests.support.refusal import refused

Make = Callable[[Any], Any]

X = np.linspace(-1.0, 1.0, 5)[:, None]


def optimized(kind: Any, name: str) -> Make:
    return lambda value: kind([Parameter(np.ones((2, 2)))], 0.1, **{name: value})


def solved(solver: Any, name: str) -> Make:
    return lambda value: solver(Dense(1, 1).initialize(0), X, 2 * X, **{"max_iterations": 1, name: value})


def fitted(name: str) -> Make:
    def fit(value: Any) -> Trainer:
        model = Dense(1, 1).initialize(0)
        trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 1e-3), rng=0)
        trainer.fit(X, X, **{"epochs": 1, name: value})
        return trainer

    return fit


RANGES: dict[str, tuple[str, Make]] = {
    "Dropout(rate)": ("[0, 1)", Dropout),
    "BatchNorm(momentum)": ("(0, 1]", lambda v: BatchNorm(2, momentum=v)),
    "BatchNorm(epsilon)": ("(0, ∞)", lambda v: BatchNorm(2, epsilon=v)),
    "LayerNorm(epsilon)": ("(0, ∞)", lambda v: LayerNorm(2, epsilon=v)),
    "RMSNorm(epsilon)": ("(0, ∞)", lambda v: RMSNorm(2, epsilon=v)),
    "mlp(dropout)": ("[0, 1)", lambda v: mlp([2, 2, 2], dropout=v)),
    "LeakyReLU(slope)": ("[0, ∞)", LeakyReLU),
    "ELU(alpha)": ("[0, ∞)", ELU),
    "PReLU(slope)": ("(-∞, ∞)", PReLU),
    "Huber(delta)": ("(0, ∞)", Huber),
    "BinaryCrossEntropy(label_smoothing)": ("[0, 1)", lambda v: losses.BinaryCrossEntropy(label_smoothing=v)),
    "CrossEntropy(label_smoothing)": ("[0, 1)", lambda v: losses.CrossEntropy(label_smoothing=v)),
    "SigmoidCrossEntropy(label_smoothing)": ("[0, 1)", lambda v: losses.SigmoidCrossEntropy(label_smoothing=v)),
    "SoftmaxCrossEntropy(label_smoothing)": ("[0, 1)", lambda v: losses.SoftmaxCrossEntropy(label_smoothing=v)),
    "L1(strength)": ("[0, ∞)", lambda v: L1(v, [Parameter(1.0)])),
    "L2(strength)": ("[0, ∞)", lambda v: L2(v, [Parameter(1.0)])),
    "ClipValue(limit)": ("(0, ∞)", ClipValue),
    "ClipNorm(limit)": ("(0, ∞)", ClipNorm),
    "ClipGlobalNorm(limit)": ("(0, ∞)", ClipGlobalNorm),
    "SGD(learning_rate)": ("(0, ∞)", lambda v: SGD([Parameter(1.0)], v)),
    "Adam(learning_rate)": ("(0, ∞)", lambda v: Adam([Parameter(1.0)], v)),
    "SGD(weight_decay)": ("[0, ∞)", optimized(SGD, "weight_decay")),
    "AdamW(weight_decay)": ("[0, ∞)", optimized(AdamW, "weight_decay")),
    "SGD(momentum)": ("[0, 1)", optimized(SGD, "momentum")),
    "Adam(beta1)": ("[0, 1)", optimized(Adam, "beta1")),
    "Adam(beta2)": ("[0, 1)", optimized(Adam, "beta2")),
    "Adam(epsilon)": ("(0, ∞)", optimized(Adam, "epsilon")),
    "NAdam(momentum_decay)": ("[0, ∞)", optimized(NAdam, "momentum_decay")),
    "Adagrad(epsilon)": ("(0, ∞)", optimized(Adagrad, "epsilon")),
    "RMSProp(rho)": ("[0, 1)", optimized(RMSProp, "rho")),
    "RMSProp(momentum)": ("[0, 1)", optimized(RMSProp, "momentum")),
    "RMSProp(epsilon)": ("(0, ∞)", optimized(RMSProp, "epsilon")),
    "Constant(value)": ("(-∞, ∞)", initializers.Constant),
    "Normal(mean)": ("(-∞, ∞)", lambda v: Normal(v, 1.0)),
    "Normal(deviation)": ("[0, ∞)", lambda v: Normal(0.0, v)),
    "Uniform(low)": ("(-∞, ∞)", lambda v: Uniform(v, 1e300)),
    "Uniform(high)": ("[0.5, ∞)", lambda v: Uniform(0.5, v)),
    "TruncatedNormal(mean)": ("(-∞, ∞)", TruncatedNormal),
    "TruncatedNormal(deviation)": ("[0, ∞)", lambda v: TruncatedNormal(0.0, v)),
    "TruncatedNormal(cut)": ("(0, ∞)", lambda v: TruncatedNormal(cut=v)),
    "Orthogonal(gain)": ("(0, ∞)", Orthogonal),
    "Constant(rate)": ("[0, ∞)", Constant),
    "Step(initial)": ("[0, ∞)", lambda v: Step(v, steps=1)),
    "Step(factor)": ("[0, ∞)", lambda v: Step(0.1, v, steps=1)),
    "Exponential(initial)": ("[0, ∞)", lambda v: Exponential(v, 0.5, steps=1)),
    "Exponential(factor)": ("(0, ∞)", lambda v: Exponential(0.1, v, steps=1)),
    "Cosine(initial)": ("[0, ∞)", lambda v: Cosine(v, steps=1)),
    "Cosine(final)": ("[0, ∞)", lambda v: Cosine(0.1, steps=1, final=v)),
    "MultiStep(initial)": ("[0, ∞)", lambda v: MultiStep(v, [1], steps=1)),
    "MultiStep(factor)": ("[0, ∞)", lambda v: MultiStep(0.1, [1], v, steps=1)),
    "CosineRestarts(initial)": ("[0, ∞)", lambda v: CosineRestarts(v, steps=1)),
    "CosineRestarts(final)": ("[0, ∞)", lambda v: CosineRestarts(0.1, steps=1, final=v)),
    "Warmup(schedule)": ("[0, ∞)", lambda v: Warmup(v, steps=1)),
    "OneCycle(highest)": ("[0, ∞)", lambda v: OneCycle(v, steps=1)),
    "OneCycle(rise)": ("(0, 1)", lambda v: OneCycle(0.1, steps=1, rise=v)),
    "OneCycle(start_divisor)": ("(0, ∞)", lambda v: OneCycle(0.1, steps=1, start_divisor=v)),
    "OneCycle(end_divisor)": ("(0, ∞)", lambda v: OneCycle(0.1, steps=1, end_divisor=v)),
    "Monitor(min_delta)": ("[0, ∞)", lambda v: Monitor("loss", min_delta=v)),
    "EarlyStopping(min_delta)": ("[0, ∞)", lambda v: EarlyStopping(min_delta=v)),
    "ReduceOnPlateau(min_delta)": ("[0, ∞)", lambda v: ReduceOnPlateau(min_delta=v)),
    "ReduceOnPlateau(factor)": ("(0, 1)", ReduceOnPlateau),
    "ReduceOnPlateau(min_learning_rate)": ("[0, ∞)", lambda v: ReduceOnPlateau(min_learning_rate=v)),
    "StopAfter(seconds)": ("(0, ∞)", StopAfter),
    "Checkpoint(every_minutes)": ("(0, ∞)", lambda v: Checkpoint("folder", every_minutes=v)),
    "fit(validation)": ("(0, 1)", fitted("validation")),
    "lbfgs(goal)": ("(-∞, ∞)", solved(lbfgs, "goal")),
    "lbfgs(tolerance)": ("[0, 1)", solved(lbfgs, "tolerance")),
    "lbfgs(gradient_tolerance)": ("[0, ∞)", solved(lbfgs, "gradient_tolerance")),
    "levenberg_marquardt(goal)": ("(-∞, ∞)", solved(levenberg_marquardt, "goal")),
    "levenberg_marquardt(tolerance)": ("[0, 1)", solved(levenberg_marquardt, "tolerance")),
    "levenberg_marquardt(damping)": ("(0, ∞)", solved(levenberg_marquardt, "damping")),
}
"""Maps each argument to its range, as the docstring or the paper has it, and to what makes an object with a value."""


def ends(written: str) -> tuple[list[float], list[float], list[str]]:
    """Return the numbers next to the ends of a range that are in it, those that are not, and the words for it."""
    taken, wrong, words = [], [math.nan, math.inf, -math.inf], []
    low, high = written[1:-1].split(", ")
    for end, bracket, inward, names in ((low, written[0], math.inf, ("above", "at least")),
                                        (high, written[-1], -math.inf, ("below", "at most"))):
        if "∞" not in end:
            number, is_open = float(end), bracket in "()"
            taken.append(math.nextafter(number, inward) if is_open else number)
            wrong.append(number if is_open else math.nextafter(number, -inward))
            words.append(f"{names[0] if is_open else names[1]} {end}")
    return taken or [-1e300, 0.0, 1e300], wrong, words


@pytest.mark.parametrize("where", RANGES)
def test_a_range_ends_exactly_where_it_is_said_to_end(where: str) -> None:
    written, make = RANGES[where]
    taken, wrong, words = ends(written)
    door, name = where[:-1].split("(")
    if where == "fit(validation)":  # A fraction that leaves no row on one side is refused as well.
        taken, words, door = [0.2, 0.8], ["a fraction between 0 and 1"], ""
    for value in taken:
        assert getattr(make(value), name, value) == value
    for value in wrong:
        with refused(ArgumentError, where, *words, f"got {value}"):
            make(value)
    with refused(DTypeError, door, name, ": expected"):
        make("a lot")


WHOLE: dict[str, Make] = {
    "Dense(in_features)": lambda v: Dense(v, 1),
    "Dense(out_features)": lambda v: Dense(1, v),
    "BatchNorm(features)": BatchNorm,
    "LayerNorm(features)": LayerNorm,
    "Standardize(features)": layers.Standardize,
    "Rescale(features)": layers.Rescale,
    "PReLU(features)": lambda v: PReLU(features=v),
    "Embedding(codes)": lambda v: Embedding(v, 1),
    "Embedding(out_features)": lambda v: Embedding(2, v),
    "Step(steps)": lambda v: Step(0.1, steps=v),
    "Warmup(epochs)": lambda v: Warmup(0.1, epochs=v),
    "Step.in_steps(steps_per_epoch)": lambda v: Step(0.1, epochs=1).in_steps(v),
    "EarlyStopping(patience)": EarlyStopping,
    "ReduceOnPlateau(patience)": lambda v: ReduceOnPlateau(0.1, v),
    "Checkpoint(every_epochs)": lambda v: Checkpoint("folder", every_epochs=v),
    "Checkpoint(every_batches)": lambda v: Checkpoint("folder", every_batches=v),
    "Checkpoint(keep_last)": lambda v: Checkpoint("folder", keep_last=v),
    "batches(batch_size)": lambda v: batches(X, X, batch_size=v),
    "fit(epochs)": fitted("epochs"),
    "fit(batch_size)": fitted("batch_size"),
    "fit(micro_batch_size)": fitted("micro_batch_size"),
    "lbfgs(max_iterations)": solved(lbfgs, "max_iterations"),
    "lbfgs(patience)": solved(lbfgs, "patience"),
    "lbfgs(memory)": solved(lbfgs, "memory"),
    "levenberg_marquardt(max_iterations)": solved(levenberg_marquardt, "max_iterations"),
    "levenberg_marquardt(patience)": solved(levenberg_marquardt, "patience"),
}


@pytest.mark.parametrize("where", WHOLE)
def test_a_count_begins_at_one(where: str) -> None:
    made = WHOLE[where](1)
    assert getattr(made, where.split("(")[1][:-1], 1) == 1
    with refused(ArgumentError, f"{where}: expected at least 1, got 0"):
        WHOLE[where](0)
    with refused(DTypeError, f"{where}: expected a whole number of at least 1, got 1.0"):
        WHOLE[where](1.0)


ADAM = {"learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
MONITOR = {"monitor": "validation_loss", "patience": 10, "min_delta": 0.0}
MLP = {  # those of MLPClassifier where it has the argument
    "hidden_layer_sizes": (100,), "activation": "relu", "solver": "adam", "learning_rate_init": 1e-3, "alpha": 1e-4,
    "batch_size": "auto", "max_iter": 200, "shuffle": True, "tol": 1e-4, "n_iter_no_change": 10, "engine": "auto",
    "early_stopping": False, "validation_fraction": 0.1, "ensemble": 1, "warm_start": False, "verbose": False,
}  # fmt: skip
SOLVER = {"max_iterations": 1000, "tolerance": 1e-8, "patience": 20}

DEFAULTS: dict[Any, dict[str, Any]] = {
    Adam: {**ADAM, "weight_decay": 0.0},  # Kingma and Ba 2015, algorithm 1
    AdamW: {**ADAM, "weight_decay": 0.01},  # PyTorch, as the others where no paper is named
    NAdam: {**ADAM, "learning_rate": 0.002, "weight_decay": 0.0, "momentum_decay": 0.004},
    Adagrad: {"learning_rate": 0.01, "weight_decay": 0.0, "epsilon": 1e-10},
    RMSProp: {"learning_rate": 0.01, "weight_decay": 0.0, "rho": 0.99, "momentum": 0.0, "epsilon": 1e-8},
    SGD: {"weight_decay": 0.0, "momentum": 0.0, "nesterov": False},
    Optimizer: {"weight_decay": 0.0},
    BatchNorm: {"momentum": 0.1, "epsilon": 1e-5, "dtype": np.float64},
    LayerNorm: {"epsilon": 1e-5, "dtype": np.float64},
    RMSNorm: {"epsilon": 1e-5, "dtype": np.float64},
    layers.Standardize: {"dtype": np.float64},
    layers.Rescale: {"dtype": np.float64},
    Dense: {"bias": True, "dtype": np.float64},
    Embedding: {"dtype": np.float64},
    Dropout: {"rate": 0.5},  # Srivastava et al. 2014
    ELU: {"alpha": 1.0},  # Clevert et al. 2016
    LeakyReLU: {"slope": 0.01},  # Maas et al. 2013
    PReLU: {"slope": 0.25, "dtype": np.float64},  # He et al. 2015
    Huber: {"delta": 1.0},
    losses.BinaryCrossEntropy: {"label_smoothing": 0.0},  # as in PyTorch and Keras
    losses.CrossEntropy: {"label_smoothing": 0.0},
    losses.SigmoidCrossEntropy: {"label_smoothing": 0.0},
    losses.SoftmaxCrossEntropy: {"label_smoothing": 0.0},
    Normal: {"mean": 0.0, "deviation": 1.0},
    TruncatedNormal: {"mean": 0.0, "deviation": 1.0, "cut": 2.0},
    Orthogonal: {"gain": 1.0},
    Step: {"factor": 0.1},
    MultiStep: {"factor": 0.1},
    Cosine: {"final": 0.0},
    CosineRestarts: {"growth": 1, "final": 0.0},
    OneCycle: {"rise": 0.3, "start_divisor": 25.0, "end_divisor": 1e4},  # fast.ai
    Monitor: {"min_delta": 0.0},
    EarlyStopping: {**MONITOR, "restore_best": True},
    ReduceOnPlateau: {**MONITOR, "factor": 0.1, "min_learning_rate": 0.0},
    Checkpoint: {"every_epochs": 1, "keep_last": 3},
    Trainer: {"engine": "auto"},
    Trainer.fit: {"batch_size": 32, "shuffle": True},
    batches: {"shuffle": True},
    mlp: {"activation": ReLU, "dropout": 0.0, "dtype": np.float64},
    load: {"allow_nonfinite": False},
    load_weights: {"strict": True, "cast": False, "allow_nonfinite": False},
    lbfgs: {**SOLVER, "gradient_tolerance": 0.0, "memory": 20},
    levenberg_marquardt: {**SOLVER, "damping": 1.0},
    onnx.save: {"opset": 20, "name": "minidl"},
    export.to_c: {"name": "predict", "dtype": np.float32},
    export.to_javascript: {"name": "predict"},
    export.to_numpy: {"name": "predict"},
    search.fit_all: {"batch_size": 32},
    search.find_settings: {"candidates": 64, "seconds": 10.0, "batch_size": 32},
    search.compare_rates: {"updates": 400, "batch_size": 32},
    inspection.diagram: {"style": "auto", "weights": True, "most_neurons": 24},
    sklearn.NetworkClassifier: MLP,
    sklearn.NetworkRegressor: MLP,
    sklearn.NetworkRegressor.predict: {"return_std": False},
    inspection.Watch: {"rows": 256, "looks": 60},
    inspection.plot_decision: {"features": (0, 1), "grid": 200},
    inspection.trace: {"lines": True},
}
"""Maps each public class, method and function to its defaults other than None and the empty tuple."""

RECORDS = (
    History, search.Candidate, inspection.Trace, inspection.PartTrace, inspection.Step, inspection.Line,
)  # fmt: skip
"""Classes of results, which minidl makes."""

REQUIRED: dict[Any, tuple[Any, ...]] = {
    **dict.fromkeys((Adam, AdamW, NAdam, Adagrad, RMSProp), ([Parameter(1.0)],)),
    SGD: ([Parameter(1.0)], 0.1), BatchNorm: (2,), LayerNorm: (2,), RMSNorm: (2,), Dense: (2, 2), Embedding: (2, 2),
    Monitor: ("loss",), Checkpoint: ("folder",), layers.Standardize: (2,), layers.Rescale: (2,),
    Cosine: (0.1,), CosineRestarts: (0.1,), MultiStep: (0.1, [2]), Step: (0.1,), OneCycle: (0.1,),
}


def defaults(function: Any) -> dict[str, Any]:
    found = {name: argument.default for name, argument in inspect.signature(function).parameters.items()}
    return {name: value for name, value in found.items() if value not in (inspect.Parameter.empty, None, ())}


def public() -> list[Any]:
    """List what has a name in a public module, and the methods of public classes."""
    found: dict[Any, None] = {}
    for module in (minidl, *(getattr(minidl, name) for name in minidl._MODULES if name not in ("testing", "errors"))):
        for thing in (getattr(module, name) for name in module.__all__):
            if inspect.isclass(thing) and not hasattr(thing, "_fields") and thing not in RECORDS:
                methods = [method for name, method in vars(thing).items() if name[0] != "_"]
                found |= dict.fromkeys([thing, *filter(inspect.isfunction, methods)])
            elif inspect.isfunction(thing):
                found[thing] = None
    return list(found)


def test_no_public_default_is_missing_from_the_table() -> None:
    assert {thing: defaults(thing) for thing in public() if defaults(thing)}.keys() <= DEFAULTS.keys()


@pytest.mark.parametrize("thing", DEFAULTS, ids=lambda thing: thing.__qualname__)
def test_a_default_is_the_published_one(thing: Any) -> None:
    wanted = DEFAULTS[thing]
    assert {name: getattr(value, "default", value) for name, value in defaults(thing).items()} == wanted
    if inspect.isclass(thing) and thing not in (Optimizer, Trainer, inspection.Watch):
        options = {"steps": 1} if issubclass(thing, schedules.Schedule) else {}
        made = thing(*REQUIRED.get(thing, ()), **options)
        kept = {name: getattr(made, name) for name in wanted}
        if thing is Dense:
            assert isinstance(kept.pop("bias"), Parameter)
            wanted = {name: value for name, value in wanted.items() if name != "bias"}
        assert {n: float(v.value) if isinstance(v, Parameter) else v for n, v in kept.items()} == wanted
