"""Files of models and runs: tensors, one JSON entry, and a checksum over both.

The entry is in the container's metadata under ``"minidl"``, and repeats this name inside. So if the name is damaged,
the file is not mistaken for one of another program, which has no checksum.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy.typing as npt

from .._core.arrays import path_text
from ..errors import ArgumentError, FileFormatError
from . import strict
from .atomic import replace_file
from .safetensors import TensorFile, layout
from .strict import shown

FORMAT = "minidl"
VERSION = 2
"""Version of the files that are written. minidl 0.1 wrote version 1; since then only the state of a run has changed."""

UNSIGNED = "0" * 64
RESERVED = {"format", "version", "sha256"}


class StateFile(NamedTuple):
    """The contents of a file.

    Attributes:
        tensors: Maps names to fresh arrays.
        metadata: The JSON entry, without version and checksum; None where another program wrote the file.
        version: Version of the file; None where another program wrote it.
    """

    tensors: dict[str, npt.NDArray[Any]]
    metadata: dict[str, Any] | None
    version: int | None


def write(path: str | os.PathLike[str], tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, Any]) -> None:
    """Replace the file at ``path`` by tensors and metadata, atomically and durably.

    Raises:
        ArgumentError: metadata that is not JSON, or is larger than `read` accepts.
        DTypeError: a tensor that is not made of numbers.
        OSError: the write failed; the message names path and bytes, and the old file is unchanged.
    """
    if not RESERVED.isdisjoint(metadata):
        raise ArgumentError(f"saving: expected metadata without the keys {sorted(RESERVED)}, got {list(metadata)}")
    try:
        text = strict.dump({"format": FORMAT, "version": VERSION, "sha256": UNSIGNED, **metadata})
        strict.parse(text)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"saving: expected metadata of plain, finite values, got {error}") from None
    header, pieces = layout(tensors, {FORMAT: text})
    digest = _digest(header, pieces)
    signed = header.replace(UNSIGNED.encode(), digest.encode(), 1)
    replace_file(path_text(path), [memoryview(signed), *pieces])


def read(path: str | os.PathLike[str]) -> StateFile:
    """Read a whole file and check it.

    Raises:
        FileFormatError: the file is damaged, hostile, or of a newer version.
        OSError: there is no such file, or it may not be read.
    """
    with TensorFile(path) as file:
        metadata = checked_metadata(file)
        version = None if metadata is None else metadata.pop("version")
        return StateFile({name: file.tensor(name) for name in file.entries}, metadata, version)


def checked_metadata(file: TensorFile) -> dict[str, Any] | None:
    """Check the checksum of an open file and return its JSON entry; None if another program wrote the file.

    The entry still contains the version of the file.

    Raises:
        FileFormatError: the entry is damaged or of a newer version, or the checksum differs.
    """
    opening = strict.dump({"format": FORMAT})[:-1]
    for key, text in file.metadata.items():
        if (key == FORMAT) != text.startswith(opening):
            expected = f"metadata {FORMAT!r} that begins with its own name"
            raise FileFormatError(file.path, expected, shown(f"{key}: {text}"))
    if FORMAT not in file.metadata:
        return None
    try:
        metadata: dict[str, Any] = strict.parse(file.metadata[FORMAT])
    except ValueError as error:
        raise FileFormatError(file.path, f"metadata {FORMAT!r} in plain JSON", str(error)) from None
    del metadata["format"]  # It is an object: the text begins with this key.
    version, digest = metadata.get("version"), metadata.pop("sha256", None)
    if type(version) is not int or not 1 <= version <= VERSION:
        newer = "; a newer minidl wrote it" if type(version) is int and version > VERSION else ""
        raise FileFormatError(file.path, f"file version 1 to {VERSION}", f"{shown(version)}{newer}")
    is_digest = isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest) is not None
    if not is_digest or file.header.count(digest.encode()) != 1:
        raise FileFormatError(file.path, "one SHA-256 of 64 digits", shown(digest))
    found = _digest(file.header.replace(digest.encode(), UNSIGNED.encode()), file.data())
    if found != digest:
        was = f"{found[:16]}…; the file was changed"
        raise FileFormatError(file.path, f"contents with SHA-256 {digest[:16]}…", was)
    return metadata


def _digest(header: bytes | bytearray, pieces: Iterable[memoryview]) -> str:
    """Return the SHA-256 of a file; zeros take the place of the checksum that it holds."""
    sha = hashlib.sha256(header)
    for piece in pieces:
        sha.update(piece)
    return sha.hexdigest()
