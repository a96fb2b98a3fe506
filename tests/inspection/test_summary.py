"""The table of the parts of a model."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest

from minidl import Array, Dense, Dropout, Embedding, Flatten, Layer, Sequential, Tanh, mlp
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.inspection import summary
from minidl.layers._parts import walk
from minidl.layers.base import Component
from tests.inspection.models import MODELS, gates, nested

WIDTHS = {"1-20-20-1": 1, "2-2-1": 2, "784": 784, "one layer": 3, "table": 3}


@pytest.mark.parametrize("name", MODELS)
def test_the_rows_are_the_parts_and_their_parameters_add_up(name: str) -> None:
    model = MODELS[name]()
    found = summary(model, np.zeros((2, WIDTHS.get(name, 4))))
    wanted = ["", *(path for path, part in walk(model) if isinstance(part, Component))]
    assert [row.path for row in found.rows] == wanted
    total = sum(parameter.size for parameter in model.parameters())
    assert sum(row.parameters for row in found.rows) == found.parameters == total
    assert all(row.output is not None and row.inputs and "?" not in row.sources for row in found.rows)


def test_shapes_and_sources_of_a_graph() -> None:
    rows = {row.path: row for row in summary(gates()).rows}
    assert rows["gate.1"].sources == ("gate.0",)
    assert rows["sum"].sources == ("gate.1", "new.1", "x")
    assert (rows["sum"].inputs, rows["sum"].output) == (((4,), (4,), (4,)), (4,))
    assert (rows["out"].inputs, rows["out"].output, rows["out"].parameters) == (((4,),), (1,), 5)
    assert (rows[""].inputs, rows[""].output, rows[""].parameters) == (((4,),), (1,), 0)


def test_a_shared_parameter_counts_once_at_the_first_part() -> None:
    first, second = Dense(3, 3), Dense(3, 3)
    second.weight = first.weight
    found = summary(Sequential(first, second))
    assert [(row.parameters, row.shared) for row in found.rows] == [(0, False), (12, False), (3, True)]
    assert found.parameters == 15
    assert found.bytes == 15 * 8
    assert str(found).splitlines()[-2].endswith("shared 3")


def test_frozen_parts_and_buffers() -> None:
    model = Sequential(Dense(2, 3).freeze(), MODELS["normalized"]().layers[1].__class__(3), Dense(3, 1))  # type: ignore[attr-defined]
    found = summary(model.astype(np.float32))
    assert (found.parameters, found.frozen) == (9 + 6 + 4, 9)
    assert [row.frozen for row in found.rows] == [False, True, False, False]
    arrays = [part.value for _, part in walk(model.astype(np.float32)) if hasattr(part, "value")]
    assert found.bytes == sum(array.nbytes for array in arrays)
    assert str(found).splitlines()[-1] == f"19 parameters, 9 of them frozen, {found.bytes} bytes"


def test_the_last_level_of_a_depth_has_the_parameters_of_all_that_is_in_it() -> None:
    model = nested()
    found = summary(model, depth=1)
    assert [row.path for row in found.rows] == ["", "0", "1", "2", "3", "4"]
    counts = [sum(parameter.size for parameter in layer.parameters()) for layer in model.layers]
    assert [row.parameters for row in found.rows] == [0, *counts]


def test_a_chain_has_no_column_of_sources() -> None:
    assert str(summary(mlp([2, 8, 1], rng=0))).splitlines()[0].split() == ["part", "layer", "in", "out", "parameters"]
    heading, first, *_ = str(summary(gates())).splitlines()
    assert heading.split() == ["part", "layer", "from", "in", "out", "parameters"]
    assert first.split() == ["Graph(...)", "x", "4", "1"]


def test_images_have_shapes_of_several_dimensions() -> None:
    rows = summary(Sequential(Flatten(), Dense(6, 2)), np.zeros((5, 2, 3))).rows
    assert [row.inputs for row in rows] == [((2, 3),), ((2, 3),), ((6,),)]
    assert "2 x 3" in str(summary(Sequential(Flatten(), Dense(6, 2)), np.zeros((5, 2, 3))))


def test_the_html_is_escaped_and_has_the_same_numbers() -> None:
    class Evil(Tanh):
        def __repr__(self) -> str:
            return "<img src=x onerror=alert(1)>"

    found = summary(Sequential(Dense(2, 2), Evil()))
    html = found._repr_html_()
    assert "<img" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
    assert re.findall(r">(\d+)</td>", html) == ["2", "2", "2", "2", "6", "2", "2"]


def test_looking_changes_nothing() -> None:
    model = Sequential(Dense(3, 4), Dropout(0.3), Tanh(), Dense(4, 2)).initialize(0)
    model.forward(np.ones((2, 3)))
    before = pickle.dumps(model)
    summary(model)
    summary(model, np.ones((2, 3)))
    assert pickle.dumps(model) == before
    assert copy.deepcopy(vars(model.layers[0])).keys() == vars(Dense(3, 4)).keys() | {"_x"}


def test_a_part_that_is_not_called_has_no_shapes() -> None:
    class Half(Layer):
        in_features = 2

        def __init__(self) -> None:
            self.used, self.unused = Dense(2, 2), Dense(5, 5)

        def forward(self, x: Array) -> Array:
            return self.used.forward(x)

        def backward(self, grad: Array) -> Array:
            return self.used.backward(grad)

    row = summary(Half()).rows[2]
    assert (row.path, row.sources, row.inputs, row.output, row.parameters) == ("unused", (), (), None, 30)


def test_what_cannot_be_summarized_is_refused() -> None:
    with pytest.raises(DTypeError, match=r"summary\(model\): expected a Layer, got 3"):
        summary(3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="expected some x, as this model takes rows of any width"):
        summary(Sequential(Tanh()))
    with pytest.raises(ShapeError, match=r"expected x of shape \(batch, 3\), got \(2, 4\)"):
        summary(Dense(3, 1), np.zeros((2, 4)))
    with pytest.raises(ArgumentError, match=r"summary\(depth\): expected at least 1"):
        summary(Dense(3, 1), depth=0)


def test_a_layer_of_codes_works_without_rows() -> None:
    assert [row.output for row in summary(Sequential(Embedding(5, 3), Dense(3, 1)), np.zeros((1, 1))).rows][1:] == [
        (3,), (1,),
    ]  # fmt: skip


def test_what_is_printed_is_ascii() -> None:
    assert all(str(summary(MODELS[name](), np.zeros((1, WIDTHS.get(name, 4))))).isascii() for name in MODELS)


def test_a_model_of_two_thousand_layers() -> None:
    found = summary(Sequential(*[Dense(2, 2) for _ in range(2000)]))
    assert len(found.rows) == 2001
    assert found.parameters == 12_000
