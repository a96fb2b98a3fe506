"""The cache of compiled programs: kept on disk, never mixed up, never in the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

from minidl import SGD, Activation, Dense, HalfSquaredError, Layer, LeakyReLU, Sequential, Trainer
from minidl._compiled import CompiledLoop, cache

X = np.random.default_rng(1).normal(size=(20, 2))
Y = X[:, :1] * X[:, 1:]

PROGRAM = """
import sys
from minidl import SGD, Dense, HalfSquaredError, Sequential, ReLU, Tanh, Trainer
from minidl._compiled import cache
import numpy as np

kind = {"relu": ReLU, "tanh": Tanh}[sys.argv[1]]
x = np.random.default_rng(1).normal(size=(20, 2))
model = Sequential(Dense(2, 1), kind()).initialize(rng=0)
trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0, engine="compiled")
trainer.fit(x, x[:, :1], epochs=2, batch_size=1)
[program] = cache._compiled.values()
stats = program._ready.stats
print(trainer.history.loss, sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""

LONG = """
import hashlib
from minidl import Adam, CrossEntropy, Dense, LayerNorm, Predictor, RMSNorm, Sequential, Softmax, Tanh, Trainer
from minidl._compiled import cache, program
import numpy as np

program.FEW_LAYERS = 1
rng = np.random.default_rng(1)
x, y = rng.normal(size=(600, 9)), rng.dirichlet(np.ones(3), 600)
model = Sequential(LayerNorm(9), Dense(9, 9), RMSNorm(9), Tanh(), Dense(9, 3), Softmax()).initialize(rng=0)
trainer = Trainer(model, CrossEntropy(), Adam(model.parameters(), 0.01), rng=0, engine="compiled")
trainer.fit(x, y, epochs=5, batch_size=8)
for result in trainer.optimizer.vector.values, Predictor(model)(x[:50]):
    print(hashlib.sha256(result.tobytes()).hexdigest())
print(sorted(sum(program._ready.stats.cache_hits.values()) for program in cache._compiled.values()))
"""


def output(folder: Path, program: str, *arguments: str, **variables: str) -> str:
    """Run a program in a process of its own; return what it prints."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        env={**os.environ, "MINIDL_CACHE_DIR": str(folder), "PYTHONPATH": os.pathsep.join(sys.path), **variables},
        capture_output=True, text=True, check=True,
    ).stdout


def run(kind: str, folder: Path, **variables: str) -> tuple[str, int, int]:
    """Train in a process of its own; return the losses, and how often the cache had and had not what was needed."""
    losses, hits, misses = output(folder, PROGRAM, kind, **variables).rsplit(maxsplit=2)
    return losses, int(hits), int(misses)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A cache folder with two programs that differ in one kernel, and the losses of their first runs."""
    folder = tmp_path_factory.mktemp("filled")
    first = {kind: run(kind, folder) for kind in ("relu", "tanh")}
    assert [first[kind][1:] for kind in first] == [(0, 1), (0, 1)]
    return folder, {kind: losses for kind, (losses, *_) in first.items()}


def train(model: Layer, engine: Any = "compiled") -> list[float]:
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.01), rng=0, engine=engine)
    return trainer.fit(X, Y, epochs=2, batch_size=1).loss


def test_programs_are_compiled_once_for_all_processes_and_never_mixed_up(
    filled: tuple[Path, dict[str, str]],
) -> None:
    folder, losses = filled
    assert losses["relu"] != losses["tanh"]
    for kind in ("tanh", "relu"):
        assert run(kind, folder) == (losses[kind], 1, 0)


def test_a_long_program_from_the_disk_computes_the_bits_of_a_new_one(tmp_path: Path) -> None:
    new, kept = (output(tmp_path, LONG).splitlines() for _ in range(2))
    assert (new[-1], kept[-1]) == ("[0, 0]", "[1, 1]")
    assert kept[:-1] == new[:-1]


def test_another_size_needs_no_compiling_another_kernel_does() -> None:
    narrow, wide, other = (
        CompiledLoop(model, HalfSquaredError(), SGD(model.parameters(), rate), one_row=True).source
        for model, rate in (
            (Sequential(Dense(2, 3), LeakyReLU(0.1)), 0.1),
            (Sequential(Dense(7, 4), LeakyReLU(0.2)), 0.2),
            (Sequential(Dense(2, 3), LeakyReLU(0.1)).astype("float32"), 0.1),
        )
    )
    assert narrow == wide != other


def test_a_damaged_program_is_written_again(tmp_path: Path, filled: tuple[Path, dict[str, str]]) -> None:
    folder, losses = filled
    copy = shutil.copytree(folder, tmp_path / "copy")
    whole = {path: path.read_bytes() for path in copy.glob("*.py")}
    for path in whole:
        path.write_bytes(b"raise SystemExit(1)\xff")
    for kind in losses:
        assert run(kind, copy)[0] == losses[kind]
    assert {path: path.read_bytes() for path in copy.glob("*.py")} == whole


def test_a_damaged_cache_is_repaired_where_numba_has_its_own_folder(tmp_path: Path) -> None:
    own = {"NUMBA_CACHE_DIR": str(tmp_path / "numba")}
    losses, *_ = run("relu", tmp_path, **own)
    damaged = list((tmp_path / "numba").rglob("*.nbc"))
    for path in damaged:
        path.write_bytes(b"no machine code")
    assert len(damaged) == 1
    assert run("relu", tmp_path, **own)[0] == losses  # It removes what is damaged,
    assert run("relu", tmp_path, **own) == (losses, 0, 1)  # the next process writes it,
    assert run("relu", tmp_path, **own) == (losses, 1, 0)  # and the one after that finds it.


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_damaged_cache_is_no_error(tmp_path: Path, filled: tuple[Path, dict[str, str]], suffix: str) -> None:
    folder, losses = filled
    copy = shutil.copytree(folder, tmp_path / "copy")
    damaged = list(copy.rglob(f"*.{suffix}"))
    assert len(damaged) == 2
    for path in damaged:
        path.write_bytes(b"no machine code")
    assert run("relu", copy)[0] == losses["relu"]
    assert sum(path.exists() for path in damaged) == 1  # What was found damaged is removed, to be kept anew.


def test_threads_that_share_a_first_call_all_get_over_a_damaged_cache() -> None:
    def damaged(x: int) -> int:
        time.sleep(0.05)
        raise EOFError("pickle data was truncated")

    shared = cache.Compiled(lambda x: x + 1, keep=False)
    vars(shared).update(_trusted=False, _ready=damaged, _forget=lambda: None)
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(shared, range(8))) == list(range(1, 9))


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path, filled: tuple[Path, dict[str, str]]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert run("relu", tmp_path / "file" / "cache") == (filled[1]["relu"], 0, 1)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_read_only_folder_is_no_error(tmp_path: Path, filled: tuple[Path, dict[str, str]]) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o500)
    assert run("relu", folder)[0] == filled[1]["relu"]
    assert not list(folder.iterdir())


def test_a_disk_that_is_full_when_the_code_is_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIDL_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cache, "_compiled", {})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile.save", full)
    found = train(Sequential(Dense(2, 1).initialize(0)))
    assert found == pytest.approx(train(Sequential(Dense(2, 1).initialize(0)), "numpy"), rel=1e-12)
    assert not list(tmp_path.rglob("*.nb[ci]"))


def test_functions_of_the_user_are_told_apart_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIDL_CACHE_DIR", str(tmp_path))
    pairs: list[tuple[Any, Any]] = [(np.square, lambda x: 2.0 * x), (lambda x: -x * x, lambda x: -2.0 * x)]
    for function, derivative in pairs:
        model = Sequential(Dense(2, 1).initialize(0), Activation(function, derivative))
        wanted = train(model.astype("float64"), "numpy")
        assert train(model) == pytest.approx(wanted, rel=1e-12)
    assert not list(tmp_path.iterdir())


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIDL_CACHE_DIR", "/somewhere/else")
    assert cache.cache_folder() == Path("/somewhere/else")
    monkeypatch.delenv("MINIDL_CACHE_DIR")
    assert cache.cache_folder().name == "minidl"
