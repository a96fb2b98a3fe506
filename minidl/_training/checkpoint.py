"""The state of a run in a file. A Trainer that the same code has built continues from it."""

from __future__ import annotations

import math
import os
import sys
import warnings
from dataclasses import dataclass, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .._core.arrays import all_finite
from .._core.configuration import arguments
from .._core.parameter import Parameter
from .._data import batch_count
from .._files.generators import encode_generator
from .._files.model import RUN_PREFIX, frozen_parts, load_weights, model_state
from .._files.statefile import read, write
from .._files.strict import shown
from ..errors import ArgumentError, FileFormatError
from ..layers._parts import named
from .class_weight import PlannedWeight
from .history import History
from .plain import FloatArray, require, typed
from .run import CallbackState, Plan, Position, Run
from .sources import Fingerprint

SERIES = ("loss", "validation_loss", "learning_rate", "seconds")
"""The attributes of a history with one number for each epoch, besides the metrics."""

MOST_SHOWN = 200
"""Most characters of a file's value that an error shows."""


@dataclass(frozen=True)
class SavedOptimizer:
    """The class of an optimizer, the shapes of all parameters of the model, and the values that each step changes."""

    kind: str
    parameters: dict[str, list[int]]
    slots: dict[str, FloatArray]
    numbers: dict[str, bool | float]

    def __post_init__(self) -> None:
        typed(int, self.numbers.get("steps"), "optimizer.numbers.steps")
        for name in ("last_rate", "learning_rate"):
            rate = self.numbers.get(name, 0.0)
            require(not isinstance(rate, bool) and rate >= 0, f"no rate as {name}", rate)


@dataclass(frozen=True)
class SavedProgress:
    """The plan of a fit, its position, the fingerprint of its data, its callbacks, and the figures of its epochs."""

    plan: Plan | None
    position: Position
    rng: np.random.Generator
    fingerprint: Fingerprint | None
    callbacks: list[CallbackState]
    figures: dict[str, str | None]

    def __post_init__(self) -> None:
        plan, here, data = self.plan, self.position, self.fingerprint
        require(isinstance(self.rng.bit_generator, np.random.PCG64), "no state of a PCG64", self.rng)
        whole = here.batch <= here.rows and (here.batch > 0 or (not here.rows and not here.loss))
        require(whole, "no position in an epoch", here)
        require(data is not None or not here.batch, "no data of the epoch", data)
        if plan is not None:
            check_class_weight(plan.class_weight)
            require(plan.batch_size != 0 and plan.micro_batch_size != 0, "no plan", plan)
        if data is not None:
            require(plan is not None and data.stream == (plan.batch_size is None), "no fingerprint of the data", data)
        if plan is not None and plan.batch_size is not None and data is not None:
            count = data.shapes[0][0] if data.shapes and data.shapes[0] else 0
            batches = batch_count(count, plan.batch_size)
            rows = count if here.batch == batches else here.batch * plan.batch_size
            require(here.batch <= batches and here.rows == rows, f"no position in {count} rows", here)


def check_class_weight(weight: PlannedWeight | None) -> None:
    """Refuse what is no weight of a plan, in a file.

    Raises:
        ValueError: it is none.
    """
    if isinstance(weight, dict):
        labels = all(key.isdecimal() and len(key) < 16 for key in weight)
        require(bool(weight) and labels and min(weight.values()) >= 0, "no weights of classes", weight)
    else:
        require(weight in (None, "balanced"), "no weights of classes", weight)


@dataclass(frozen=True)
class SavedHistory:
    """A history with its numbers as arrays: a file may hold longer arrays than lists."""

    loss: FloatArray
    validation_loss: FloatArray
    learning_rate: FloatArray
    seconds: FloatArray
    metrics: list[str]
    metric_values: FloatArray
    stopped_by: str

    def __post_init__(self) -> None:
        epochs = len(self.loss)
        for name in SERIES:
            numbers: FloatArray = getattr(self, name)
            shapes = [(epochs,), (0,)] if name == "validation_loss" else [(epochs,)]
            right = numbers.dtype == np.float64 and numbers.shape in shapes
            require(right, f"no {epochs} numbers of {name}", numbers)
        names, values = self.metrics, self.metric_values
        require(len(set(names)) == len(names), "no names of metrics", names)
        right = values.dtype == np.float64 and values.shape == (len(names), epochs if names else 0)
        require(right, f"no {epochs} numbers of {names}", values)

    def unpacked(self) -> History:
        """Return the history."""
        series = {name: getattr(self, name).tolist() for name in SERIES}
        metrics = dict(zip(self.metrics, self.metric_values.tolist(), strict=True))
        return History(**series, metrics=metrics, stopped_by=self.stopped_by)


@dataclass(frozen=True)
class SavedRun:
    """The state of a run without its model."""

    optimizer: SavedOptimizer
    loss: str
    settings: dict[str, str]
    generators: dict[str, np.random.Generator]
    run: SavedProgress
    history: SavedHistory
    environment: dict[str, str | int | dict[str, str] | None]

    def __post_init__(self) -> None:
        plan, epochs = self.run.plan, len(self.history.loss)
        right = plan is None or (plan.epochs >= max(epochs, 1) and plan.start <= epochs)
        require(right, f"no plan for {epochs} epochs or more", plan)


def save_run(run: Run, path: str | os.PathLike[str]) -> None:
    """Write a model file that also holds the state of the run; see `Trainer.save`.

    Raises:
        ArgumentError: a state that `restore_run` would refuse; nothing is written.
    """
    tensors, metadata = model_state(run.model)
    own: dict[str, npt.NDArray[Any]] = {}
    packed = pack(saved_run(run), own, RUN_PREFIX.rstrip(":") + ":run")
    try:
        require_finite(tensors)
        read_run(packed, own)
    except ValueError as error:
        raise ArgumentError(f"Trainer.save: expected a run that can be restored, got {error}; nothing was written "
                            "(minidl.save writes the model alone)") from None
    write(path, {**tensors, **own}, {**metadata, "training": packed})


def restore_run(run: Run, path: str | os.PathLike[str]) -> None:
    """Put a run into the state that a file holds; see `Trainer.restore`. A file that does not fit changes nothing."""
    run.refuse_while_running("restore")
    tensors, metadata, version = read(path)
    if metadata is None or "training" not in metadata:
        raise FileFormatError(os.fspath(path), "a run that Trainer.save wrote", "a model without a run")
    if version == 1:
        found = "one of minidl 0.1, whose epochs had another order; minidl.load reads the model in it"
        raise FileFormatError(os.fspath(path), "a run of minidl 1.0 or later", found)
    try:
        saved = read_run(metadata["training"], tensors)
    except ValueError as error:
        raise FileFormatError(os.fspath(path), "the state of a run", str(error)[:MOST_SHOWN]) from None
    own = saved_run(run)
    check_fit(own, saved)
    _warn_of_another_environment(own.environment, saved.environment)
    frozen = frozen_parts(run.model, metadata, os.fspath(path))
    load_weights(run.model, path, allow_nonfinite=False)
    run.model.unfreeze()
    for part in frozen:
        part.freeze()
    for name, slot in own.optimizer.slots.items():
        slot[...] = saved.optimizer.slots[name]
    run.optimizer.restore_numbers(saved.optimizer.numbers)
    run.optimizer.epochs = None
    for name, generator in own.generators.items():
        generator.bit_generator.state = saved.generators[name].bit_generator.state
    run.plan, run.position, run.fingerprint = saved.run.plan, saved.run.position, saved.run.fingerprint
    run.start_state, run.history = saved.run.rng.bit_generator.state, saved.history.unpacked()
    run.callbacks, run.saved_callbacks, run.figures = [], saved.run.callbacks, saved.run.figures
    run.engine, run.interrupted, run.why_stop = None, False, ""  # what an earlier fit has left


def read_run(packed: Any, tensors: dict[str, npt.NDArray[Any]]) -> SavedRun:
    """Return the state of a run that `pack` made into JSON and tensors.

    Raises:
        ValueError: no state of a run, or an optimizer with numbers that are not finite.
    """
    saved: SavedRun = typed(SavedRun, unpack(packed, tensors), "run")
    require_finite(saved.optimizer.slots)
    return saved


def require_finite(tensors: dict[str, npt.NDArray[Any]]) -> None:
    """Raise a ValueError that names the first tensor with a number that is not finite."""
    for name, values in tensors.items():
        require(values.dtype.kind != "f" or all_finite(values), f'a number that is not finite in "{name}"', values)


def saved_run(run: Run) -> SavedRun:
    """Return the state of a run without its model."""
    optimizer, history = run.optimizer, run.history
    shapes = {path: list(parameter.shape) for path, parameter in run.model.named_parameters().items()}
    rng = np.random.Generator(np.random.PCG64(0))
    rng.bit_generator.state = run.start_state
    callbacks = run.saved_callbacks or [CallbackState(type(c).__name__, c.state()) for c in run.callbacks]
    metrics = list(history.metrics.values())
    return SavedRun(
        SavedOptimizer(type(optimizer).__name__, shapes, dict(optimizer.slots()), optimizer.numbers()),
        type(run.loss).__name__,
        run_settings(run),
        named(run.model, np.random.Generator),
        SavedProgress(run.plan, run.position, rng, run.know_data(), callbacks, run.figures),
        SavedHistory(
            **{name: np.array(getattr(history, name), np.float64) for name in SERIES},
            metrics=list(history.metrics),
            metric_values=np.array(metrics, np.float64).reshape(len(metrics), -1 if metrics else 0),
            stopped_by=history.stopped_by,
        ),
        environment(),
    )


def run_settings(run: Run) -> dict[str, str]:
    """Describe the settings of a run, which no step changes: those of optimizer, loss, clip and penalties.

    A learning rate that is a number is left out, because a callback may lower it.
    """
    paths = {id(parameter): path for path, parameter in run.model.named_parameters().items()}
    made = {**run.optimizer.settings(), "loss": run.loss, "clip": run.clip, "penalties": list(run.penalties)}
    return {"learning_rate": "a number", **{name: describe(part, paths) for name, part in made.items()}}


def describe(part: object, paths: dict[int, str], depth: int = 4) -> str:
    """Describe a part of a run by a text that is the same in every process.

    Args:
        part: A number, a parameter, a function, or an object that keeps the arguments of its constructor.
        paths: The path of each parameter by its id.
        depth: Most levels of objects in objects that are described.

    Returns:
        A text such as ``"Huber(delta=1.0)"``; for a function its name, for a parameter its path.
    """
    if isinstance(part, Parameter):
        return paths.get(id(part), "a parameter of another model")
    if isinstance(part, (np.ndarray, np.generic)):
        return repr(part.tolist())
    if part is None or isinstance(part, (bool, int, float, str)):
        return repr(part)
    if isinstance(part, (list, tuple)):
        return f"[{', '.join(describe(item, paths, depth - 1) for item in part)}]"
    name = getattr(part, "__qualname__", getattr(part, "__name__", None))
    if isinstance(name, str):
        return name
    kind = type(part)
    kept = [name for name in arguments(kind) if hasattr(part, name)] if depth else []
    return f"{kind.__name__}({', '.join(f'{n}={describe(getattr(part, n), paths, depth - 1)}' for n in kept)})"


def check_fit(own: SavedRun, saved: SavedRun) -> None:
    """Refuse the state of a run that this run cannot continue.

    Raises:
        ArgumentError: the saved run had another optimizer, loss, clip or penalty, other settings of one of them, other
            parameters or other generators.
    """
    found = must_agree(own)
    for what, expected in must_agree(saved).items():
        if expected != found[what]:
            difference = _expected_got(expected, found[what])
            raise ArgumentError(
                f"restore: expected {what} {difference}; build the Trainer as before, and set again what was set since "
                "then, such as trainer.optimizer.momentum = 0.0"
            )


def must_agree(saved: SavedRun) -> dict[str, Any]:
    """Map the name of each property that two runs must share to its value in one of them."""
    optimizer, generators = saved.optimizer, saved.generators
    return {
        "an optimizer of the class": optimizer.kind,
        "a loss of the class": saved.loss,
        "the parameters": optimizer.parameters,
        "the random layers": sorted(generators),
        "the optimizer's memory": {name: (s.dtype.name, list(s.shape)) for name, s in optimizer.slots.items()},
        "the settings": saved.settings,
        "the optimizer's numbers": {name: isinstance(number, bool) for name, number in optimizer.numbers.items()},
        "the generators of the layers": {name: type(g.bit_generator).__name__ for name, g in generators.items()},
    }


def environment() -> dict[str, Any]:
    """Return the environment, on which the last bits of a result depend: builds, processors, settings of threads."""
    config: Any = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {})
    threads = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
               if name in os.environ}
    usable = {"usable processors": len(os.sched_getaffinity(0))} if hasattr(os, "sched_getaffinity") else {}
    return {
        "numpy": np.__version__,
        "blas": " ".join(str(blas.get(key, "")) for key in ("name", "version", "openblas configuration")).strip(),
        "machine": sys.platform,
        "processors": os.cpu_count(),
        **usable,
        "threads": threads,
    }


def _warn_of_another_environment(here: dict[str, Any], saved: dict[str, Any]) -> None:
    differing = [name for name in here if saved.get(name) != here[name]]
    changed = [f"{name} {shown(saved.get(name))} -> {shown(here[name])}" for name in differing]
    if changed:
        warnings.warn(
            f"restore: the run was saved in another environment ({'; '.join(changed)}); it goes on, but the last bits "
            "of its results may differ from those of an uninterrupted run",
            stacklevel=4,
        )


def _expected_got(expected: Any, found: Any) -> str:
    """Show both values where two runs differ."""
    if isinstance(expected, dict):
        missing = {name: shape for name, shape in expected.items() if found.get(name) != shape or name not in found}
        extra = {name: shape for name, shape in found.items() if expected.get(name) != shape or name not in expected}
        expected, found = missing, extra
    return f"{str(expected)[:MOST_SHOWN]}, got {str(found)[:MOST_SHOWN]}"


def pack(value: Any, tensors: dict[str, np.ndarray[Any, Any]], path: str) -> Any:
    """Return plain JSON for nested values; arrays go to ``tensors`` under their path.

    A number that JSON cannot express is written as ``{"number": "nan"}``, and an array as ``{"tensor": path}``.
    """
    if isinstance(value, np.random.Generator):
        value = encode_generator(value)
    elif is_dataclass(value):
        value = vars(value)
    if isinstance(value, np.ndarray):
        tensors[path] = value
        return {"tensor": path}
    if isinstance(value, dict):
        return {"items": {str(key): pack(item, tensors, f"{path}.{key}") for key, item in value.items()}}
    if isinstance(value, (list, tuple)):
        return [pack(item, tensors, f"{path}.{index}") for index, item in enumerate(value)]
    if isinstance(value, (float, np.floating)) and not math.isfinite(value):
        return {"number": repr(float(value))}
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ArgumentError(f"save: expected plain values and arrays in the state of a run, got {value!r} at {path!r}")


def unpack(value: Any, tensors: dict[str, np.ndarray[Any, Any]]) -> Any:
    """Return the nested values from which `pack` made ``value``; generators and dataclasses are dicts.

    Raises:
        ValueError: a value that `pack` cannot have made.
    """
    match value:
        case {"tensor": str(name)} if name in tensors:
            return tensors[name]
        case {"number": "nan" | "inf" | "-inf" as number}:
            return float(number)
        case {"items": dict(items)}:
            return {key: unpack(item, tensors) for key, item in items.items()}
        case dict():
            raise ValueError(f"no tensor, number or items: {shown(value)}")
        case list():
            return [unpack(item, tensors) for item in value]
    return value
