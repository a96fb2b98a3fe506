"""Pictures of models."""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ET
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from minidl import Add, Dense, Graph, Layer, ReLU, Residual, Sequential, Tanh, mlp
from minidl.errors import ArgumentError, DTypeError
from minidl.inspection import diagram
from minidl.layers._parts import walk
from tests.inspection.models import MODELS, Gated, Shouted, block, gates, nested
from tests.support.svg import arrows, boxes, elements, size, texts

EVIL = '<script>alert("1")</script>&amp;'


@pytest.mark.parametrize("style", ["auto", "blocks"])
@pytest.mark.parametrize("name", MODELS)
def test_no_box_lies_on_another_or_outside_of_the_picture(name: str, style: str) -> None:
    svg = diagram(MODELS[name](), style=style).svg  # type: ignore[arg-type]
    width, height = size(svg)
    found = boxes(svg)
    assert all(0 <= b.left < b.right <= width + 0.5 and 0 <= b.top < b.bottom <= height + 0.5 for b in found)
    parts = [box for box in found if box.kind == "box"]
    assert [(a, b) for a, b in combinations(parts, 2) if a.overlaps(b)] == []
    assert width <= 1200


@pytest.mark.parametrize("name", ["nested", "branches", "gates", "table", "wrapped", "thirty"])
def test_every_arrow_ends_at_the_edge_of_something(name: str) -> None:
    svg = diagram(MODELS[name](), style="blocks").svg
    edges = [(box.left, box.top, box.bottom) for box in boxes(svg)]
    free = [
        (x, y) for x, y in arrows(svg)
        if not any(abs(left - x) < 0.6 and top <= y <= bottom for left, top, bottom in edges)
    ]  # fmt: skip
    assert len(free) == 1  # the output


def test_the_way_through_a_skip_connection_is_straight() -> None:
    svg = diagram(Residual(mlp([8, 16, 8])), style="blocks").svg
    assert {round((box.top + box.bottom) / 2, 1) for box in boxes(svg) if box.kind in ("box", "dot")} == {
        round(arrows(svg)[0][1], 1)
    }


@pytest.mark.parametrize("name", ["784", "nested", "branches", "gates", "table", "own", "wrapped"])
def test_every_layer_has_a_box_with_its_path_and_its_count(name: str) -> None:
    model = MODELS[name]()
    svg = diagram(model, style="blocks").svg
    paths = [element.get("data-path") for element, _, _ in elements(svg) if element.get("class") == "part"]
    leaves = [(path, part) for path, part in walk(model) if hasattr(part, "forward") and not hasattr(part, "layers")]
    wanted = [path for path, part in leaves if not isinstance(part, (Graph, Gated)) and not hasattr(part, "layer")]
    assert {*wanted} <= {*paths}
    counts = [f"{part.weight.size + part.bias.size:,}" for _, part in leaves if isinstance(part, Dense)]
    assert sorted(text for text in texts(svg) if text in counts) == sorted(counts)


def test_lines_show_the_weights_of_a_small_chain() -> None:
    model = mlp([2, 3, 1], rng=0)
    weights = [layer.weight.value for layer in model if isinstance(layer, Dense)]
    lines = [
        (element.get("class"), float(element.get("stroke-width", 0)), (element[0].text or "").split(" = "))
        for element, _, _ in elements(diagram(model).svg) if element.get("stroke-width") and len(element)
    ]  # fmt: skip
    assert len(lines) == 2 * 3 + 3
    for kind, _, (name, text) in lines:
        layer, row, column = "₁₂".index(name[1]), *map(int, re.findall(r"\d", name[2:]))
        value = weights[layer][row - 1, column - 1]
        assert float(text) == pytest.approx(value, rel=1e-3)
        assert kind == ("more" if value > 0 else "less")
    first = sorted((abs(float(text)), width) for _, width, (name, text) in lines if name[1] == "₁")
    assert [width for _, width in first] == sorted(width for _, width in first)


def test_without_weights_all_lines_are_alike() -> None:
    kinds = {element.get("class") for element, _, _ in elements(diagram(mlp([2, 3, 1]), weights=False).svg)}
    assert "plain" in kinds
    assert not {"more", "less"} & kinds


def test_small_chains_are_neurons_and_others_are_blocks() -> None:
    assert texts(diagram(mlp([2, 24, 1])).svg)[-6:-3] != []
    assert len([b for b in boxes(diagram(mlp([2, 24, 1])).svg) if b.kind == "box"]) == 27
    assert any("Dense" in text for text in texts(diagram(mlp([2, 25, 1])).svg))
    assert any("Dense" in text for text in texts(diagram(mlp([2] * 9)).svg))
    assert any("Dense" in text for text in texts(diagram(nested()).svg))


def test_wide_layers_of_neurons_are_cut() -> None:
    svg = diagram(mlp([60, 3]), style="neurons", most_neurons=10).svg
    assert len([box for box in boxes(svg) if box.kind == "box"]) == 10 + 3
    assert texts(svg).count("⋮") == 1
    assert "L₁: 60" in texts(svg)


def test_repeats_are_folded_with_their_number() -> None:
    assert "× 30" in texts(diagram(MODELS["thirty"]()).svg)
    deep = texts(diagram(mlp([4] + [20] * 30 + [1])).svg)
    assert "× 29" in deep
    assert deep.count("Dense(20 → 20)") == 1
    assert not any("×" in text for text in texts(diagram(Sequential(block(4), block(4))).svg))


def test_a_depth_hides_what_is_inside() -> None:
    seen = texts(diagram(nested(), depth=1).svg)
    assert seen.count("Residual") == 2
    assert "280" in seen
    assert "Dense(8 → 16)" not in seen


def test_a_container_of_the_users_own_is_a_frame_around_its_parts() -> None:
    svg = diagram(Sequential(Gated(), Dense(8, 1))).svg
    frame = next(box for box in boxes(svg) if box.kind == "frame")
    inside = [b for b in boxes(svg) if b.kind == "box" and b.overlaps(frame)]
    assert len(inside) == 3
    assert "Gated" in texts(svg)
    own = diagram(Shouted(Dense(2, 2), Dense(2, 3))).svg
    assert [box.kind for box in boxes(own)].count("frame") == 1  # its data flow is no longer that of Sequential


def test_names_with_html_are_harmless() -> None:
    class Evil(Tanh):
        def __repr__(self) -> str:
            return EVIL

    model = Graph({EVIL.replace(".", ""): (Dense(2, 2), "x"), "o": (Evil(), EVIL)}, output="o")
    for svg in (diagram(model).svg, diagram(model)._repr_html_(), model._repr_html_()):
        assert "<script" not in svg
        ET.fromstring(svg)
    assert "<script" not in diagram(model).mermaid()
    chain = diagram(Sequential(Dense(2, 2), Evil())).svg
    ET.fromstring(chain)
    assert "<script" not in chain


def test_pictures_have_no_ids_and_no_colours_of_their_own() -> None:
    svg = diagram(gates()).svg
    assert not re.search(r'\bid="|url\(|href', svg)
    assert set(re.findall(r"(?:fill|stroke):(#?\w+)", svg)) <= {
        "currentColor", "none", "#2a7fd4", "#d9730d",
    }  # fmt: skip


@pytest.mark.parametrize("many", [
    lambda: Sequential(*[Dense(2, 2) for _ in range(2000)]),
    lambda: Sequential(*[Dense(1 + k**2 % 97, 1 + (k + 1) ** 2 % 97) for k in range(2000)]),
    lambda: Graph({f"n{k}": (Dense(2, 2), f"n{k - 1}" if k else "x") for k in range(2000)}, output="n1999"),
    lambda: Graph({f"n{k}": (Add(), f"n{max(k - 1, 0)}" if k else "x", f"n{max(k - 2, 0)}" if k > 1 else "x")
                   for k in range(300)}, output="n299"),
])  # fmt: skip
def test_thousands_of_layers_are_drawn_in_a_second(many: object) -> None:
    model: Layer = many()  # type: ignore[operator]
    began = time.thread_time()
    picture = diagram(model)
    assert time.thread_time() - began < 5  # 0.1 to 0.4 s on a quiet machine
    ET.fromstring(picture.svg)
    assert picture.mermaid().count("\n") >= 300


def test_mermaid_has_each_layer_and_each_connection() -> None:
    assert diagram(gates()).mermaid().splitlines() == [
        "flowchart LR", "  x((x))",
        '  n0["Dense(4 -> 4)"]', "  x --> n0", '  n1["Sigmoid()"]', "  n0 --> n1",
        '  n2["Dense(4 -> 4)"]', "  x --> n2", '  n3["Tanh()"]', "  n2 --> n3",
        '  n4["Add()"]', "  n1 --> n4", "  n3 --> n4", "  x --> n4",
        '  n5["Dense(4 -> 1)"]', "  n4 --> n5", "  y((y))", "  n5 --> y",
    ]  # fmt: skip
    assert diagram(gates()).mermaid().isascii()
    own = diagram(Sequential(Gated(), Dense(8, 1))).mermaid()
    assert re.search(r'subgraph n0\["Gated"\]\n(.*\n)+  end\n  x --> n0', own)


def test_a_picture_is_saved_for_light_and_dark_screens(tmp_path: Path) -> None:
    picture = diagram(mlp([2, 2, 1], rng=0))
    for ending in ("svg", "html"):
        picture.save(tmp_path / f"a.{ending}")
        content = (tmp_path / f"a.{ending}").read_text("utf-8")
        assert "prefers-color-scheme:dark" in content
        assert content.count("<svg") == 1
    ET.fromstring((tmp_path / "a.svg").read_text("utf-8"))
    with pytest.raises(ArgumentError, match=r"expected a name that ends in \.svg or \.html, got 'a\.png'"):
        picture.save("a.png")


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r'style="neurons"\): expected a chain of Dense layers'):
        diagram(nested(), style="neurons")
    with pytest.raises(ArgumentError, match=r"diagram\(style\): expected"):
        diagram(Dense(1, 1), style="round")  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match=r"diagram\(model\): expected a Layer"):
        diagram(Dense)  # type: ignore[arg-type]


def test_the_picture_of_a_weight_that_is_not_finite() -> None:
    model = Sequential(Dense(2, 2), ReLU())
    model.layers[0].weight.value = np.array([[np.nan, np.inf], [1.0, 0.0]])  # type: ignore[attr-defined]
    ET.fromstring(diagram(model).svg)
