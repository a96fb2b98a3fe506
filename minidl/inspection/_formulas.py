"""Equations of docstrings with other symbols, and with numbers in place of the symbols."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..losses import Loss
from ._equations import equations

FUNCTIONS = {"e", "log", "tanh", "max", "min", "sign", "abs", "σ", "Φ", "φ", "if", "else", "½", "²"}
"""Words that stay when numbers are put in."""

MOST = 8
"""Most terms of a sum that are written out."""

LARGEST = 500
"""Numbers of the largest prediction whose loss is worked out."""


def renamed(text: str, names: Mapping[str, str]) -> str:
    """Return an equation with other names for some symbols."""
    x = names.get("x", "x")
    if x != "x":
        text = text.replace("e⁻ˣ", "e⁻ᶻ" if x == "z" else f"e^(−{x})").replace("eˣ", "eᶻ" if x == "z" else f"e^{x}")
    symbols = "|".join(map(re.escape, names))
    return re.sub(rf"(?<!\w)(?:{symbols})(?![^\W²]|\u0302)", lambda found: names.get(found[0], ""), text)


def right_side(text: str) -> str:
    """Return what stands after the first sign of equality, without a bracket around all of it."""
    right = text.partition(" = ")[2]
    return right[1:-1] if re.fullmatch(r"\([^()]*\)", right) else right


def slope_equation(part: object) -> str:
    """Return f′ of an activation, in x and y; an empty text if its docstring does not state it in one line."""
    lines = equations(part).backward
    if not lines or not lines[0].startswith("∂e/∂x = ") or "∂e/∂y" not in lines[0]:
        return ""
    slope = re.sub(r" ∘ ∂e/∂y|∂e/∂y ∘ |(?<!else) ∂e/∂y", "", lines[0].removeprefix("∂e/∂x = "))
    return right_side("f′ = " + slope.replace("∂e/∂y", "1"))


def formula(part: object, text: str, names: Mapping[str, str]) -> str:
    """Return a text into which numbers are put, such as ``"1 / (1 + e^(−{1}))"``; empty for one with other symbols.

    Only the docstrings of minidl are trusted: tests compare them with the code.
    """
    made = renamed(text, names).replace("∘", "·")
    words = set(re.findall(r"[^\W\d_]\w*", re.sub(r"\{\d\}", "", made)))
    return made if words <= FUNCTIONS and type(part).__module__.startswith("minidl.") else ""


def loss_formula(loss: Loss, inputs: Sequence[Any], rows: int) -> str:
    """Return a loss with the numbers of the batch; an empty text where a page does not show all of them."""
    *before, last = equations(loss).forward or ("",)
    found = re.fullmatch(r"e = (?P<sign>−?)(?:\(1/N\) Σ (?:over rows of )?(?P<sum>.*)|mean\((?P<mean>.*)\))", last)
    a, y = inputs[:2]
    if found is None or len(inputs) > 2 or len(a) < rows or len(before) > 1 or a.size > LARGEST:
        return ""
    body = (found["sum"] or found["mean"]).replace("‖a − y‖", "(a − y)").replace("|a − y|", "abs(a − y)")
    text = formula(loss, body, {"a": "{0}", "y": "{1}", "p": "{2}"})
    if not text:
        return ""
    y = np.eye(a.shape[1])[y] if y.ndim < a.ndim else y  # Labels.
    y = loss._smoothed(y, a.shape[1])
    p = loss.probabilities(a) if before else a
    terms = [text.format(*map(number, three)) for three in zip(a.ravel(), y.ravel(), np.ravel(p), strict=True)]
    terms[4:-2] = terms[4:-2] if len(terms) <= MOST else ["…"]
    count = a.size if found["mean"] else rows
    share, total = "" if count == 1 else f"1/{count} · ", " + ".join(terms)
    return f"{found['sign']}{share}({total})" if found["sign"] or (share and len(terms) > 1) else share + total


def number(value: Any) -> str:
    """Return a number with four digits, in brackets if it is negative."""
    text = f"{value:.4g}".replace("-", "−")
    return f"({text})" if value < 0 else text
