"""The state of a run in a file, from which a Trainer that the same code has built goes on."""

from __future__ import annotations

import math
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .._core.configuration import arguments
from .._core.parameter import Parameter
from .._files.generators import decode_generator, encode_generator
from .._files.model import RESERVED, load_weights, model_state, restore_frozen
from .._files.statefile import read, write
from .._files.strict import shown
from ..errors import ArgumentError, FileFormatError
from ..layers._parts import named
from .batches import batch_count
from .history import History

if TYPE_CHECKING:
    from ..trainer import Trainer

SERIES = ("loss", "validation_loss", "learning_rate", "seconds")
"""What a history has one number an epoch of, beside the metrics."""

MOST_SHOWN = 200
"""How many characters an error shows of what came out of a file."""


def save_run(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Write a model file that holds the whole run as well; see `Trainer.save`."""
    tensors, metadata = model_state(trainer.model)
    run: dict[str, npt.NDArray[Any]] = {}
    packed = pack(run_state(trainer), run, RESERVED.rstrip(":") + ":run")
    write(path, {**tensors, **run}, {**metadata, "training": packed})


def restore_run(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Put a Trainer where the run in a file stood; see `Trainer.restore`. What does not fit changes nothing."""
    tensors, metadata, version = read(path)
    if metadata is None or "training" not in metadata:
        raise FileFormatError(os.fspath(path), "a run that Trainer.save wrote", "a model without a run")
    if version == 1:
        found = "one of minidl 0.1, whose epochs had another order; minidl.load reads the model in it"
        raise FileFormatError(os.fspath(path), "a run of minidl 0.2 or later", found)
    try:
        state = unpack(metadata["training"], tensors)
        check_state(state)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        found = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
        raise FileFormatError(os.fspath(path), "the state of a run", found[:MOST_SHOWN]) from None
    check_fit(trainer, state)
    _warn_of_another_environment(state["environment"])
    load_weights(trainer.model, path, allow_nonfinite=False)
    restore_frozen(trainer.model, metadata, os.fspath(path))
    for name, slot in trainer.optimizer.slots().items():
        slot[...] = state["optimizer"]["slots"][name]
    trainer.optimizer.restore_numbers(state["optimizer"]["numbers"])
    trainer.optimizer.epochs = None
    for name, own in named(trainer.model, np.random.Generator).items():
        own.bit_generator.state = decode_generator(state["generators"][name]).bit_generator.state
    trainer._run.restore(state["run"])
    trainer.history = unpacked_history(state["history"])


def run_state(trainer: Trainer) -> dict[str, Any]:
    """Return all that a run is beside its model: plain values, arrays, dicts and lists."""
    optimizer = trainer.optimizer
    return {
        "optimizer": {
            "kind": type(optimizer).__name__,
            "parameters": {path: list(p.shape) for path, p in trainer.model.named_parameters().items()},
            "slots": dict(optimizer.slots()),
            "numbers": optimizer.numbers(),
        },
        "loss": type(trainer.loss).__name__,
        "settings": run_settings(trainer),
        "generators": {path: encode_generator(own) for path, own in named(trainer.model, np.random.Generator).items()},
        "run": trainer._run.state(),
        "history": packed_history(trainer.history),
        "environment": environment(),
    }


def run_settings(trainer: Trainer) -> dict[str, str]:
    """Describe what a run is made with, and what no step changes: settings of the optimizer, loss, clip, penalties.

    A learning rate that is a number is not among them, since a callback may lower it.
    """
    paths = {id(parameter): path for path, parameter in trainer.model.named_parameters().items()}
    parts = {"loss": trainer.loss, "clip": trainer.clip, "penalties": list(trainer.penalties)}
    made = {**trainer.optimizer.settings(), **parts}
    return {"learning_rate": "a number", **{name: describe(part, paths) for name, part in made.items()}}


def describe(part: object, paths: dict[int, str], depth: int = 4) -> str:
    """Write a part of a run in a way that is the same in every process.

    Args:
        part: A number, a parameter, a function, or an object that keeps the arguments of its constructor.
        paths: The path of each parameter by its id.
        depth: How deep objects in objects are followed.

    Returns:
        Such as ``"Huber(delta=1.0)"``; of a function its name, of a parameter its path.
    """
    if isinstance(part, Parameter):
        return paths.get(id(part), "a parameter of another model")
    if isinstance(part, np.ndarray):
        return repr(part.tolist())
    if isinstance(part, float):
        return repr(float(part))
    if part is None or isinstance(part, (bool, int, str)):
        return repr(part)
    if isinstance(part, (list, tuple)):
        return f"[{', '.join(describe(item, paths, depth - 1) for item in part)}]"
    name = getattr(part, "__qualname__", getattr(part, "__name__", None))
    if isinstance(name, str):
        return name
    kind = type(part)
    kept = [name for name in arguments(kind) if hasattr(part, name)] if depth else []
    return f"{kind.__name__}({', '.join(f'{n}={describe(getattr(part, n), paths, depth - 1)}' for n in kept)})"


def check_fit(trainer: Trainer, state: dict[str, Any]) -> None:
    """Refuse the state of a run that this Trainer cannot go on with.

    Raises:
        ArgumentError: the run that was saved had another optimizer, loss, clip or penalty, one with other settings,
            other parameters or other generators.
    """
    optimizer, saved = trainer.optimizer, state["optimizer"]
    model = trainer.model
    for what, expected, found in (
        ("an optimizer of the class", saved["kind"], type(optimizer).__name__),
        ("a loss of the class", state["loss"], type(trainer.loss).__name__),
        ("the parameters", saved["parameters"],
         {path: list(p.shape) for path, p in model.named_parameters().items()}),
        ("the random layers", sorted(state["generators"]), sorted(named(model, np.random.Generator))),
        ("the optimizer's memory", {name: _kind(slot) for name, slot in saved["slots"].items()},
         {name: _kind(slot) for name, slot in optimizer.slots().items()}),
        ("the settings", state["settings"], run_settings(trainer)),
        ("the optimizer's numbers", {name: isinstance(n, bool) for name, n in saved["numbers"].items()},
         {name: isinstance(n, bool) for name, n in optimizer.numbers().items()}),
        ("the generators of the layers", {name: own["bit_generator"] for name, own in state["generators"].items()},
         {name: type(own.bit_generator).__name__ for name, own in named(model, np.random.Generator).items()}),
    ):  # fmt: skip
        if expected != found:
            raise ArgumentError(f"restore: expected {what} {_difference(expected, found)}; build the Trainer as before")


def check_state(state: dict[str, Any]) -> None:
    """Refuse what no run can have left, whatever the Trainer.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: something is missing, of another kind, or out of its range.
    """
    for name in ("optimizer", "settings", "generators", "run", "history", "environment"):
        _expect(isinstance(state[name], dict), f"no dict as {name}", state[name])
    _check_optimizer(state["optimizer"])
    _expect(isinstance(state["loss"], str), "no class of a loss", state["loss"])
    for name, text in state["settings"].items():
        _expect(isinstance(text, str), f"no text as the setting {name}", text)
    for own in state["generators"].values():
        decode_generator(own)
    history = unpacked_history(state["history"])
    _check_run(state["run"], len(history))


def _check_optimizer(saved: dict[str, Any]) -> None:
    _expect(isinstance(saved["kind"], str), "no class of an optimizer", saved["kind"])
    for name, shape in saved["parameters"].items():
        _expect(isinstance(shape, list) and all(_is_count(n) for n in shape), f"no shape of {name}", shape)
    for name, slot in saved["slots"].items():
        _expect(isinstance(slot, np.ndarray) and slot.dtype.kind == "f", f"no vector as {name}", slot)
        _expect(bool(np.isfinite(slot).all()), f"a number that is not finite in {name}", slot)
    numbers = saved["numbers"]
    for name, number in numbers.items():
        _expect(isinstance(number, (bool, int, float)) and math.isfinite(number), f"no number as {name}", number)
    _expect(_is_count(numbers["steps"]), "no count of steps", numbers["steps"])
    for name in ("last_rate", "learning_rate"):
        rate = numbers.get(name, 0.0)
        _expect(not isinstance(rate, bool) and rate >= 0, f"no rate as {name}", rate)


def _check_run(run: dict[str, Any], epochs: int) -> None:
    """Check the plan of a fit, how far it came, and what it was fed with."""
    plan, position, fingerprint = run["plan"], run["position"], run["fingerprint"]
    decode_generator(run["rng"])
    _expect(run["rng"]["bit_generator"] == "PCG64", "no state of a PCG64", run["rng"])
    if plan is not None:
        _expect(plan.keys() == {"epochs", "batch_size", "shuffle", "micro_batch_size"}, "no plan", plan)
        _expect(_is_count(plan["epochs"], least=max(epochs, 1)), f"no plan for {epochs} epochs or more", plan["epochs"])
        _expect(isinstance(plan["shuffle"], bool), "no bool as shuffle", plan["shuffle"])
        for name in ("batch_size", "micro_batch_size"):
            _expect(plan[name] is None or _is_count(plan[name], least=1), f"no {name}", plan[name])
    _expect(position.keys() == {"batch", "rows", "loss"}, "no position", position)
    batch, rows, loss = position["batch"], position["rows"], position["loss"]
    _expect(_is_count(batch) and _is_count(rows) and batch <= rows, "no position", position)
    _expect(type(loss) in (int, float) and math.isfinite(loss), "no sum of losses", loss)
    _expect(bool(batch) or (not rows and not loss), "no beginning of an epoch", position)
    size = None if plan is None else plan["batch_size"]
    if fingerprint:
        _expect(plan is not None and isinstance(fingerprint["sha256"], str), "no fingerprint of data", fingerprint)
        if size is None:
            _expect(fingerprint == {**fingerprint, "stream": True}, "no fingerprint of a stream", fingerprint)
        else:
            shapes = fingerprint["shapes"]
            _expect(all(_is_count(n) for shape in shapes for n in shape), "no shapes of data", shapes)
            count = shapes[0][0] if shapes and shapes[0] else 0
            batches = batch_count(count, size)
            whole = batch <= batches and rows == (count if batch == batches else batch * size)
            _expect(whole, f"no position in {count} rows", position)
    _expect(bool(fingerprint) or not batch, "no data of the epoch", fingerprint)
    _expect(isinstance(run["callbacks"], list), "no list of callbacks", run["callbacks"])
    for entry in run["callbacks"]:
        _expect(entry.keys() == {"kind", "state"}, "no callback", entry)
        _expect(isinstance(entry["kind"], str) and isinstance(entry["state"], dict), "no callback", entry)


def packed_history(history: History) -> dict[str, Any]:
    """Return a history with its numbers as arrays, which a file has more room for than for plain numbers."""
    plain = history.to_dict()
    metrics = list(plain["metrics"].values())
    return {
        **{name: np.array(plain[name], np.float64) for name in SERIES},
        "metrics": list(plain["metrics"]),
        "metric_values": np.array(metrics, np.float64).reshape(len(metrics), -1 if metrics else 0),
        "stopped_by": plain["stopped_by"],
    }


def unpacked_history(saved: dict[str, Any]) -> History:
    """Return the history that `packed_history` was given.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is none.
    """
    epochs, values, names = len(saved["loss"]), saved["metric_values"], saved["metrics"]
    for name in SERIES:
        numbers = saved[name]
        right = isinstance(numbers, np.ndarray) and numbers.dtype == np.float64 and numbers.shape == (epochs,)
        right = right or (name == "validation_loss" and numbers.dtype == np.float64 and numbers.shape == (0,))
        _expect(right, f"no {epochs} numbers of {name}", numbers)
    known = isinstance(names, list) and all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    _expect(known, "no names of metrics", names)
    right = isinstance(values, np.ndarray) and values.dtype == np.float64
    _expect(right and values.shape == (len(names), epochs if names else 0), f"no {epochs} numbers of {names}", values)
    _expect(isinstance(saved["stopped_by"], str), "no text that says what stopped the run", saved["stopped_by"])
    return History(
        **{name: saved[name].tolist() for name in SERIES},
        metrics=dict(zip(names, values.tolist(), strict=True)),
        stopped_by=saved["stopped_by"],
    )


def _is_count(value: object, least: int = 0) -> bool:
    return type(value) is int and least <= value < 2**53


def _expect(holds: bool, otherwise: str, found: object) -> None:
    """Raise a ValueError that says what is the matter where something does not hold."""
    if not holds:
        raise ValueError(f"{otherwise}: {shown(found)}")


def _kind(slot: npt.NDArray[Any]) -> tuple[str, list[int]]:
    return slot.dtype.name, list(slot.shape)


def environment() -> dict[str, Any]:
    """Return what the last bits of a result depend on beside the program: builds, processors, settings of threads."""
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


def _warn_of_another_environment(saved: dict[str, Any]) -> None:
    here = environment()
    differing = [name for name in here if saved.get(name) != here[name]]
    changed = [f"{name} {shown(saved.get(name))} -> {shown(here[name])}" for name in differing]
    if changed:
        warnings.warn(
            f"restore: the run was saved in another environment ({'; '.join(changed)}); it goes on, but the last bits "
            "of its results may differ from those of an uninterrupted run",
            stacklevel=4,
        )


def _difference(expected: Any, found: Any) -> str:
    """Show both sides of what differs."""
    if isinstance(expected, dict):
        missing = {name: shape for name, shape in expected.items() if found.get(name) != shape or name not in found}
        extra = {name: shape for name, shape in found.items() if expected.get(name) != shape or name not in expected}
        expected, found = missing, extra
    return f"{str(expected)[:MOST_SHOWN]}, got {str(found)[:MOST_SHOWN]}"


def pack(value: Any, tensors: dict[str, np.ndarray[Any, Any]], path: str) -> Any:
    """Return plain JSON for nested values; arrays go to ``tensors`` under their path.

    Numbers that JSON has no sign for are written as ``{"number": "nan"}``, arrays as ``{"tensor": path}``.
    """
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
    """Return the nested values that `pack` was given."""
    if isinstance(value, list):
        return [unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "number" in value:
        return float(value["number"])
    return {key: unpack(item, tensors) for key, item in value["items"].items()}
