"""The limits of files: what reaches a limit is read and written, and one more is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

from minidl import Dense, Layer, Sequential, Tanh, load, save
from minidl._files import architecture, safetensors, strict
from minidl._files.generators import decode_generator, encode_generator
from minidl.errors import ArgumentError, FileFormatError

TWO_CHAINS: Layer = Sequential(Sequential(Dense(1, 1)))
"""Its numbers lie five levels deep: object, list, object, list, object, number."""


def header(**tensors: Any) -> None:
    safetensors.parse_header(json.dumps(tensors).encode(), 0, "file")


def entry(*shape: int) -> dict[str, Any]:
    return {"dtype": "F64", "shape": shape, "data_offsets": [0, 0]}


class Limit(NamedTuple):
    """A limit, what reaches it in a folder with a file of `TWO_CHAINS`, and the error of one more."""

    module: ModuleType
    name: str
    reached: int
    call: Callable[[Path], object]
    error: type[Exception]
    words: str


LIMITS = {
    "texts": Limit(strict, "MOST_VALUES", 3, lambda _: strict.parse('{"a":"b","c":"d","e":"f"}'), ValueError,
                   "^6 texts .at most 4 "),
    "values": Limit(strict, "MOST_VALUES", 3, lambda _: strict.parse("[1,2,3]"), ValueError, "^3 values .at most 2 "),
    "levels": Limit(strict, "MOST_LEVELS", 3, lambda _: strict.parse("[[[1]]]"), ValueError, "^values nested too deep"),
    "whole": Limit(strict, "MOST_DIGITS", 5, lambda _: strict.parse("12345"), ValueError, "^a whole number of 5 "),
    "number": Limit(strict, "MOST_DIGITS", 5, lambda _: strict.parse("1.234"), ValueError, "^the number '1.234'"),
    "tensors": Limit(safetensors, "MOST_TENSORS", 2, lambda _: header(a=entry(0), b=entry(0)), FileFormatError,
                     "expected at most 1 tensors, got 2"),
    "name": Limit(safetensors, "LONGEST_NAME", 4, lambda _: header(name=entry(0)), FileFormatError,
                  "a name of 4 characters"),
    "dimensions": Limit(safetensors, "MOST_DIMENSIONS", 3, lambda _: header(a=entry(0, 1, 1)), FileFormatError,
                        "whole numbers from 0, at most 2 of them"),
    "bytes": Limit(safetensors, "LARGEST", 24, lambda _: header(a=entry(0, 3)), FileFormatError,
                   "whose bytes can be counted below"),
    "layers read": Limit(architecture, "MOST_PARTS", 3, lambda path: load(path), FileFormatError,
                         "expected at most 2 layers and merges, got more"),
    "layers written": Limit(architecture, "MOST_PARTS", 3, lambda path: save(Sequential(Tanh(), Tanh()), path),
                            ArgumentError, "expected at most 2 layers and merges in a model, got 3"),
    "levels read": Limit(architecture, "DEEPEST", 5, lambda path: load(path), FileFormatError, "nested too deeply"),
    "levels written": Limit(architecture, "DEEPEST", 5, lambda path: save(TWO_CHAINS, path), ArgumentError,
                            "expected a model nested less deeply"),
}


@pytest.mark.parametrize("name", LIMITS)
def test_what_reaches_a_limit_passes_and_one_more_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, path = LIMITS[name], tmp_path / "file"
    save(TWO_CHAINS, path)
    monkeypatch.setattr(limit.module, limit.name, limit.reached)
    limit.call(path)
    monkeypatch.setattr(limit.module, limit.name, limit.reached - 1)
    with pytest.raises(limit.error, match=limit.words) as caught:
        limit.call(path)
    assert type(caught.value) is limit.error


def test_the_longest_header_is_read_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    save(TWO_CHAINS, path)
    length = int.from_bytes(path.read_bytes()[:8], "little")
    monkeypatch.setattr(safetensors, "LONGEST_HEADER", length)
    save(TWO_CHAINS, path)
    load(path)
    monkeypatch.setattr(safetensors, "LONGEST_HEADER", length - 1)
    with pytest.raises(FileFormatError, match=f"a header of 2 to {length - 1:,} bytes .* got a length of {length:,}"):
        load(path)
    with pytest.raises(ArgumentError, match=f"names and metadata of at most {length - 1:,} bytes, got {length:,}"):
        save(TWO_CHAINS, path)


def test_the_most_texts_and_lists_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    save(Sequential(Tanh(), Tanh()), path)  # four objects: the chain, the tuple of its layers, and both of them
    monkeypatch.setattr(architecture, "MOST_WORDS", 4)
    load(path)
    monkeypatch.setattr(architecture, "MOST_WORDS", 3)
    with pytest.raises(FileFormatError, match="an architecture of at most 3 texts and lists, got more"):
        load(path)


@pytest.mark.parametrize(
    ("kind", "field", "least", "largest"),
    [("PCG64", "state", 0, 2**128 - 1), ("PCG64", "inc", 0, 2**128 - 1), ("PCG64", "has_uint32", 0, 1),
     ("PCG64", "uinteger", 0, 2**32 - 1), ("MT19937", "pos", 0, 624), ("Philox", "buffer_pos", 1, 4)],
)
def test_a_number_of_a_generator_may_be_what_numpy_takes(kind: str, field: str, least: int, largest: int) -> None:
    state = encode_generator(np.random.Generator(getattr(np.random, kind)(0)))
    place = state["state"] if field in ("state", "inc", "pos") else state
    for number in (least, largest):
        place[field] = number
        decoded = encode_generator(decode_generator(state))
        assert (decoded["state"] if place is not state else decoded)[field] == number
    for number in (least - 1, largest + 1):
        place[field] = number
        with pytest.raises(ValueError, match=f"'{field}' with a number outside of {least} … {largest}"):
            decode_generator(state)
