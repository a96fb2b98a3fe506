"""The numbers of one training step: of each part, each step of the computation, and in the article's symbols."""

from __future__ import annotations

from dataclasses import dataclass, field

from .._core.arrays import Array
from ..errors import ArgumentError, StructureError
from ..layers.base import Layer
from ..losses import Loss
from ..optimizers import Optimizer
from ._steps import PartTrace, Step
from ._symbols import ArticleLayer, article_layers


class Numbered(dict[int, Array]):
    """Maps the numbers of layers to arrays."""

    def __missing__(self, number: object) -> Array:
        raise ArgumentError(
            f"trace: expected one of the numbers {list(self)}, got {number!r}; L_1 is the sample, which has O_1 but "
            "neither I_1 nor E_1, and W_i leads from layer i to layer i + 1"
        )


@dataclass(eq=False, repr=False)
class Numbers:
    """What one training step computed; `Trace` documents it, and writes it too."""

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
    def I(self) -> Numbered:  # noqa: E743, N802 - the article's letter
        """Maps i to I_i, the input of layer i, ``(rows, n_i)``; for a chain, as the next five."""
        return Numbered({layer.number: layer.I for layer in self.layers if layer.I is not None})

    @property
    def O(self) -> Numbered:  # noqa: E743, N802 - the article's letter
        """Maps i to O_i, the output of layer i."""
        return Numbered({layer.number: layer.O for layer in self.layers})

    @property
    def E(self) -> Numbered:  # noqa: N802 - the article's letter
        """Maps i to E_i = ∂e/∂I_i; each row carries the 1/N of the loss."""
        return Numbered({layer.number: layer.E for layer in self.layers if layer.E is not None})

    @property
    def W(self) -> Numbered:  # noqa: N802 - the article's letter
        """Maps i to W_i, the weights from layer i to layer i + 1."""
        return self._by_number("weight", gradient=False)

    @property
    def b(self) -> Numbered:
        """Maps i to b_i."""
        return self._by_number("bias", gradient=False)

    @property
    def dW(self) -> Numbered:  # noqa: N802 - the article's letter
        """Maps i to ΔW_i, the sum over the batch."""
        return self._by_number("weight", gradient=True)

    @property
    def db(self) -> Numbered:
        """Maps i to Δb_i."""
        return self._by_number("bias", gradient=True)

    def _by_number(self, name: str, *, gradient: bool) -> Numbered:
        found = {}
        for layer in self.layers[1:]:
            part = self.parts[str(layer.affine)]
            values = part.gradients if gradient else part.parameters
            if name in values:
                found[layer.number - 1] = values[name]
        return Numbered(found)

    def symbols(self) -> dict[str, Array]:
        """Map symbols to arrays: for a chain by the article's numbers, ``"dW_1"``, else by path, ``"E_gate.0"``."""
        if self.is_chain:
            letters = ("I", "O", "W", "b", "E", "dW", "db")
            return {f"{letter}_{i}": array for letter in letters for i, array in getattr(self, letter).items()}
        found: dict[str, Array] = {}
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
