"""The figures of one look at a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import inf
from typing import Any


@dataclass(frozen=True)
class Scale:
    """The scale of some columns: of each its root mean square, and its standard deviation as a share of that."""

    size: list[float]
    spread: list[float]


@dataclass(frozen=True)
class Part:
    """The figures of one layer or merge in one look; None where there is no such number.

    Attributes:
        path: Its path in the model; empty for the model itself.
        name: Its class and arguments.
        output: Root mean square of its output y.
        error: Root mean square of its error, ∂e/∂y.
        flat: Of an activation: the share of its outputs at which its slope is below 5 % of the steepest.
        dead: Of an activation: the share of its units that are flat in every row.
        two_ended: Whether it is flat at both ends, as Sigmoid is and ReLU is not.
        alike: Whether all units have the same weights.
        weights: Root mean square of its weights, the parameters of two or more dimensions.
        update: Size of one update of the weights, as a share of their size.
        idle: Why it does not learn: "frozen", or "not held by the optimizer".
        inputs: Of a layer with weights that is fed with data: the scale of its inputs; in the first look only.
    """

    path: str
    name: str
    output: float
    error: float | None
    flat: float | None
    dead: float | None
    two_ended: bool
    alike: bool
    weights: float | None
    update: float | None
    idle: str | None
    inputs: Scale | None


@dataclass(frozen=True)
class Look:
    """The figures of one look at a run.

    Attributes:
        step: Updates of the optimizer before it.
        rate: Learning rate.
        loss: Loss on the rows of the Watch.
        shuffled: The same with the targets in another order: the loss of predictions that know nothing of their row.
        after: The loss after one more update.
        moved: Distance of the weights from those of the first look, as a share of their size then.
        parts: The figures of each layer and merge, in the order of the forward pass.
        targets: The scale of the targets, if they are values; in the first look only.
        commonest: Share of the rows that have the most common target; in the first look only.
        outside: Share of the targets outside of the range of the last activation; in the first look only.
    """

    step: int
    rate: float
    loss: float
    shuffled: float
    after: float
    moved: float
    parts: list[Part]
    targets: Scale | None
    commonest: float
    outside: float

    @property
    def skill(self) -> float:
        """How much better the predictions fit their own targets than those of other rows: 1 at best, 0 for nothing."""
        largest = max(abs(self.loss), abs(self.shuffled))
        return (self.shuffled - self.loss) / largest if 0 < largest < inf else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def look_from(plain: dict[str, Any]) -> Look:
    """Make a look from what `to_dict` returned."""

    def scale(found: dict[str, Any] | None) -> Scale | None:
        return None if found is None else Scale(**found)

    parts = [Part(**{**part, "inputs": scale(part["inputs"])}) for part in plain["parts"]]
    return Look(**{**plain, "parts": parts, "targets": scale(plain["targets"])})
