"""Files that must be refused: a table of (name, bytes, words of the message), built without minidl's own writer."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Json = dict[str, Any]


class Hostile(NamedTuple):
    name: str
    make: Callable[[], bytes]
    words: str


def frame(header: bytes, data: bytes = b"") -> bytes:
    """Put a length before a header."""
    return len(header).to_bytes(8, "little") + header + data


def packed(header: Json, data: bytes = b"") -> bytes:
    return frame(json.dumps(header).encode(), data)


def signed(tensors: Json, entry: Json, data: bytes) -> bytes:
    """Build a whole file with a right checksum, whatever it says."""
    blank = {"format": "minidl", "version": 1, "sha256": "0" * 64, **entry}
    return signed_text(tensors, json.dumps(blank, separators=(",", ":")), data)


def signed_text(tensors: Json, text: str, data: bytes) -> bytes:
    """Build a whole file whose entry has 64 zeros in the place of the right checksum."""
    raw = packed({"__metadata__": {"minidl": text}, **tensors}, data)
    return raw.replace(b"0" * 64, hashlib.sha256(raw).hexdigest().encode(), 1)


def split(raw: bytes) -> tuple[Json, Json, bytes]:
    """Take a file apart: tensors, the JSON entry, the numbers."""
    length = int.from_bytes(raw[:8], "little")
    tensors = json.loads(raw[8 : 8 + length])
    metadata = tensors.pop("__metadata__", {})
    return tensors, json.loads(metadata.get("minidl", "{}")), raw[8 + length :]


def dense(path: str, wide: Any = 2, out: Any = 2, **more: Any) -> Json:
    return {"class": "Dense", "path": path, "arguments": {"in_features": wide, "out_features": out, **more}}


def chain(*layers: Any, **more: Any) -> Json:
    return {"class": "Sequential", "path": "", "arguments": {"layers": list(layers), **more}}


DATA = np.arange(6.0).tobytes()
TENSORS: Json = {
    "0.weight": {"dtype": "F64", "shape": [2, 2], "data_offsets": [0, 32]},
    "0.bias": {"dtype": "F64", "shape": [2], "data_offsets": [32, 48]},
}
ENTRY: Json = {"architecture": chain(dense("0")), "shared": [], "generators": {}}
GOOD = signed(TENSORS, ENTRY, DATA)
DIGEST = split(GOOD)[1]["sha256"].encode()


def tensor(data: bytes = DATA, **changes: Any) -> Callable[[], bytes]:
    """Change fields of the first tensor; None takes the field away."""

    def make() -> bytes:
        tensors = copy.deepcopy(TENSORS)
        for field, value in changes.items():
            tensors["0.weight"][field] = value
            if value is None:
                del tensors["0.weight"][field]
        return signed(tensors, ENTRY, data)

    return make


def entry(**changes: Any) -> Callable[[], bytes]:
    return lambda: signed(TENSORS, {**ENTRY, **changes}, DATA)


def built(*layers: Any) -> Callable[[], bytes]:
    return entry(architecture=chain(dense("0"), *layers))


def text(old: str, new: str) -> Callable[[], bytes]:
    """Change the text of a header without tensors that would be good."""
    good = '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    assert old in good
    return lambda: frame(good.replace(old, new, 1).encode(), b"\0")


def graph(nodes: int, inputs: int) -> Callable[[], bytes]:
    """A graph of many nodes with many inputs each, given in the order that is the worst."""
    made = {}
    for place in reversed(range(nodes)):
        merge = {"class": "Concat", "path": f"n{place}", "arguments": {}}
        made[f"n{place}"] = {"tuple": [merge, *[f"n{place - 1}" if place else "x"] * inputs]}
    return entry(architecture={"class": "Graph", "path": "", "arguments": {
        "nodes": {"mapping": made}, "output": f"n{nodes - 1}"}})


def archive() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        made.writestr("data.pkl", "x")
    return target.getvalue()


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('unpickled')",))


def nested(depth: int) -> Callable[[], bytes]:
    """A layer in a layer in a layer; written as text, for Python's own writer gives up."""
    opening = "".join(f'{{"class":"Residual","path":"r{i}","arguments":{{"layer":' for i in range(depth))
    tree = opening + json.dumps(dense("0")) + "}}" * depth
    start = f'{{"format":"minidl","version":1,"sha256":"{"0" * 64}","architecture":'
    return lambda: signed_text(TENSORS, f'{start}{tree},"shared":[],"generators":{{}}}}', DATA)


def generator(**changes: Any) -> Callable[[], bytes]:
    state = np.random.default_rng(0).bit_generator.state
    dropout = {"class": "Dropout", "path": "1", "arguments": {"rate": 0.5}}
    states = {"1.rng": {**state, **changes}}
    return entry(architecture=chain(dense("0"), dropout), generators=states)


def twister(position: int) -> Callable[[], bytes]:
    inner = {"key": list(range(624)), "pos": position}
    dropout = {"class": "Dropout", "path": "1", "arguments": {"rate": 0.5}}
    states = {"1.rng": {"bit_generator": "MT19937", "state": inner}}
    return entry(architecture=chain(dense("0"), dropout), generators=states)


def many(count: int, name: str) -> bytes:
    return packed({name.format(i): {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(count)})


def numbers(*values: float, dtype: str = "<f8") -> bytes:
    return np.array(values, dtype).tobytes()


FRAMING = [
    Hostile("empty", lambda: b"", "8 bytes of length, got 0 bytes"),
    Hostile("seven bytes", lambda: b"\2\0\0\0\0\0\0", "got 7 bytes"),
    Hostile("header length 0", lambda: bytes(8) + b"{}", "a length of 0"),
    Hostile("header length 1", lambda: frame(b"{"), "a length of 1"),
    Hostile("header beyond the file", lambda: (100).to_bytes(8, "little") + b"{}", "inside of the 10 bytes"),
    Hostile("header one beyond", lambda: (3).to_bytes(8, "little") + b"{}", "a length of 3"),
    Hostile("header beyond the cap", lambda: frame(b"{" + b" " * (1 << 22) + b"}"), "header of 2 to 4,194,304"),
    Hostile("header of 2^63", lambda: (2**63).to_bytes(8, "little") + b"{}" * 50, "9,223,372,036,854,775,808"),
    Hostile("header of 2^64 - 1", lambda: b"\xff" * 8 + b"{}" * 50, "18,446,744,073,709,551,615"),
    Hostile("one byte cut off", lambda: GOOD[:-1], "between 0 and 47"),
    Hostile("bytes appended", lambda: GOOD + b"\0", "48 bytes after the header"),
    Hostile("a pickle", lambda: pickle.dumps([Bomb()] * 3, 4), "a pickle; it was not opened"),
    Hostile("an old pickle", lambda: pickle.dumps(Bomb(), 0), "got a length of"),
    Hostile("a zip", archive, "a zip archive"),
    Hostile("an HDF5 file", lambda: b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
    Hostile("a npy file", lambda: b"\x93NUMPY\x01\x00" + bytes(100), "NumPy"),
    Hostile("text", lambda: b"import os\nos.system('true')\n", "a length of"),
]

HEADER = [
    Hostile("not UTF-8", lambda: frame(b'{"\xff":0}'), "header in UTF-8"),
    Hostile("UTF-16", lambda: frame("{}".encode("utf-16")), "header in UTF-8"),
    Hostile("byte order mark", lambda: frame(b"\xef\xbb\xbf{}"), "one JSON object"),
    Hostile("not JSON", lambda: frame(b"{'a': 1}"), "plain JSON"),
    Hostile("a list", lambda: frame(b"[1,2]"), "one JSON object, got '[1,2]'"),
    Hostile("null", lambda: frame(b"null"), "one JSON object"),
    Hostile("a text", lambda: frame(b'"{}"'), "one JSON object"),
    Hostile("leading space", lambda: frame(b" {}"), "one JSON object, got ' {}'"),
    Hostile("trailing newline", lambda: frame(b"{}\n"), "one JSON object"),
    Hostile("two objects", lambda: frame(b"{}{}"), "plain JSON"),
    Hostile("NaN", text("[1]", "[NaN]"), "NaN"),
    Hostile("Infinity", text("[1]", "[Infinity]"), "Infinity"),
    Hostile("minus Infinity", text("[0,1]", "[-Infinity,1]"), "Infinity"),
    Hostile("float that overflows", text("[1]", "[1e999]"), "1e999"),
    Hostile("duplicate tensor", text('{"a"', '{"a":0,"a"'), "the key 'a' twice"),
    Hostile("duplicate field", text('"dtype"', '"shape":[9],"dtype"'), "the key 'shape' twice"),
    Hostile("nesting of 100,000", lambda: frame(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "too deeply"),
    Hostile("a million lists", lambda: frame(b'{"a":[' + b"[]," * 1_000_000 + b"[]]}"), "at most 200,000"),
    Hostile("a million texts", lambda: frame(b'{"a":[' + b'"",' * 1_000_000 + b"[]]}"), "at most 400,000"),
    Hostile("one long text", lambda: frame(b'{"a":"' + b"x" * 4_000_000 + b'"}'), '"a": expected the fields'),
    Hostile("nothing but closing", lambda: frame(b"{" + b"]" * 4_000_000 + b"}"), "plain JSON"),
    Hostile("nothing but space", lambda: frame(b"{" + b" " * 4_000_000 + b"1}"), "plain JSON"),
    Hostile("one long text of wide characters", lambda: frame(
        b'{"a":"' + "ä€😀".encode() * 400_000 + b'"}'), '"a": expected the fields'),
    Hostile("one wide character in a long text", lambda: frame(
        b'{"a":["' + b"x" * 4_000_000 + "😀".encode() + b'"]}'), '"a": expected the fields'),
    Hostile("nothing but quotes", lambda: frame(b"{" + b'"' * 4_000_000 + b"}"), "at most 400,000"),
    Hostile("brackets without end", lambda: frame(b"{" * 400_000 + b"}"), "at most 200,000"),
    Hostile("an integer of 5,000 digits", text("[1]", f"[{'9' * 5000}]"), "5,000 digits"),
    Hostile("a float of 5,000 digits", text("[1]", f"[0.{'9' * 5000}]"), "out of range"),
    Hostile("too many tensors", lambda: many(10_001, "t{}"), "at most 10,000 tensors, got 10,001"),
    Hostile("empty name", text('"a"', '""'), "an empty name"),
    Hostile("control character in a name", text('"a"', '"a\\u0000b"'), r"a\x00b"),
    Hostile("newline in a name", text('"a"', '"a\\nb"'), r"a\nb"),
    Hostile("raw control character", text('"a"', '"a\tb"'), "plain JSON"),
    Hostile("half a surrogate in a name", text('"a"', '"\\ud800"'), r"\ud800"),
    Hostile("text direction in a name", text('"a"', '"\\u202e"'), r"\u202e"),
    Hostile("over-long name", text('"a"', f'"{"a" * 1001}"'), "1,001 characters"),
    Hostile("metadata is a list", lambda: packed({"__metadata__": []}), "__metadata__ as an object"),
    Hostile("metadata is null", lambda: packed({"__metadata__": None}), "__metadata__ as an object"),
    Hostile("metadata of numbers", lambda: packed({"__metadata__": {"a": 1}}), "a text as __metadata__ 'a', got 1"),
    Hostile("metadata of objects", lambda: packed({"__metadata__": {"a": {}}}), "a text as __metadata__"),
]

ENTRIES = [
    Hostile("no dtype", tensor(dtype=None), "the fields ['data_offsets', 'dtype', 'shape']"),
    Hostile("no shape", tensor(shape=None), '"0.weight": expected the fields'),
    Hostile("no offsets", tensor(data_offsets=None), '"0.weight": expected the fields'),
    Hostile("unknown field", tensor(module="os"), "'module'"),
    Hostile("entry is a list", lambda: packed({"a": []}), 'tensor "a": expected the fields'),
    Hostile("entry is null", lambda: packed({"a": None}), 'tensor "a": expected the fields'),
    Hostile("dtype is a number", tensor(dtype=8), "a dtype of"),
    Hostile("dtype is a list", tensor(dtype=["F64"]), "a dtype of"),
    Hostile("unknown dtype", tensor(dtype="F65"), "got 'F65'"),
    Hostile("object dtype", tensor(dtype="O"), "got 'O'"),
    Hostile("object dtype by name", tensor(dtype="object"), "got 'object'"),
    Hostile("half a byte", tensor(dtype="F4", shape=[3]), "1.5 bytes for F4"),
    Hostile("a dtype that NumPy does not have", tensor(dtype="C64"), "got C64"),
    Hostile("NumPy's own name", tensor(dtype="<f8"), "got '<f8'"),
    Hostile("shape is a number", tensor(shape=4), "a shape of whole numbers"),
    Hostile("shape is a text", tensor(shape="22"), "a shape of whole numbers"),
    Hostile("shape is null", lambda: signed({**TENSORS, "0.weight": {**TENSORS["0.weight"], "shape": {}}}, ENTRY, DATA),
            "a shape of whole numbers"),
    Hostile("float dimension", tensor(shape=[2.0, 2]), "got [2.0, 2]"),
    Hostile("bool dimension", tensor(shape=[True, 4]), "got [True, 4]"),
    Hostile("text dimension", tensor(shape=["2", 2]), "got ['2', 2]"),
    Hostile("negative dimension", tensor(shape=[-2, -2]), "got [-2, -2]"),
    Hostile("huge dimension", tensor(shape=[2**63]), "2^63"),
    Hostile("65 dimensions", tensor(shape=[1] * 65), "at most 64 of them"),
    Hostile("a product that overflows", tensor(shape=[2**32, 2**32]), "whose bytes can be counted"),
    Hostile("a product that wraps to 4", tensor(shape=[2**62 + 1, 4]), "whose bytes can be counted"),
    Hostile("a huge shape of nothing", tensor(shape=[0, 2**62, 8]), "whose bytes can be counted"),
    Hostile("a size that is too large", tensor(shape=[2, 3]), "48 bytes for F64 of shape (2, 3), got 32 bytes"),
    Hostile("a size that is too small", tensor(shape=[2, 1]), "16 bytes for F64 of shape (2, 1), got 32 bytes"),
    Hostile("a width that does not match", tensor(dtype="F32"), "16 bytes for F32"),
    Hostile("booleans beyond 1", lambda: signed({"0.weight": {"dtype": "BOOL", "shape": [2], "data_offsets": [0, 2]}},
            ENTRY, b"\1\2"), "bytes 0 and 1 for booleans, got the byte 2"),
]

OFFSETS = [
    Hostile("one offset", tensor(data_offsets=[0]), "two whole numbers"),
    Hostile("three offsets", tensor(data_offsets=[0, 32, 32]), "two whole numbers"),
    Hostile("offsets are an object", tensor(data_offsets={"0": 32}), "two whole numbers"),
    Hostile("float offset", tensor(data_offsets=[0, 32.0]), "two whole numbers"),
    Hostile("bool offset", tensor(data_offsets=[False, 32]), "two whole numbers"),
    Hostile("reversed", tensor(data_offsets=[32, 0]), "in order between 0 and 48, got [32, 0]"),
    Hostile("negative", tensor(data_offsets=[-32, 0]), "in order between 0 and 48"),
    Hostile("past the end", tensor(data_offsets=[32, 64]), "in order between 0 and 48, got [32, 64]"),
    Hostile("far past the end", tensor(data_offsets=[2**64, 2**64 + 32]), "in order between 0 and 48"),
    Hostile("overlapping", tensor(data_offsets=[8, 40]), "begin at 0, where those before it end, got 8"),
    Hostile("the same bytes twice", lambda: signed({"0.weight": TENSORS["0.weight"], "1.weight": TENSORS["0.weight"]},
                                                   ENTRY, DATA[:32]), '"1.weight": expected its bytes to begin at 32'),
    Hostile("leaving a hole", lambda: signed(
        {**TENSORS, "0.bias": {"dtype": "F64", "shape": [2], "data_offsets": [40, 56]}}, ENTRY, DATA + bytes(8)),
        "begin at 32, where those before it end, got 40"),
    Hostile("bytes of no tensor", lambda: signed(TENSORS, ENTRY, DATA + bytes(8)), "48 bytes after the header"),
]

MODEL = [
    Hostile("missing tensor", lambda: signed({"0.weight": TENSORS["0.weight"]}, ENTRY, DATA[:32]), "'0.bias'"),
    Hostile("extra tensor", lambda: signed(
        {**TENSORS, "1.bias": {"dtype": "F64", "shape": [0], "data_offsets": [48, 48]}}, ENTRY, DATA),
        "extra '1.bias'"),
    Hostile("wrong shape", tensor(shape=[4, 1]), '"0.weight": expected shape (2, 2) for Dense, got (4, 1)'),
    Hostile("wrong dtype", tensor(dtype="I64"), '"0.weight": expected dtype \'float64\', as its Dense has, got int64'),
    Hostile("float32 for a float64 layer", lambda: signed(
        {"0.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
         "0.bias": {"dtype": "F64", "shape": [2], "data_offsets": [16, 32]}}, ENTRY, DATA[:32]),
        "expected dtype 'float64', as its Dense has, got float32"),
    Hostile("unknown layer", built({"class": "Convolution", "path": "1", "arguments": {}}), "got 'Convolution'"),
    Hostile("custom layer not passed in", built({"class": "ScaledTanh", "path": "1", "arguments": {}}), "custom=["),
    Hostile("deep recursion", nested(200), "nested too deeply"),
    Hostile("deeper recursion", nested(3000), "nested too deeply"),
    Hostile("a huge width", entry(architecture=chain(dense("0", 10**6, 10**6))), "(1000000, 1000000) for Dense, got"),
    Hostile("an endless width", entry(architecture=chain(dense("0", 10**30, 2))), "for Dense, got (2, 2)"),
    Hostile("a huge width elsewhere", built(dense("1", 2, 10**9)), "a tensor '1.weight'"),
    Hostile("a huge embedding", entry(architecture={"class": "Embedding", "path": "0", "arguments": {
        "codes": 10**12, "out_features": 2}}), "(1000000000000, 2) for Embedding"),
    Hostile("a huge norm", entry(architecture={"class": "LayerNorm", "path": "0", "arguments": {"features": 10**12}}),
            "for LayerNorm"),
    Hostile("one tensor for many layers", entry(architecture=chain(*[dense("0")] * 1000)), "a path of its own"),
    Hostile("float width", entry(architecture=chain(dense("0", 2.0, 2))), "for Dense, got (2, 2)"),
    Hostile("bool width", entry(architecture=chain(dense("0", True, 2))), "for Dense, got (2, 2)"),
    Hostile("no width", entry(architecture=chain({"class": "Dense", "path": "0", "arguments": {}})), "out_features"),
    Hostile("unknown argument", entry(architecture=chain(dense("0", module="os"))), "make a Dense"),
    Hostile("a generator as argument", entry(architecture=chain(dense("0", rng=1))), "without a generator"),
    Hostile("a rate out of range", built({"class": "Dropout", "path": "1", "arguments": {"rate": 2}}), "a Dropout"),
    Hostile("widths that do not chain", built({"class": "Columns", "path": "1", "arguments": {"indices": [7]}}),
            "make a Sequential"),
    Hostile("a layer that is a number", built(3), "make a Sequential"),
    Hostile("layers that are a text", entry(architecture={"class": "Sequential", "path": "", "arguments": {
        "layers": "0123"}}), "make a Sequential"),
    Hostile("architecture is a list", entry(architecture=[]), "begins with a layer"),
    Hostile("architecture is null", entry(architecture=None), "begins with a layer"),
    Hostile("architecture is an initializer", entry(architecture={"class": "Zeros", "arguments": {}}), "begins with"),
    Hostile("architecture is a merge", entry(architecture={"class": "Add", "path": "", "arguments": {}}), "begins"),
    Hostile("no architecture", lambda: signed(TENSORS, {"shared": []}, DATA), "load_weights"),
    Hostile("a path twice", built(dense("0")), "a path of its own"),
    Hostile("a path that is a number", entry(architecture=chain({**dense("0"), "path": 0})), "a path of its own"),
    Hostile("too many layers", built(*[{"class": "Tanh", "path": f"t{i}", "arguments": {}} for i in range(2000)]),
            "at most 2,000 layers"),
    Hostile("too many edges", graph(1900, 10), "at most 20,000 texts and lists"),
    Hostile("as many edges as there may be", graph(1900, 7), "extra '0.weight', '0.bias'"),
    Hostile("a class without arguments", built({"class": "Tanh", "path": "1"}), "of Tanh"),
    Hostile("arguments as a list", built({"class": "Tanh", "path": "1", "arguments": []}), "arguments of Tanh"),
    Hostile("an unknown tag", built({"object": "Tanh"}), "an object of the architecture"),
    Hostile("an empty tag", built({}), "an object of the architecture"),
    Hostile("two tags", built({"tuple": [], "mapping": {}}), "an object of the architecture"),
    Hostile("a tuple of nothing", built({"tuple": 3}), "a list as tuple"),
    Hostile("an object dtype as argument", entry(architecture=chain(dense("0", dtype={"dtype": "object"}))), "float32"),
    Hostile("a parameter that is not there", built({"parameter": "9.weight"}), "a tensor '9.weight'"),
    Hostile("a parameter that is a list", built({"parameter": []}), "a tensor []"),
    Hostile("a graph with a cycle", entry(architecture={"class": "Graph", "path": "", "arguments": {
        "nodes": {"mapping": {"0": {"tuple": [dense("0"), "0"]}}}, "output": "0"}}), "make a Graph"),
    Hostile("shared is a number", entry(shared=3), "lists of shared paths"),
    Hostile("shared with one path", entry(shared=[["0.weight"]]), "at least two paths"),
    Hostile("shared with numbers", entry(shared=[[0, 1]]), "at least two paths"),
    Hostile("shared twice", entry(shared=[["0.weight", "a"], ["0.bias", "a"]]), "each path once"),
    Hostile("shared between two tensors", entry(shared=[["0.weight", "0.bias"]]), "each path once"),
    Hostile("shared without a tensor", built(dense("1")), "a tensor '1.weight'"),
    Hostile("shared with another shape", entry(architecture=chain(dense("0"), dense("1", 2, 1)),
            shared=[["0.weight", "1.weight"], ["0.bias", "1.bias"]]), '"1.weight": expected shape (1, 2)'),
    Hostile("shared with the wrong name", entry(shared=[["0.weight", "7.weight"]]), "extra '7.weight'"),
    Hostile("no generator", generator(bit_generator=None), "no state of one of the generators"),
    Hostile("a generator of another program", generator(bit_generator="os.system"), "no state of one of"),
    Hostile("a generator with a dunder", generator(bit_generator="__class__"), "no state of one of"),
    Hostile("a generator without state", generator(state=None), "no state of one of"),
    Hostile("a generator with large numbers", generator(uinteger=2**32), "outside of 0 … 4294967295"),
    Hostile("a generator with a bool", generator(has_uint32=True), "outside of 0 … 1"),
    Hostile("a generator with too much", generator(extra=1), "the fields"),
    Hostile("a twister that reads beyond its memory", twister(10**6), "outside of 0 … 624"),
    Hostile("a twister that reads before its memory", twister(-1), "outside of 0 … 624"),
    Hostile("states for nobody", entry(generators={"7.rng": np.random.default_rng(0).bit_generator.state}), "7.rng"),
    Hostile("states are a list", entry(generators=[]), "the states of the random generators"),
    Hostile("frozen: a number", entry(frozen=3), "paths of frozen parameters and buffers of the model"),
    Hostile("frozen: a mapping", entry(frozen={"0.weight": True}), "paths of frozen parameters and buffers"),
    Hostile("frozen: a list in a list", entry(frozen=[["0.weight"]]), "paths of frozen parameters and buffers"),
    Hostile("frozen: nobody", entry(frozen=["7.weight"]), "paths of frozen parameters and buffers of the model"),
    Hostile("a checksum that does not match", lambda: GOOD[:-1] + bytes([GOOD[-1] ^ 1]), "SHA-256"),
    Hostile("a changed architecture", lambda: GOOD.replace(b"in_features", b"IN_features"), "SHA-256"),
    Hostile("no checksum", lambda: GOOD.replace(b"sha256", b"sha255"), "one SHA-256"),
    Hostile("a checksum in capitals", lambda: GOOD.replace(DIGEST, DIGEST.upper()), "one SHA-256"),
    Hostile("another format name", lambda: GOOD.replace(b'"minidl":', b'"minidm":', 1), "begins with its own name"),
    Hostile("another format inside", lambda: GOOD.replace(b'\\"minidl\\"', b'\\"minidm\\"', 1), "its own name"),
    Hostile("entry that is no JSON", lambda: packed({"__metadata__": {"minidl": '{"format":"minidl"'}}), "plain JSON"),
    Hostile("entry with NaN", lambda: packed({"__metadata__": {"minidl": '{"format":"minidl","a":NaN}'}}), "NaN"),
    Hostile("entry with a key twice", lambda: packed({"__metadata__": {"minidl": '{"format":"minidl","a":1,"a":2}'}}),
            "the key 'a' twice"),
    Hostile("NaN weights", lambda: signed(TENSORS, ENTRY, numbers(0, 1, float("nan"), 3, 4, 5)), "1 of 4 that are not"),
    Hostile("infinite weights", lambda: signed(TENSORS, ENTRY, numbers(0, 1, 2, 3, 4, -float("inf"))), '"0.bias"'),
    Hostile("a newer file version", entry(version=3), "file version 1 to 2, got 3; a newer minidl wrote it"),
    Hostile("version 0", entry(version=0), "file version 1 to 2, got 0"),
    Hostile("version true", entry(version=True), "file version 1 to 2, got True"),
    Hostile("version as a text", entry(version="1"), "file version 1 to 2, got '1'"),
    Hostile("no entry of minidl", lambda: packed(TENSORS, DATA), "load_weights"),
]

NAMES = [
    "os.system", "os", "__import__", "builtins.eval", "eval", "__builtins__", "subprocess.Popen", "../../etc/passwd",
    "/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:9/model", "minidl.layers.dense.Dense", "__class__",
    "Dense.__init__", "Layer", "Component", "numpy.load", "numpy.ctypeslib.load_library", "scipy.io.loadmat",
    "scipy.special.__loader__", "numpy.__loader__", "numpy", "scipy.", "lambda x: x", "${HOME}", "`id`", "; id", "",
]  # fmt: skip
ATTACK = [
    *(Hostile(f"class {name!r}", built({"class": name, "path": "1", "arguments": {}}), "built-in class or one of")
      for name in NAMES),
    *(Hostile(f"function {name!r}", built({"class": "Activation", "path": "1", "arguments": {
        "function": {"function": name}, "derivative": {"function": "numpy.cos"}}}), "built-in function or one of")
      for name in NAMES),
    *(Hostile(f"layer {name!r}", built(name), "make a Sequential") for name in NAMES),
    Hostile("module", built({"module": "os", "class_name": "system", "config": {"command": "true"}}),
            "an object of the architecture"),
    Hostile("module beside a class", built({"class": "Tanh", "path": "1", "arguments": {}, "module": 1}), "'module'"),
    Hostile("class_name", built({"class_name": "os.system"}), "an object of the architecture"),
    Hostile("dunder argument", built({"class": "Tanh", "path": "1", "arguments": {"__class__": "os"}}), "make a Tanh"),
    Hostile("self as argument", built({"class": "Dropout", "path": "1", "arguments": {"self": 1}}), "make a Dropout"),
    Hostile("a class that is a list", built({"class": ["Tanh"], "path": "1", "arguments": {}}), "built-in class"),
    Hostile("a class that is a number", built({"class": 1, "path": "1", "arguments": {}}), "built-in class"),
    Hostile("a function that is a list", built({"function": []}), "built-in function"),
    Hostile("an argument that is a path", built({"class": "Dropout", "path": "1", "arguments": {"rate": "/dev/zero"}}),
            "make a Dropout"),
    Hostile("an argument that is a URL", built({"class": "Dropout", "path": "1", "arguments": {"rate": "http://[::1]"}}),
            "make a Dropout"),
    Hostile("an initializer by URL", entry(architecture=chain(dense("0", weight_initializer="http://[::1]:9"))),
            "make a Dense"),
    Hostile("an initializer that is a class of layers", entry(architecture=chain(dense("0", weight_initializer={
        "class": "Tanh", "path": "t", "arguments": {}}))), "make a Dense"),
    Hostile("a name that is a path", text('"a"', '"../../etc/passwd"'), "load_weights"),
]  # fmt: skip

TABLE = [*FRAMING, *HEADER, *ENTRIES, *OFFSETS, *MODEL, *ATTACK]


def put(run: bytes, place: str, value: Any) -> bytes:
    """Change one place of the state in the file of a run, such as ``"optimizer.numbers.steps"``; `GONE` removes it."""
    tensors, entry, data = split(run)
    *outer, last = place.split(".")
    holder = entry["training"]["items"]
    for key in outer:
        holder = holder[key]["items"]
    if value is GONE:
        del holder[last]
    else:
        holder[last] = value
    return signed(tensors, {key: item for key, item in entry.items() if key not in ("format", "sha256")}, data)


GONE = type("Gone", (), {"__repr__": lambda self: "gone"})()
RUNS: list[tuple[str, Any]] = [
    *((place, GONE) for place in (
        "optimizer", "settings", "environment", "history", "history.seconds", "run", "run.callbacks", "run.plan",
        "run.figures", "run.rng", "run.position", "optimizer.numbers", "optimizer.numbers.steps", "optimizer.slots",
        "generators", "loss",
    )),
    *((place, 5) for place in (
        "optimizer", "settings", "environment", "history", "history.loss", "history.metrics", "history.stopped_by",
        "run", "run.callbacks", "run.plan", "run.rng", "run.position", "run.fingerprint", "optimizer.kind",
        "optimizer.slots.velocity", "optimizer.parameters", "generators", "loss", "settings.loss",
    )),
    ("optimizer.numbers.steps", -1), ("optimizer.numbers.steps", 0.5), ("optimizer.numbers.steps", True),
    ("optimizer.numbers.steps", 2**53), ("optimizer.numbers.learning_rate", -3.0),
    ("optimizer.numbers.learning_rate", {"number": "nan"}), ("optimizer.numbers.learning_rate", "0.1"),
    ("optimizer.numbers.last_rate", {"number": "inf"}), ("optimizer.numbers.last_rate", None),
    ("optimizer.slots.velocity", {"tensor": "nowhere"}),
    ("run.position.batch", 1e9), ("run.position.batch", 10**9), ("run.position.batch", -1),
    ("run.position.rows", 1), ("run.position.loss", "x"), ("run.position.loss", {"number": "nan"}),
    ("run.position", {"items": {"batch": 0, "rows": 0, "loss": 1.0}}),
    ("run.position", {"items": {"batch": 0, "rows": 1, "loss": 0.0}}),
    ("run.position.extra", 1), ("run.plan.batch_size", 0), ("run.plan.batch_size", 7), ("run.plan.batch_size", None),
    ("run.plan.epochs", 0), ("run.plan.epochs", 1), ("run.plan.epochs", 2.5), ("run.plan.shuffle", "yes"),
    ("run.plan.micro_batch_size", -2), ("run.plan.extra", 1), ("run.fingerprint.shapes", 3),
    ("run.fingerprint.sha256", 3), ("run.fingerprint", {"items": {}}), ("run.callbacks", [5]),
    ("run.figures", 3), ("run.figures", {"items": {"loss": 3}}),
    ("run.callbacks", [{"items": {"kind": 5, "state": {"items": {}}}}]),
    ("run.callbacks", [{"items": {"kind": "EarlyStopping"}}]), ("run.rng.bit_generator", "MT19937"),
    ("run.rng.bit_generator", "PCG64DXSM"), ("run.rng.has_uint32", 7), ("run.rng.uinteger", 2**32),
    ("history.loss", "abc"), ("history.loss", [1.0, "a"]),
    ("history.loss", {"tensor": "0.weight"}), ("history.seconds", {"tensor": "0.weight"}),
    ("history.seconds", {"tensor": "training:run.history.validation_loss"}),
    ("history.metrics", ["a", "b"]), ("history.metric_values", {"tensor": "0.weight"}),
    ("generators", {"items": {"7.rng": 5}}),
]  # fmt: skip
"""Places in the state of a run, and what no run can have left there."""

OTHER_RUNS: list[tuple[str, Any]] = [
    ("settings.clip", GONE), ("settings.momentum", "0.1"),
    ("settings.learning_rate", "Cosine(initial=0.1, steps=3, epochs=None, final=0.0)"),
    ("optimizer.numbers.vector", 5), ("optimizer.numbers.update", 5), ("optimizer.numbers.momentum", 5),
    ("optimizer.slots.velocity", {"tensor": "0.weight"}),
]  # fmt: skip
"""Places in the state of a run, and what only the run of another Trainer can have left there."""
