"""The numbers of one training step: of each part, each step of the computation, and in the article's symbols."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .._core.arrays import Array
from ..errors import ArgumentError, StructureError
from ..layers.base import Layer
from ..losses import Loss
from ..optimizers import Optimizer
from ._steps import PartTrace, Step
from ._symbols import ArticleLayer, article_layers


@dataclass(eq=False, repr=False)
class Numbers:
    """What one training step computed; `Trace` also writes it.

    Attributes:
        model: A copy of the model, as it was before the step.
        loss: A copy of the loss.
        optimizer: A copy of the optimizer, as it is after the step; None without.
        rows: Rows of the batch; arrays with one row for each sample hold the first 8.
        error: e, with the penalties: the loss of the whole batch.
        steps: All steps, in order.
        parts: Maps the path of each layer and merge to what it did.
        gradients: Maps the path of each parameter to the gradient that the optimizer gets: with penalties, clipped.
    """

    model: Layer
    loss: Loss
    optimizer: Optimizer | None
    rows: int
    error: float = float("nan")
    steps: list[Step] = field(default_factory=list)
    parts: dict[str, PartTrace] = field(default_factory=dict)
    gradients: dict[str, Array] = field(default_factory=dict)

    def __getitem__(self, path: str) -> PartTrace:
        if path not in self.parts:
            raise ArgumentError(f"trace: expected the path of a layer, one of {list(self.parts)}, got {path!r}")
        return self.parts[path]

    @property
    def prediction(self) -> Array:
        """Output of the model, ``(rows, features)``."""
        return self.parts[""].y

    @property
    def layers(self) -> list[ArticleLayer]:
        """L₁ … Lₙ of the article.

        Raises:
            StructureError: the model is not a chain.
        """
        found = article_layers(self.steps)
        if found is None:
            raise StructureError(
                "trace: expected a model whose layers form a chain, as the article numbers them; "
                'for another use t["path"] and t.symbols()'
            )
        return found

    @property
    def is_chain(self) -> bool:
        """Whether each layer's input is the output of the one before, so that the article's numbers can be given."""
        return article_layers(self.steps) is not None

    @property
    def I(self) -> dict[int, Array]:  # noqa: E743, N802 - the article's letter
        """Maps i to I_i, the input of layer i, ``(rows, n_i)``; for a chain, as the next five."""
        return {layer.number: layer.I for layer in self.layers if layer.I is not None}

    @property
    def O(self) -> dict[int, Array]:  # noqa: E743, N802 - the article's letter
        """Maps i to O_i, the output of layer i."""
        return {layer.number: layer.O for layer in self.layers}

    @property
    def E(self) -> dict[int, Array]:  # noqa: N802 - the article's letter
        """Maps i to E_i = ∂e/∂I_i; each row carries the 1/N of the loss."""
        return {layer.number: layer.E for layer in self.layers if layer.E is not None}

    @property
    def W(self) -> dict[int, Array]:  # noqa: N802 - the article's letter
        """Maps i to W_i, the weights from layer i to layer i + 1."""
        return self._by_number("weight", gradient=False)

    @property
    def b(self) -> dict[int, Array]:
        """Maps i to b_i."""
        return self._by_number("bias", gradient=False)

    @property
    def dW(self) -> dict[int, Array]:  # noqa: N802 - the article's letter
        """Maps i to ΔW_i, the sum over the batch."""
        return self._by_number("weight", gradient=True)

    @property
    def db(self) -> dict[int, Array]:
        """Maps i to Δb_i."""
        return self._by_number("bias", gradient=True)

    def _by_number(self, name: str, *, gradient: bool) -> dict[int, Array]:
        found = {}
        for layer in self.layers:
            part = self.parts[layer.affine] if layer.affine is not None else None
            values: Mapping[str, Array] = {} if part is None else part.gradients if gradient else part.parameters
            if name in values:
                found[layer.number - 1] = values[name]
        return found

    def symbols(self) -> dict[str, Array]:
        """Map symbols to arrays: for a chain by the article's numbers, ``"dW_1"``, else by path, ``"E_gate.0"``."""
        found: dict[str, Array] = {}
        if self.is_chain:
            letters = {"I": self.I, "O": self.O, "W": self.W, "b": self.b, "E": self.E, "dW": self.dW, "db": self.db}
            return {f"{letter}_{i}": array for letter, arrays in letters.items() for i, array in arrays.items()}
        for step in self.steps:
            if step.phase == "forward":
                found[f"O_{step.path}"] = step.outputs[0]
            elif step.phase == "backward" and step.path in self.parts and not step.is_sum:
                found[f"E_{step.path}"] = step.inputs[0]
                found.update({f"d_{step.path}.{name}": gradient for name, gradient in step.gradients.items()})
        return found

    def first_not_finite(self) -> Step | None:
        """Return the first step that made a number that is not finite; None if all are."""
        return next((step for step in self.steps if not step.finite), None)
