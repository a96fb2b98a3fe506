"""The article's numbers: L₁ … Lₙ of a model whose layers form a chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from .._core.arrays import Array
from ..layers.base import Layer
from ..layers.dense import Dense
from ._steps import Step


@dataclass
class ArticleLayer:
    """A layer L_i of the article.

    Attributes:
        number: i, from 1.
        affine: Path of the layer that computes I_i = W_{i−1} O_{i−1} + b_{i−1}; None for L₁.
        after: Paths of the layers that make O_i of I_i: the activation, and others such as Dropout.
        I: I_i, ``(rows, n_i)``; None for L₁, whose output is x.
        O: O_i, ``(rows, n_i)``.
        E: E_i = ∂e/∂I_i, ``(rows, n_i)``; None for L₁.
    """

    number: int
    affine: str | None
    after: tuple[str, ...]
    I: Array | None  # noqa: E741 - the article's letter
    O: Array  # noqa: E741
    E: Array | None


def article_layers(steps: Sequence[Step]) -> list[ArticleLayer] | None:
    """Return L₁ … Lₙ, or None where the steps forward are not a chain of layers.

    Each `Dense` begins a new one, as does another layer with parameters that changes the width.
    """
    forward = [step for step in steps if step.phase == "forward"]
    errors = {step.path: step.inputs[0] for step in steps if step.phase == "backward" and step.inputs}
    sources = [step.sources for step in forward]
    chained = sources[0] == (0,) and all(after.sources == (before.number,) for before, after in pairwise(forward))
    if not chained or any(step.is_sum or not isinstance(step.part, Layer) for step in forward):
        return None
    found = [ArticleLayer(1, None, (), None, forward[0].inputs[0], None)]
    for step in forward:
        y = step.outputs[0]
        if isinstance(step.part, Dense) or (step.parameters and y.shape != step.inputs[0].shape):
            found.append(ArticleLayer(len(found) + 1, step.path, (), y, y, errors.get(step.path)))
        else:
            found[-1].after += (step.path,)
            found[-1].O = y
    return found
