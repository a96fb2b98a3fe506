"""The command that compiles ahead: afterwards a training of such a network compiles nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")

from minidl import Adam, MeanSquaredError, Tanh, Trainer, mlp
from minidl._compiled.cache import cache_folder
from minidl.compile_ahead import main

ONE = ["--hidden", "1", "--activations", "Tanh", "--losses", "MeanSquaredError", "--dtypes", "float64"]


def programs() -> set[Path]:
    return set(cache_folder().glob("minidl_*.py"))


def test_a_training_finds_its_program(capsys: pytest.CaptureFixture[str]) -> None:
    main([*ONE, "--batches", "16", "200"])
    assert "1 x Tanh, MeanSquaredError, Adam, float64: " in capsys.readouterr().out
    before = programs()
    for width, rows in ((40, 16), (20, 200)):
        model = mlp([5, width, 16], activation=Tanh, rng=0)
        run = Trainer(model, MeanSquaredError(), Adam(model.parameters()), rng=0, engine="compiled")
        run.fit(np.ones((rows, 5)), np.ones((rows, 16)), epochs=1, batch_size=rows)
    assert before
    assert programs() == before


def test_an_unknown_kind_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--activations", "Relu"])
    assert "invalid choice: 'Relu'" in capsys.readouterr().err


def test_a_cache_folder_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MINIDL_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.raises(SystemExit, match=r"nothing was kept in .*cache, which cannot be written; set MINIDL_CACHE_DIR"):
        main([*ONE, "--batches", "8"])
