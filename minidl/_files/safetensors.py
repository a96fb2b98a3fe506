"""The safetensors container: read and write named arrays in one file; check everything that is read.

The first eight bytes are the length of the header (little-endian). The header is a JSON object with the dtype, shape
and place of each tensor. The rest of the file is the numbers, little-endian, row by row, without a gap.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from io import FileIO
from math import prod
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from .._core.arrays import path_text
from ..errors import ArgumentError, DTypeError, FileFormatError
from . import strict
from .strict import shortened, shown

DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"), "I32": np.dtype("<i4"), "I16": np.dtype("<i2"), "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"), "U32": np.dtype("<u4"), "U16": np.dtype("<u2"), "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}  # fmt: skip
CODES = {dtype: code for code, dtype in DTYPES.items()}
BITS = {
    **{code: 8 * dtype.itemsize for code, dtype in DTYPES.items()}, "BF16": 16, "C64": 64, "F4": 4, "F6_E2M3": 6,
    "F6_E3M2": 6, "F8_E4M3": 8, "F8_E4M3FNUZ": 8, "F8_E5M2": 8, "F8_E5M2FNUZ": 8, "F8_E8M0": 8,
}  # fmt: skip
"""Bits of a number of each kind. A file may hold all kinds; minidl reads those of `DTYPES`, and BF16."""

LONGEST_HEADER = 1 << 22
MOST_TENSORS = 10_000
LONGEST_NAME = 1_000
MOST_DIMENSIONS = 64
LARGEST = 2**63 - 1

METADATA = "__metadata__"
FIELDS = {"dtype", "shape", "data_offsets"}

OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive, as .npz, .pt and .keras files are",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy .npy file",
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
}


class Entry(NamedTuple):
    """The entry of one tensor in the header.

    Attributes:
        code: Kind of its numbers, as the format names it.
        shape: Its shape.
        start: First byte of its numbers, counted from the end of the header.
        stop: The byte after its last number, counted in the same way.
    """

    code: str
    shape: tuple[int, ...]
    start: int = 0
    stop: int = 0

    @property
    def kind(self) -> str:
        """NumPy's name for the kind of its numbers; if there is none, the format's name."""
        return DTYPES[self.code].name if self.code in DTYPES else self.code


def entry_of(values: npt.NDArray[Any]) -> Entry:
    """Make an entry for an array in memory."""
    return Entry(CODES.get(values.dtype.newbyteorder("<"), values.dtype.name), values.shape)


class TensorFile:
    """An open file with a checked header; the numbers of a tensor are read by `read`.

    Args:
        path: The file; always a path on this machine.

    Attributes:
        path: The same, as text.
        header: The first bytes of the file, up to the numbers.
        entries: Maps the name of each tensor to its entry in the header, in the order of the file.
        metadata: The texts that the file holds besides the tensors.

    Raises:
        FileFormatError: the file breaks the format in any way.
        OSError: there is no such file, or it may not be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path_text(path)
        _require_plain(os.stat(self.path), self.path)
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        self._file = FileIO(os.open(self.path, flags))
        try:
            found = os.fstat(self._file.fileno())
            _require_plain(found, self.path)
            self.header = self._read_header(found.st_size)
            self.entries, self.metadata = parse_header(
                memoryview(self.header)[8:], found.st_size - len(self.header), self.path
            )
        except BaseException:
            self._file.close()
            raise

    def tensor(self, name: str) -> npt.NDArray[Any]:
        """Read one tensor into a fresh array; BF16, which NumPy does not have, becomes float32."""
        entry = self.entries[name]
        is_bfloat = entry.code == "BF16"
        if entry.code not in DTYPES and not is_bfloat:
            raise FileFormatError(self.path, f"a dtype of {[*DTYPES, 'BF16']}", entry.code, name)
        values = np.empty(entry.shape, "<u2" if is_bfloat else DTYPES[entry.code])
        raw = values.reshape(-1).view(np.uint8)
        self._file.seek(len(self.header) + entry.start)
        self._fill(raw.data)
        if entry.code == "BOOL" and raw.size and raw.max() > 1:
            raise FileFormatError(self.path, "bytes 0 and 1 for booleans", f"the byte {raw.max()}", name)
        if is_bfloat:  # A BF16 number is the first half of a float32.
            return np.left_shift(values, 16, dtype=np.uint32, out=np.empty(values.shape, np.uint32)).view(np.float32)
        return values.astype(values.dtype.newbyteorder("="), copy=False)

    def data(self) -> Iterator[memoryview]:
        """Yield all bytes after the header in small pieces."""
        self._file.seek(len(self.header))
        left = max((entry.stop for entry in self.entries.values()), default=0)
        buffer = memoryview(bytearray(min(left, 1 << 20)))
        while left:
            part = buffer[: min(left, len(buffer))]
            self._fill(part)
            left -= len(part)
            yield part

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _read_header(self, size: int) -> bytearray:
        """Read the length and the header, after checking both against the size of the file."""
        if size < 8:
            raise FileFormatError(self.path, "a safetensors file, which begins with 8 bytes of length", f"{size} bytes")
        prefix = bytearray(8)
        self._fill(memoryview(prefix))
        length = int.from_bytes(prefix, "little")
        for start, kind in OTHER_FORMATS.items():
            if prefix.startswith(start) and length > size - 8:
                raise FileFormatError(self.path, "a safetensors file", f"{kind}; it was not opened")
        if not 2 <= length <= min(size - 8, LONGEST_HEADER):
            limit = f"a header of 2 to {LONGEST_HEADER:,} bytes inside of the {size:,} bytes of the file"
            raise FileFormatError(self.path, limit, f"a length of {length:,}")
        header = prefix + bytes(length)
        self._fill(memoryview(header)[8:])
        return header

    def _fill(self, target: memoryview) -> None:
        while target.nbytes:
            count = self._file.readinto(target)
            if not count:
                raise FileFormatError(self.path, f"{target.nbytes:,} more bytes", "the end of the file while reading")
            target = target[count:]


def parse_header(raw: bytes | memoryview, size: int, path: str) -> tuple[dict[str, Entry], dict[str, str]]:
    """Return the tensors and the texts that a header describes; ``size`` bytes follow it.

    Raises:
        FileFormatError: the header breaks the format, or two programs might read it in different ways.
    """
    try:
        text = str(raw, "utf-8")
    except UnicodeDecodeError as error:
        raise FileFormatError(path, "a header in UTF-8", f"{error.reason} at byte {error.start}") from None
    if not text.startswith("{") or not text.rstrip(" ").endswith("}"):
        raise FileFormatError(path, "a header that is one JSON object", shown(text[:40]))
    try:
        fields = strict.parse(text)
    except ValueError as error:
        raise FileFormatError(path, "a header in plain JSON", str(error)) from None
    metadata = _checked_metadata(fields.pop(METADATA, {}), path)
    if len(fields) > MOST_TENSORS:
        raise FileFormatError(path, f"at most {MOST_TENSORS:,} tensors", f"{len(fields):,}")
    entries: dict[str, Entry] = {}
    for name, described in fields.items():
        if complaint := name_complaint(name):
            raise FileFormatError(path, "a name of printable characters for each tensor", complaint)
        entries[name] = _checked_entry(described, size, path, name)
    position = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1][2:]):
        if entry.start != position:
            expected = f"its bytes to begin at {position:,}, where those before it end"
            raise FileFormatError(path, expected, f"{entry.start:,}", name)
        position = entry.stop
    if position != size:
        raise FileFormatError(path, f"{position:,} bytes after the header, as the tensors need", f"{size:,} bytes")
    return entries, metadata


def layout(tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str]) -> tuple[bytes, list[memoryview]]:
    """Return the header (with its length before it) and the bytes of the tensors, in the order of the file.

    Wide numbers come first, so that each tensor begins at a multiple of its number's width.

    Raises:
        ArgumentError: a name or a header that `parse_header` would refuse.
        DTypeError: a kind of number that the format does not have.
    """
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    pieces: list[memoryview] = []
    position = 0
    for name, given in sorted(tensors.items(), key=lambda item: -item[1].dtype.itemsize):
        if complaint := name_complaint(name):
            raise ArgumentError(f"saving: expected a name of printable characters for each tensor, got {complaint}")
        code = CODES.get(given.dtype.newbyteorder("<"))
        if code is None:
            raise DTypeError(f'saving: tensor "{name}": expected a dtype of {list(CODES)}, got {given.dtype}')
        values = np.asarray(given, DTYPES[code], order="C")
        header[name] = {
            "dtype": code, "shape": list(values.shape), "data_offsets": [position, position + values.nbytes],
        }  # fmt: skip
        position += values.nbytes
        pieces.append(values.reshape(-1).view(np.uint8).data)
    text = strict.dump(header).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > LONGEST_HEADER:
        raise ArgumentError(
            f"saving: expected names and metadata of at most {LONGEST_HEADER:,} bytes, got {len(text):,}; "
            "put long lists of numbers into tensors"
        )
    try:
        parse_header(text, position, "saving")
    except FileFormatError as error:
        raise ArgumentError(f"{error}; the file could not be read again, so it was not written") from None
    return len(text).to_bytes(8, "little") + text, pieces


def name_complaint(name: str) -> str:
    """Describe the problem with the name of a tensor; "" if there is none."""
    if not name:
        return "an empty name"
    if len(name) > LONGEST_NAME:
        return f"a name of {len(name):,} characters"
    if name == METADATA or not name.isprintable():
        return f"the name {ascii(name)[:80]}"
    return ""


def _checked_metadata(metadata: object, path: str) -> dict[str, str]:
    if not isinstance(metadata, dict):
        raise FileFormatError(path, f"{METADATA} as an object of texts", shown(metadata))
    for key, text in metadata.items():
        if not isinstance(text, str):
            raise FileFormatError(path, f"a text as {METADATA} {shown(key)}", shown(text))
    return metadata


def _checked_entry(described: object, size: int, path: str, name: str) -> Entry:
    """Check what the header says about one tensor, and return it as an entry."""
    if not isinstance(described, dict) or set(described) != FIELDS:
        found = list(described) if isinstance(described, dict) else described
        raise FileFormatError(path, f"the fields {sorted(FIELDS)}", shown(found), name)
    code, shape, offsets = described["dtype"], described["shape"], described["data_offsets"]
    if not isinstance(code, str) or code not in BITS:
        raise FileFormatError(path, f"a dtype of {list(BITS)}", shown(code), name)
    if (
        not (_are_whole(shape) and len(shape) <= MOST_DIMENSIONS and min(shape, default=0) >= 0)
        or prod(max(n, 1) for n in shape) * BITS[code] > 8 * LARGEST
    ):
        limits = f"at most {MOST_DIMENSIONS} of them, whose bytes can be counted below 2^63"
        raise FileFormatError(path, f"a shape of whole numbers from 0, {limits}", shown(shape), name)
    if not (_are_whole(offsets) and len(offsets) == 2 and 0 <= offsets[0] <= offsets[1] <= size):
        expected = f"two whole numbers as data_offsets, in order between 0 and {size:,}"
        raise FileFormatError(path, expected, shown(offsets), name)
    start, stop = offsets
    needed = prod(shape) * BITS[code]
    if 8 * (stop - start) != needed:
        expected = shortened(f"{needed / 8:,.15g} bytes for {code} of shape {tuple(shape)}")
        raise FileFormatError(path, expected, f"{stop - start:,} bytes", name)
    return Entry(code, tuple(shape), start, stop)


def _are_whole(values: object) -> bool:
    return isinstance(values, list) and all(type(n) is int for n in values)


def _require_plain(found: os.stat_result, path: str) -> None:
    """Refuse folders, pipes and devices before a read could wait for them forever."""
    if not stat.S_ISREG(found.st_mode):
        kind = "a directory" if stat.S_ISDIR(found.st_mode) else "a pipe, socket or device"
        raise FileFormatError(path, "a plain file", kind)
