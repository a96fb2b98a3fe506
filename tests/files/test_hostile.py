"""Files that must be refused: quickly, with one kind of error, in little memory, and with nothing else happening."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import minidl._files
from minidl import BatchNorm, Dense, Dropout, Layer, Sequential, Tanh, load, load_weights, save
from minidl.errors import ArgumentError, DTypeError, FileFormatError
from tests.campaigns.fuzz_files import run_file, trainer
from tests.campaigns.resume_points import bits, kept
from tests.support import hostile
from tests.support.hostile import (
    DATA,
    ENTRY,
    GOOD,
    OTHER_RUNS,
    RUNS,
    TABLE,
    TENSORS,
    Hostile,
    Json,
    chain,
    dense,
    put,
    signed,
)


@pytest.fixture
def quick_path() -> Iterator[Path]:
    """A folder in memory, where there is one, for tests that write thousands of files."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as name:
        yield Path(name)


CONTAINER = [*hostile.FRAMING, *hostile.HEADER, *hostile.ENTRIES, *hostile.OFFSETS]


def model() -> Sequential:
    return Sequential(Dense(2, 2))


def refusal(read: Callable[[], object]) -> tuple[FileFormatError, float, int]:
    """Return the error of a refused file, and the seconds of work and the bytes that it cost."""
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises(FileFormatError) as caught:
            read()
        return caught.value, time.process_time() - began, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_file_from_which_the_bad_ones_are_made_is_good(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(GOOD)
    loaded = load(tmp_path / "good")
    numbers = np.frombuffer(DATA)
    np.testing.assert_array_equal(loaded.named_parameters()["0.weight"].value, numbers[:4].reshape(2, 2))
    np.testing.assert_array_equal(loaded.named_parameters()["0.bias"].value, numbers[4:])


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_a_hostile_file_is_refused_with_its_reason(case: Hostile, tmp_path: Path) -> None:
    raw = case.make()
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(raw)
    error, seconds, peak = refusal(lambda: load(path))
    assert str(error).startswith(f"{path}: ")
    assert case.words in str(error)
    assert case.words
    assert len(str(error)) < 600 + len(str(path))
    assert seconds < 10.0  # traced; `python -m tests.campaigns.refusals` prints the time without
    assert peak < max(2 * len(raw) + (7 << 20), 10 * len(raw))


@pytest.mark.parametrize("case", CONTAINER, ids=lambda case: case.name)
def test_a_damaged_container_gives_no_weights(case: Hostile, tmp_path: Path) -> None:
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(case.make())
    target = model().initialize(0)
    before = [p.value.copy() for p in target.parameters()]
    error, seconds, _ = refusal(lambda: load_weights(target, path))
    assert case.words in str(error) or "the tensors of the model" in str(error)
    assert seconds < 10.0  # traced; `python -m tests.campaigns.refusals` prints the time without
    for parameter, value in zip(target.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.value, value)


def test_what_is_no_plain_file_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for name in ("folder", "pipe", "link", "socket", "/dev/zero"):
            error, seconds, _ = refusal(lambda name=name: load(tmp_path / name))  # type: ignore[misc]
            assert "a plain file" in str(error)
            assert seconds < 10.0  # traced; `python -m tests.campaigns.refusals` prints the time without


def test_a_file_that_is_not_there_is_the_usual_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing")


def rich(path: Path) -> Sequential:
    made = Sequential(Dense(3, 4), BatchNorm(4), Dropout(0.5), Tanh(), Dense(4, 2)).initialize(0)
    made.forward(np.random.default_rng(0).normal(size=(5, 3)))
    save(made, path)
    return made


@pytest.mark.parametrize("kind", ["load", "load_weights"])
def test_every_truncation_is_found(kind: str, quick_path: Path) -> None:
    path = quick_path / "cut"
    target = rich(path)
    raw = path.read_bytes()
    read: Callable[[], object] = (lambda: load(path)) if kind == "load" else (lambda: load_weights(target, path))
    read()
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        with pytest.raises(FileFormatError):
            read()


@pytest.mark.parametrize("kind", ["load", "load_weights"])
def test_every_flipped_bit_is_found(kind: str, quick_path: Path) -> None:
    path = quick_path / "flipped"
    target = model()
    read: Callable[[], object] = (lambda: load(path)) if kind == "load" else (lambda: load_weights(target, path))
    for bit in range(8 * len(GOOD)):
        raw = bytearray(GOOD)
        raw[bit // 8] ^= 1 << bit % 8
        path.write_bytes(raw)
        with pytest.raises(FileFormatError):
            read()


def test_random_flipped_bits_of_a_larger_file_are_found(quick_path: Path) -> None:
    path = quick_path / "flipped"
    rich(path)
    good = path.read_bytes()
    draw = random.Random(0)
    for _ in range(1000):
        raw = bytearray(good)
        bit = draw.randrange(8 * len(raw))
        raw[bit // 8] ^= 1 << bit % 8
        path.write_bytes(raw)
        with pytest.raises(FileFormatError):
            load(path)


def large(dtype: str, *more: Json, **changes: object) -> bytes:
    """A file of 24 MiB with one large layer and something wrong."""
    rows, columns = 1536, 2048 if dtype == "float64" else 4096
    data = np.zeros((rows + 1) * columns + rows - columns, dtype)
    code, width = {"float64": ("F64", 8), "float32": ("F32", 4)}[dtype]
    end = rows * columns * width
    tensors = {
        "0.weight": {"dtype": code, "shape": [rows, columns], "data_offsets": [0, end]},
        "0.bias": {"dtype": code, "shape": [rows], "data_offsets": [end, data.nbytes]},
    }
    if changes.pop("nan", False):
        data[-1] = np.nan
    layer = dense("0", columns, rows, dtype={"dtype": dtype})
    return signed(tensors, {**ENTRY, "architecture": chain(layer, *more), **changes}, data.tobytes())


def layer_of(kind: str, **arguments: object) -> Json:
    return {"class": kind, "path": "1", "arguments": arguments}


LATE: dict[str, tuple[Callable[[str], bytes], str]] = {
    "checksum": (lambda dtype: large(dtype)[:-1] + b"\1", "SHA-256"),
    "NaN": (lambda dtype: large(dtype, nan=True), "1 of 1,536 that are not"),
    "constructor": (lambda dtype: large(dtype, layer_of("Dropout", rate=2)), "make a Dropout"),
    "chain": (lambda dtype: large(dtype, layer_of("Columns", indices=[10**6])), "make a Sequential"),
    "generators": (lambda dtype: large(dtype, generators={"x": 3}), "no state of one of"),
    "missing generator": (lambda dtype: large(dtype, layer_of("Dropout")), "the states of the generators"),
    "one tensor for many": (
        lambda dtype: large(
            dtype, *[{**layer_of("Activation"), "path": f"{i}.x"} for i in range(1, 3)],
            shared=[["0.weight", *[f"{i}.weight" for i in range(1, 200)]]],
        ), "make a Activation"),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", LATE)
def test_a_large_bad_file_costs_little_time_and_twice_its_size(name: str, dtype: str, tmp_path: Path) -> None:
    make, words = LATE[name]
    raw = make(dtype)
    path = tmp_path / "large"
    path.write_bytes(raw)
    error, seconds, peak = refusal(lambda: load(path))
    assert words in str(error)
    assert seconds < 10.0  # traced; `python -m tests.campaigns.refusals` prints the time without
    assert peak < 2.1 * len(raw)


def test_one_tensor_for_many_layers_is_made_once(tmp_path: Path) -> None:
    copies = 50
    size = 256
    layers = [{**dense(str(i), size, size)} for i in range(copies)]
    tensors = {
        "0.weight": {"dtype": "F64", "shape": [size, size], "data_offsets": [0, 8 * size * size]},
        "0.bias": {"dtype": "F64", "shape": [size], "data_offsets": [8 * size * size, 8 * size * (size + 1)]},
    }
    shared = [[f"{i}.{name}" for i in range(copies)] for name in ("weight", "bias")]
    bad = {"class": "Dropout", "path": "bad", "arguments": {"rate": 2}}
    raw = signed(tensors, {"architecture": chain(*layers, bad), "shared": shared, "generators": {}}, bytes(
        8 * size * (size + 1)))
    path = tmp_path / "shared"
    path.write_bytes(raw)
    error, _, peak = refusal(lambda: load(path))
    assert "make a Dropout" in str(error)
    assert peak < 6 * len(raw)


WATCHED = """
import sys
from pathlib import Path
from unittest import mock
import numpy as np
import scipy.special
import minidl._files
from minidl import Dense, Sequential, load, load_weights
from minidl.errors import FileFormatError
from tests.support.hostile import GOOD, TABLE
import pickle, os

target = Path(sys.argv[1])
model = Sequential(Dense(2, 2))
target.write_bytes(GOOD)
load(target)
load_weights(model, target)
watching, seen = False, []

def hook(event, arguments):
    if not watching:
        return
    if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
        if isinstance(arguments[0], int) or os.fspath(arguments[0]) == os.fspath(target):
            return
    if event.split(".")[0] in ("import", "open", "exec", "compile", "socket", "subprocess", "os", "shutil", "ctypes",
                               "pickle", "urllib", "tempfile", "marshal", "mmap", "code", "winreg"):
        seen.append((event, arguments))

sys.addaudithook(hook)
refused = 0
for case in TABLE:
    target.write_bytes(case.make())
    for read in (lambda: load(target), lambda: load_weights(model, target)):
        watching = True
        try:
            read()
        except FileFormatError:
            refused += 1
        finally:
            watching = False
watching = True
PLANT
watching = False
print(refused, seen)
"""


def watched(path: Path, plant: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED.replace("PLANT", plant), str(path)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert not done.stderr
    return done.stdout.strip()


def test_loading_imports_opens_connects_and_runs_nothing(tmp_path: Path) -> None:
    refused, seen = watched(tmp_path / "hostile", "pass").split(" ", 1)
    assert seen == "[]"
    assert int(refused) >= len(TABLE) + len(CONTAINER)


@pytest.mark.parametrize(
    "plant",
    ["import colorsys", "open(target, 'w')", "exec('1')", "import socket; socket.socket()", "os.listdir('/')"],
)
def test_the_watch_sees_what_it_watches_for(plant: str, tmp_path: Path) -> None:
    assert not watched(tmp_path / "hostile", plant).endswith(" []")


def test_the_error_travels_between_processes(tmp_path: Path) -> None:
    import pickle

    (tmp_path / "empty").touch()
    with pytest.raises(FileFormatError) as caught:
        load(tmp_path / "empty")
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert (again.path, again.tensor) == (str(tmp_path / "empty"), None)


def test_the_error_says_file_tensor_expected_and_found(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(signed(TENSORS, {**ENTRY, "architecture": chain(dense("0", 3, 2))}, DATA))
    with pytest.raises(FileFormatError) as caught:
        load(path)
    error = caught.value
    assert (error.path, error.tensor, error.expected, error.found) == (
        str(path), "0.weight", "shape (2, 3) for Dense", "(2, 2)",
    )  # fmt: skip


def test_deep_nesting_is_refused_where_python_would_go_on(tmp_path: Path) -> None:
    path = tmp_path / "deep"
    path.write_bytes(hostile.frame(b'{"a":' + b"[" * 190_000 + b"]" * 190_000 + b"}"))
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10**7)
    try:
        assert "nested too deeply" in str(refusal(lambda: load(path))[0])
    finally:
        sys.setrecursionlimit(before)


def test_brackets_in_texts_are_no_nesting(tmp_path: Path) -> None:
    name = "[{" * 450 + '\\\\"'
    note = {"[" * 2000: ["]\\\\" * 100, '"', "\\", '\\"[' * 1000]}
    minidl._files.write(tmp_path / "m", {name: np.ones(2)}, note)
    back = minidl._files.read(tmp_path / "m")
    assert list(back.tensors) == [name]
    assert back.metadata == note


def test_fuzzed_files_give_one_kind_of_error() -> None:
    from tests.campaigns.fuzz_files import fuzz

    result = fuzz(1500, seed=0)
    assert result.others == []
    assert result.refused > 700
    assert result.loaded > 20


def test_custom_classes_cannot_be_confused_with_built_in_ones() -> None:
    class Tanh(Layer):
        def forward(self, x: minidl.Array) -> minidl.Array:
            return x.copy()

        def backward(self, grad: minidl.Array) -> minidl.Array:
            return grad

    with pytest.raises(ArgumentError, match="'Tanh', as minidl has one"):
        load("anything", custom=[Tanh])
    with pytest.raises(DTypeError, match="custom: expected classes of layers"):
        load("anything", custom=[int])
    with pytest.raises(DTypeError, match="custom: expected classes of layers"):
        load("anything", custom=["os.system"])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return run_file(tmp_path_factory.mktemp("run") / "run")


def test_the_run_from_which_the_bad_ones_are_made_is_good(run: bytes, tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(run)
    restored = trainer()
    restored.restore(tmp_path / "run")
    assert (len(restored.history), restored._run.position.batch) == (2, 2)


def refused_run(path: Path, kind: type[Exception], words: str) -> None:
    target = trainer()
    before, where = bits(target), kept(target)
    with pytest.raises(kind) as caught:
        target.restore(path)
    assert len(str(caught.value)) < 700 + len(str(path))
    assert str(caught.value).startswith(words)
    assert (bits(target), kept(target)) == (before, where)


@pytest.mark.parametrize(("place", "value"), RUNS, ids=lambda part: str(part)[:40])
def test_a_damaged_run_is_refused_and_nothing_is_changed(place: str, value: object, run: bytes, tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.write_bytes(put(run, place, value))
    refused_run(path, FileFormatError, f"{path}: expected the state of a run")


@pytest.mark.parametrize(("place", "value"), OTHER_RUNS, ids=lambda part: str(part)[:40])
def test_the_run_of_another_trainer_is_refused(place: str, value: object, run: bytes, tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.write_bytes(put(run, place, value))
    refused_run(path, ArgumentError, "restore: expected")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_that_takes_the_place_of_a_file_while_it_is_opened_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(GOOD)
    before = os.stat(tmp_path / "file")
    with mock.patch("os.stat", return_value=before), pytest.raises(FileFormatError, match="a plain file, got a pipe"):
        load(tmp_path / "pipe")
