"""Saving loses nothing: the order of the steps, and what stands when one of them fails."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidl import Dense, Sequential, load, save, save_weights
from minidl._files import read, write
from minidl.errors import ArgumentError, DTypeError, FileFormatError

OLD = {"w": np.arange(4.0)}
NEW = {"w": np.arange(5000.0)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is there already."""
    target = tmp_path / "model.safetensors"
    write(target, OLD, {"which": "old"})
    return target


def stands(path: Path) -> bool:
    """Whether the old file is whole and alone in its folder."""
    old = read(path)
    assert old.metadata == {"which": "old"}
    np.testing.assert_array_equal(old.tensors["w"], OLD["w"])
    return os.listdir(path.parent) == [path.name]


def test_the_steps_come_in_the_order_that_loses_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    names: dict[int, str] = {}
    opened: list[str] = []

    def recorded(name: str, describe: Callable[..., str]) -> None:
        original = getattr(os, name)

        def step(*arguments: Any, **keywords: Any) -> Any:
            result = original(*arguments, **keywords)
            if name == "open":
                names[result] = os.fspath(arguments[0])
                opened.append(names[result])
            if not steps or steps[-1] != describe(*arguments):
                steps.append(describe(*arguments))
            return result

        monkeypatch.setattr(os, name, step)

    def kind(descriptor: int) -> str:
        return "folder" if names[descriptor] == str(path.parent) else "temporary"

    recorded("open", lambda target, *_: f"open {'folder' if target == str(path.parent) else 'temporary'}")
    recorded("write", lambda descriptor, _: f"write {kind(descriptor)}")
    recorded("fsync", lambda descriptor: f"flush {kind(descriptor)}")
    recorded("close", lambda descriptor: f"close {kind(descriptor)}")
    recorded("replace", lambda source, target: f"rename to {os.path.basename(target)}")
    write(path, NEW, {})
    monkeypatch.undo()
    assert steps == [
        "open temporary", "write temporary", "flush temporary", "close temporary",
        "rename to model.safetensors", "open folder", "flush folder", "close folder",
    ]  # fmt: skip
    assert opened[0] != str(path)
    assert os.path.dirname(opened[0]) == str(path.parent)
    np.testing.assert_array_equal(read(path).tensors["w"], NEW["w"])


FAULTS = {
    "full disk": ("write", errno.ENOSPC, 1, "0 of"),
    "full disk half way": ("write", errno.ENOSPC, 2, "of 40,"),
    "I/O error while writing": ("write", errno.EIO, 2, "of 40,"),
    "over the quota": ("write", errno.EDQUOT, 1, "0 of"),
    "I/O error while flushing": ("fsync", errno.EIO, 1, "40,"),
    "no permission for a new file": ("open", errno.EACCES, 1, "0 of"),
    "read-only file system": ("open", errno.EROFS, 1, "0 of"),
    "no permission to rename": ("replace", errno.EACCES, 1, "40,"),
    "I/O error while closing": ("close", errno.EIO, 1, "40,"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_fault_the_old_file_stands(fault: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, number, at, words = FAULTS[fault]
    original = getattr(os, name)
    calls = 0

    def faulty(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            if name == "close":
                original(*arguments)
            raise OSError(number, os.strerror(number))
        if name == "write":
            arguments = (arguments[0], arguments[1][:100])
        return original(*arguments, **keywords)

    monkeypatch.setattr(os, name, faulty)
    with pytest.raises(OSError, match="bytes were written and dropped; the old file is unchanged") as caught:
        write(path, NEW, {})
    monkeypatch.undo()
    assert caught.value.errno == number
    assert caught.value.filename == str(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert stands(path)


def test_a_system_that_takes_few_bytes_at_a_time_gets_them_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: original(descriptor, data[:777]))
    write(path, NEW, {})
    np.testing.assert_array_equal(read(path).tensors["w"], NEW["w"])


def test_a_system_that_takes_no_bytes_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", lambda descriptor, data: 0)
    with pytest.raises(OSError, match="accepts no more bytes: 0 of"):
        write(path, NEW, {})
    assert stands(path)


def test_a_limit_on_the_size_of_files_is_met_for_real(path: Path) -> None:
    program = (
        "import resource, signal, sys, numpy as np\n"
        "from minidl._files import write\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "write(sys.argv[1], {'w': np.arange(5000.0)}, {})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 1
    assert "File too large: 20,000 of 40," in done.stderr
    assert str(path) in done.stderr
    assert stands(path)


def test_an_interrupt_while_writing_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(descriptor: int, data: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(path, NEW, {})
    monkeypatch.undo()
    assert stands(path)


def test_a_folder_that_cannot_be_flushed_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.fsync

    def faulty(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        original(descriptor)

    monkeypatch.setattr(os, "fsync", faulty)
    with pytest.raises(OSError, match="are in place, but the folder could not be flushed") as caught:
        write(path, NEW, {})
    assert caught.value.filename == str(path)
    np.testing.assert_array_equal(read(path).tensors["w"], NEW["w"])


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EPERM, errno.ENOTSUP, errno.EBADF])
def test_file_systems_without_permissions_or_folder_flush_take_files(
    number: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.fsync

    def refusing(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            refusing()
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "chmod", refusing)
    for _ in range(2):
        write(path, NEW, {})
    assert os.listdir(path.parent) == [path.name]
    np.testing.assert_array_equal(read(path).tensors["w"], NEW["w"])


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="0 of") as caught:
        write(tmp_path / "no" / "model", NEW, {})
    assert caught.value.filename == str(tmp_path / "no" / "model")


def test_what_is_no_plain_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(OSError, match="expected a plain file or nothing"):
            write(tmp_path / name, NEW, {})
    assert sorted(os.listdir(tmp_path)) == ["folder", "pipe"]


def test_a_link_goes_on_pointing_to_its_place(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link"
    link.symlink_to(path)
    write(link, NEW, {})
    assert link.is_symlink()
    np.testing.assert_array_equal(read(path).tensors["w"], NEW["w"])
    assert os.listdir(link.parent) == ["link"]


def test_permissions_are_those_of_the_old_file_or_the_usual_ones(path: Path) -> None:
    path.chmod(0o640)
    write(path, NEW, {})
    assert path.stat().st_mode & 0o777 == 0o640
    usual = os.umask(0o022)
    try:
        write(path.with_name("fresh"), NEW, {})
    finally:
        os.umask(usual)
    assert path.with_name("fresh").stat().st_mode & 0o777 == 0o644


def test_what_killed_processes_left_is_removed_after_an_hour(path: Path) -> None:
    old, young = (path.with_name(f".{path.name}.{digit * 16}.tmp") for digit in "ab")
    other = path.with_name(".other.safetensors.aaaaaaaaaaaaaaaa.tmp")
    for left in (old, young, other):
        left.write_bytes(b"half")
    for left in (old, other):
        os.utime(left, (time.time() - 7200,) * 2)
    write(path, NEW, {})
    assert sorted(os.listdir(path.parent)) == sorted([young.name, other.name, path.name])


def test_models_are_saved_this_way(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced: list[str] = []
    original = os.replace

    def recorded(source: str, target: str) -> None:
        replaced.append(target)
        original(source, target)

    monkeypatch.setattr(os, "replace", recorded)
    save(Sequential(Dense(1, 1)), path)
    save_weights(Sequential(Dense(1, 1)), path)
    assert replaced == [str(path)] * 2


def test_killed_savers_lose_nothing() -> None:
    from tests.campaigns.kills import kill_savers

    result = kill_savers(20, seed=0)
    assert result.lost == []
    assert result.tried == 20
    assert result.during > 0


def test_the_kill_test_notices_a_saver_that_writes_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.campaigns import kills

    def in_place(path: str, pieces: list[memoryview]) -> None:
        with open(path, "wb") as file:
            for piece in pieces:
                file.write(piece)
                file.flush()

    monkeypatch.setattr("minidl._files.statefile.replace_file", in_place)
    assert kills.kill_savers(20, seed=0).lost


def test_a_file_that_cannot_be_read_back_is_not_written(path: Path) -> None:
    many = {f"t{i}": np.zeros(0) for i in range(10_001)}
    for tensors, metadata, words in (
        (many, {}, "at most 10,000 tensors"),
        ({"": np.zeros(1)}, {}, "an empty name"),
        ({"a\nb": np.zeros(1)}, {}, r"a\\nb"),
        ({"__metadata__": np.zeros(1)}, {}, "__metadata__"),
        ({"w": np.zeros(1)}, {"loss": float("nan")}, "finite values"),
        ({"w": np.zeros(1)}, {"loss": {1, 2}}, "plain, finite values"),
        ({"w": np.zeros(1)}, {"history": [0] * 200_001}, "200,0"),
        ({"w": np.zeros(1)}, {"note": "x" * (1 << 22)}, "put long lists of numbers into tensors"),
        ({"w": np.zeros(1)}, {"version": 7}, "without the keys"),
        ({"w": np.zeros(1)}, {"big": 10**60}, "61 digits"),
    ):
        with pytest.raises(ArgumentError, match=words):
            write(path, tensors, metadata)
    for bad in (np.array(["a"]), np.array([object()]), np.zeros(1, complex), np.zeros(1, "datetime64[s]")):
        with pytest.raises(DTypeError, match='tensor "w"'):
            write(path, {"w": bad}, {})
    assert stands(path)
    assert not issubclass(FileFormatError, OSError)
    with pytest.raises(FileFormatError, match="load_weights"):
        load(path.with_name(path.name))
