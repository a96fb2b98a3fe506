"""What saving and loading refuse, with the words of the message; the file in the place stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import SGD, Array, BatchNorm, Dense, Dropout, HalfSquaredError, Layer, Sequential, Tanh, Trainer, load, save
from minidl._files import safetensors
from minidl._training.checkpoint import unpack
from minidl.callbacks import Callback
from minidl.errors import ArgumentError, FileFormatError, MinidlError
from tests.support.hostile import dense, signed, split
from tests.support.refusal import refused


class Elsewhere(Layer):
    """A layer whose constructor takes a layer that it does not keep."""

    def __init__(self, inner: Layer | None = None) -> None:
        self.inner = None

    @override
    def config(self) -> dict[str, Any]:
        return {"inner": Tanh()}

    @override
    def forward(self, x: Array) -> Array:
        return x.copy()

    @override
    def backward(self, grad: Array) -> Array:
        return grad


class OwnBits(np.random.PCG64):
    """A bit generator that is not NumPy's own."""


class Odd(Callback):
    """A callback whose state no file can hold."""

    @override
    def on_epoch_end(self, trainer: Trainer) -> None:
        """Do nothing."""

    @override
    def state(self) -> dict[str, Any]:
        return {"last": {1, 2}}


def trainer() -> Trainer:
    model = Dense(1, 1).initialize(0)
    return Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0)


def with_own_bits() -> Layer:
    layer = Dropout(0.5)
    layer.rng = np.random.Generator(OwnBits(0))
    return layer


def save_run(path: Path) -> None:
    run, x = trainer(), np.ones((4, 1))
    run.fit(x, x, epochs=1, callbacks=[Odd()])
    run.save(path)


def width_from(name: str, **more: Any) -> Callable[[Path], object]:
    """Load a file in which a layer's width is the parameter with this name."""

    def call(path: Path) -> None:
        other = path.with_name("other")
        save(Sequential(BatchNorm(2)), other)
        tensors, entry, data = split(other.read_bytes())
        entry["architecture"]["arguments"]["layers"]["tuple"].append(dense("1", {"parameter": name}))
        other.write_bytes(signed(tensors, {**entry, "sha256": "0" * 64, **more}, data))
        load(other)

    return call


def shortened(path: Path) -> None:
    """Open a file that another program shortens before its numbers are read."""
    save(Dense(2, 2), path.with_name("other"))
    with safetensors.TensorFile(path.with_name("other")) as file:
        path.with_name("other").write_bytes(path.with_name("other").read_bytes()[:-8])
        list(file.data())


REFUSED: dict[str, tuple[Callable[[Path], object], type[MinidlError], str]] = {
    "a layer that is not kept": (lambda path: save(Elsewhere(), path), ArgumentError,
                                 "expected Tanh among the children() of its holder, which are saved"),
    "a generator of another": (lambda path: save(with_own_bits(), path), ArgumentError,
                               'saving: expected a generator of NumPy at "rng", got no state of one of the generators'),
    "a state of a callback": (save_run, ArgumentError,
                              "save: expected plain values and arrays in the state of a run, got {1, 2}"),
    "a function without a name": (lambda path: load(path, custom=[lambda x: x]), ArgumentError,
                                  "custom: expected a function with a name, got <lambda>; write it with def"),
    "two classes of one name": (lambda path: load(path, custom=[Elsewhere, type("Elsewhere", (Elsewhere,), {})]),
                                ArgumentError, "custom: expected different names, got two different 'Elsewhere'; ren"),
    "a model instead of a run": (lambda path: trainer().restore(path), FileFormatError,
                                 "expected a run that Trainer.save wrote, got a model without a run"),
    "a count as a parameter": (width_from("0.num_batches_tracked"), FileFormatError,
                               '"0.num_batches_tracked": expected float64 or float32, got int64'),
    "a buffer as a parameter": (width_from("0.running_mean", shared=[["0.running_mean", "2"]]), FileFormatError,
                                '"0.running_mean": expected a learned tensor, got another'),
    "a file that becomes shorter": (shortened, FileFormatError,
                                    "expected 8 more bytes, got the end of the file while reading"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_says_why_and_leaves_the_file(case: str, tmp_path: Path) -> None:
    call, error, words = REFUSED[case]
    path = tmp_path / "file"
    save(Sequential(Tanh()), path)
    before = path.read_bytes()
    with refused(error, words):
        call(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("value", [{"tensor": "no such"}, {"number": "1"}, {"items": []}, {}])
def test_the_state_of_a_run_holds_no_other_objects(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^no tensor, number or items: "):
        unpack(value, {})
