"""Replace a file atomically and durably."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

CHUNK = 1 << 24
"""Bytes of one write."""

UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EBADF)
"""Errors of a file system that does not support an operation."""

ABANDONED = 3600.0
"""Seconds without a write after which a temporary file is treated as left behind by a killed process."""


def replace_file(path: str, pieces: Sequence[memoryview]) -> None:
    """Write the pieces, one after the other, as the new contents of ``path``, durably.

    A temporary file beside the target is written, flushed to the disk, renamed over the target, and the folder is
    flushed to the disk, in that order. A link is followed, so it still points to the same place.

    Raises:
        OSError: a step failed; the message names the path and the written bytes, and the old file is unchanged.
    """
    target = os.path.realpath(path)
    mode = _mode_of(target, path)
    folder, name = os.path.split(target)
    _sweep(folder, name)
    temporary = os.path.join(folder, f".{name}.{os.urandom(8).hex()}.tmp")
    total = sum(piece.nbytes for piece in pieces)
    done = 0
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            for piece in pieces:
                for start in range(0, piece.nbytes, CHUNK):
                    rest = piece[start : start + CHUNK]
                    while rest.nbytes:
                        written = os.write(descriptor, rest)
                        if not written:
                            raise OSError(0, "the system accepts no more bytes")
                        done += written
                        rest = rest[written:]
            if mode is not None:
                with _where_supported():
                    os.chmod(temporary, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            what = f"{done:,} of {total:,} bytes were written and dropped; the old file is unchanged"
            raise _failure(error, what, path) from None
        raise
    try:
        with _where_supported():
            _flush_folder(folder)
    except OSError as error:
        raise _failure(error, f"all {total:,} bytes are in place, but the folder could not be flushed", path) from None


@contextmanager
def _where_supported() -> Iterator[None]:
    """Ignore errors of a file system (CIFS, FUSE, vfat) that has no permissions or cannot flush a folder."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def _mode_of(target: str, path: str) -> int | None:
    """Return the permissions of the file at ``path``, None if there is none; refuse anything but a plain file."""
    try:
        found = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found):
        raise OSError(0, "expected a plain file or nothing in this place; it was not changed", path)
    return stat.S_IMODE(found)


def _sweep(folder: str, name: str) -> None:
    """Remove temporary files of the same target that killed processes have left behind."""
    with suppress(OSError), os.scandir(folder) as entries:  # The write after this raises the error, if there is one.
        for entry in entries:
            ours = entry.name.startswith(f".{name}.") and entry.name.endswith(".tmp")
            if ours and len(entry.name) == len(name) + 22 and time.time() - entry.stat().st_mtime > ABANDONED:
                os.unlink(entry.path)


def _flush_folder(folder: str) -> None:
    if os.name == "nt":
        return  # Windows cannot flush a folder.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failure(error: OSError, what: str, path: str) -> OSError:
    """Make an error of the same kind that names the path and the bytes."""
    return OSError(error.errno or 0, f"{error.strerror or error}: {what}", path)
