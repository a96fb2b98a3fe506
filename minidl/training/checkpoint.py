"""The state of a run in a file, from which a Trainer that the same code has built goes on."""

from __future__ import annotations

import math
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import ArgumentError, FileFormatError
from ..storage.generators import decode_generator, encode_generator
from ..storage.models import RESERVED, load_weights, model_state
from ..storage.statefile import read, write
from .history import History

if TYPE_CHECKING:
    from .trainer import Trainer


def save_run(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Write a model file that holds the whole run as well; see `Trainer.save`."""
    tensors, metadata = model_state(trainer.model)
    run: dict[str, npt.NDArray[Any]] = {}
    packed = pack(run_state(trainer), run, RESERVED.rstrip(":") + ":run")
    write(path, {**tensors, **run}, {**metadata, "training": packed})


def restore_run(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Put a Trainer where the run in a file stood; see `Trainer.restore`. What does not fit changes nothing."""
    tensors, metadata = read(path)
    if metadata is None or "training" not in metadata:
        raise FileFormatError(os.fspath(path), "a run that Trainer.save wrote", "a model without a run")
    try:
        state = unpack(metadata["training"], tensors)
        generators = {name: decode_generator(own).bit_generator.state for name, own in state["generators"].items()}
        for name in ("rng", "fit_began_with", "epoch_began_with"):
            state["run"][name] = decode_generator(state["run"][name]).bit_generator.state
        history = History(**{**state["history"], "stopped_by": str(state["history"]["stopped_by"])})
        check_fit(trainer, state)
        load_weights(trainer.model, path, allow_nonfinite=False)
        for name, slot in trainer.optimizer.slots().items():
            slot[...] = state["optimizer"]["slots"][name]
        trainer.optimizer.restore_numbers(state["optimizer"]["numbers"])
        for name, own in trainer.model.named_generators().items():
            own.bit_generator.state = generators[name]
        trainer.run.restore(state["run"])
        trainer.history = history
        _warn_of_another_environment(state["environment"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, (ArgumentError, FileFormatError)):
            raise
        raise FileFormatError(os.fspath(path), "the state of a run", f"{type(error).__name__}: {error}") from None


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
        "generators": {path: encode_generator(own) for path, own in trainer.model.named_generators().items()},
        "run": trainer.run.state(),
        "history": trainer.history.to_dict(),
        "environment": environment(),
    }


def check_fit(trainer: Trainer, state: dict[str, Any]) -> None:
    """Refuse the state of a run that this Trainer cannot go on with.

    Raises:
        ArgumentError: another optimizer, loss, or other parameters than those of the run that was saved.
    """
    optimizer, saved = trainer.optimizer, state["optimizer"]
    for what, expected, found in (
        ("an optimizer of the class", saved["kind"], type(optimizer).__name__),
        ("a loss of the class", state["loss"], type(trainer.loss).__name__),
        ("the parameters", saved["parameters"],
         {path: list(p.shape) for path, p in trainer.model.named_parameters().items()}),
        ("the random layers", sorted(state["generators"]), sorted(trainer.model.named_generators())),
        ("the optimizer's memory", {name: list(slot.shape) for name, slot in saved["slots"].items()},
         {name: list(slot.shape) for name, slot in optimizer.slots().items()}),
    ):
        if expected != found:
            raise ArgumentError(f"restore: expected {what} {_difference(expected, found)}; build the Trainer as before")


def environment() -> dict[str, Any]:
    """Return what the last bits of a result depend on beside the program: builds and threads."""
    config: Any = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {})
    threads = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
               if name in os.environ}
    return {
        "numpy": np.__version__,
        "blas": " ".join(str(blas.get(key, "")) for key in ("name", "version", "openblas configuration")).strip(),
        "machine": sys.platform,
        "processors": os.cpu_count(),
        "threads": threads,
    }


def _warn_of_another_environment(saved: dict[str, Any]) -> None:
    here = environment()
    changed = [f"{name} {saved.get(name)!r} → {here[name]!r}" for name in here if saved.get(name) != here[name]]
    if changed:
        warnings.warn(
            f"restore: the run was saved in another environment ({'; '.join(changed)}); it goes on, but the last bits "
            "of its results may differ from those of an uninterrupted run",
            stacklevel=4,
        )


def _difference(expected: Any, found: Any) -> str:
    if isinstance(expected, dict):
        missing = {name: shape for name, shape in expected.items() if found.get(name) != shape}
        extra = {name: shape for name, shape in found.items() if expected.get(name) != shape}
        return f"{missing}, got {extra}"
    return f"{expected}, got {found}"


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
