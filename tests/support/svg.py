"""Read pictures back: where their boxes, texts and lines lie."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

SPACE = "{http://www.w3.org/2000/svg}"


class Box(NamedTuple):
    """A rectangle or the square around a circle, in the coordinates of the picture."""

    kind: str
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return wide > 0.1 and high > 0.1


def elements(svg: str) -> Iterator[tuple[ET.Element, float, float]]:
    """Yield each element with the place of its origin."""
    waiting = [(ET.fromstring(svg), 0.0, 0.0)]
    while waiting:
        element, x, y = waiting.pop()
        if moved := re.fullmatch(r"translate\((\S+) (\S+)\)", element.get("transform", "")):
            x, y = x + float(moved[1]), y + float(moved[2])
        yield element, x, y
        waiting += [(child, x, y) for child in element]


def boxes(svg: str) -> list[Box]:
    """List the boxes of layers, the circles of neurons and operations, and the frames."""
    found = []
    for element, x, y in elements(svg):
        get = partial(_number, element)
        if element.tag == f"{SPACE}rect":
            found.append(Box(element.get("class", ""), x, y, x + get("width"), y + get("height")))
        elif element.tag == f"{SPACE}circle":
            x, y, r = x + get("cx"), y + get("cy"), get("r")
            found.append(Box(element.get("class", ""), x - r, y - r, x + r, y + r))
    return found


def _number(element: ET.Element, name: str) -> float:
    return float(element.get(name, 0))


def texts(svg: str) -> list[str]:
    """List the texts that are seen."""
    return [element.text or "" for element, _, _ in elements(svg) if element.tag == f"{SPACE}text"]


def arrows(svg: str) -> list[tuple[float, float]]:
    """List the points at which the wires with a tip end."""
    found = []
    for element, x, y in elements(svg):
        way = element.get("d", "")
        if way.endswith("m-5-3.5l5 3.5l-5 3.5"):
            way = way.removesuffix("m-5-3.5l5 3.5l-5 3.5")
            numbers = [float(number) for number in re.findall(r"-?[\d.]+(?:e[+-]?\d+)?", way)]
            level = re.search(r"H\S+$", way)
            heights = [float(number) for number in re.findall(r"V(-?[\d.]+)", way)]
            end_y = (heights[-1] if heights else numbers[1]) if level else numbers[-1]
            found.append((x + (numbers[-1] if level else numbers[-2]), y + end_y))
    return found


def size(svg: str) -> tuple[float, float]:
    """Return width and height of a picture."""
    _, _, width, height = ET.fromstring(svg).get("viewBox", "").split()
    return float(width), float(height)
