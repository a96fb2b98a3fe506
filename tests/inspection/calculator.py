"""Put numbers into the equations of docstrings: each line becomes Python code."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from scipy.special import expit, ndtr, softmax

FUNCTIONS = {
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "sqrt": np.sqrt,
    "sign": np.sign,
    "max": np.maximum,
    "min": np.minimum,
    "where": np.where,
    "norm": lambda x: np.linalg.norm(x, axis=-1),
    "softmax": lambda x: softmax(x, axis=1),
    "mean": np.mean,
    "σ": expit,
    "Φ": ndtr,
    "φ": lambda x: np.exp(-x * x / 2) / np.sqrt(2 * np.pi),
}

SIGNS = [
    (r"^(.*) if (.*), else (.*)$", r"where(\2, \1, \3)"),
    (r"∂e/∂", "d_"),
    (r"‖(.*?)‖", r"norm(\1)"),
    (r"\|(.*?)\|", r"abs(\1)"),
    (r"e⁻ˣ", "exp(-x)"),
    (r"eˣ", "exp(x)"),
    (r"ᵗ", "**t"),
    (r"²", "**2"),
    (r"ᵀ", ".T"),
    (r"√(\w\u0302?)", r"sqrt(\1)"),
    (r"√", "sqrt"),
    (r"₊₁", "_next"),
    (r"′", "_prime"),
    (r"½", "0.5"),
    (r" [+∘] …", ""),  # of two inputs
    (r"Π over j ≠ i of xⱼ", "others"),
]
"""Replacements, in this order."""


def calculate(lines: Iterable[str], given: Mapping[str, Any], product: str = "*") -> dict[str, Any]:
    """Compute the lines from top to bottom.

    Args:
        lines: Equations.
        given: The symbols known so far. ``d_x`` is ∂e/∂x.
        product: What two names side by side mean: ``*``, or ``@`` for a matrix product.

    Returns:
        All symbols known at the end.
    """
    symbols: dict[str, Any] = FUNCTIONS | {"total": total, "rows": "rows", "columns": "columns", **given}
    for line in lines:
        code = _sums(line)
        for sign, text in SIGNS:
            code = re.sub(sign, text, code) if not sign.startswith("^") else _choice(code, sign, text)
        code = unicodedata.normalize("NFKC", code)  # x₁ becomes x1
        code = re.sub(r"(?<=[\w)\u0302]) (?=[\w(])", f" {product} ", code)
        for sign, text in {"∘": "*", "·": "*", "^": "**", "−": "-", "≤": "<=", "←": "="}.items():
            code = code.replace(sign, text)
        exec(code, symbols)
    return symbols


def _choice(code: str, sign: str, text: str) -> str:
    name, equals, right = re.split(r" ([=←]) ", code, maxsplit=1)
    return f"{name} {equals} {re.sub(sign, text, right)}"


def _sums(text: str) -> str:
    """Write each sum as a call; it ends with the line or with the bracket in which it is."""
    while "Σ" in text:
        before, after = text.rsplit("Σ", 1)
        match = re.match(r"(?: over (.+?) of)? ", after)
        assert match is not None, text
        summed, depth, end = after[match.end():], 0, 0
        while end < len(summed) and depth >= 0:
            depth += {"(": 1, ")": -1}.get(summed[end], 0)
            end += depth >= 0
        text = f"{before}total({summed[:end]}, {match[1]}){summed[end:]}"
    return text


def total(x: Any, over: Any) -> Any:
    """Add all numbers, or those of each row or column, or those where a condition holds."""
    if isinstance(over, str):
        return np.sum(x, axis=0) if over == "rows" else np.sum(x, axis=1, keepdims=True)
    return np.sum(x if over is None else np.where(over, x, 0.0))
