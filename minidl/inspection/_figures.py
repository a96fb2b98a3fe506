"""The figures of one look at a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import inf
from typing import Any


@dataclass(frozen=True)
class Scale:
    """The scale of some columns.

    Attributes:
        size: Root mean square of each.
        spread: Standard deviation of each, as a share of its size.
        far: Largest distance from the median in each, in interquartile ranges; 0 where that range is 0.
        farthest: The value at that distance.
        repeats: How many rows have that value.
    """

    size: list[float]
    spread: list[float]
    far: list[float]
    farthest: list[float]
    repeats: list[int]


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
        kept: Of a layer that keeps the shape, such as LayerNorm: different rows in its output, over those in its input.
        dropped: The rate of a Dropout.
        mixes_rows: Whether a row of its output depends on other rows in training, as in a BatchNorm.
        alike: Whether all units have the same weights.
        weights: Root mean square of its weights, the parameters of two or more dimensions.
        update: Size of one update of the weights, as a share of their size.
        idle: Why it does not learn: "frozen", or "not held by the optimizer".
        inputs: Of a layer with weights that is fed with data: the scale of its inputs, of all rows; in the first look
            only.
    """

    path: str
    name: str
    output: float
    error: float | None
    flat: float | None
    dead: float | None
    two_ended: bool
    kept: float | None
    dropped: float | None
    mixes_rows: bool
    alike: bool
    weights: float | None
    update: float | None
    idle: str | None
    inputs: Scale | None


def skill(loss: float, shuffled: float) -> float:
    """Return what a loss gains over that with the targets of other rows, as a share of the larger one."""
    largest = max(abs(loss), abs(shuffled))
    return (shuffled - loss) / largest if 0 < largest < inf else 0.0


@dataclass(frozen=True)
class Look:
    """The figures of one look at a run.

    Attributes:
        step: Updates of the optimizer before it.
        rate: Learning rate.
        momentum: The momentum of the optimizer, Adam's β₁; 0 for one without.
        loss: Loss on the rows of the Watch.
        shuffled: The same with the targets of other rows: the loss of predictions that know nothing of their row.
        after: The loss after one more update.
        moved: Distance of the weights from those of the first look, as a share of their size then.
        parts: The figures of each layer and merge, in the order of the forward pass.
        wrong: Maps each layer and loss of the user's to the relative difference of its gradient to a numeric one.
        targets: The scale of the targets of all rows, if they are values; in the first look only.
        one_target: Whether all rows have the same target; in the first look only.
        outside: Share of the targets outside of the range of the last activation; in the first look only.
        capped: Whether that range is small though the loss takes any number, as that of ReLU in front of PoissonLoss.
        batch: Rows that the model is trained with at a time; 0 if they differ.
        grouped: What share of the variance of the targets lies between the batches of a run that does not shuffle; in
            the first look only.
        rare_weight: The smallest mean weight of a rare class over that of all rows; in the first look only.
    """

    step: int
    rate: float
    momentum: float
    loss: float
    shuffled: float
    after: float
    moved: float
    parts: list[Part]
    wrong: dict[str, float]
    targets: Scale | None
    one_target: bool
    outside: float
    capped: bool
    batch: int
    grouped: float
    rare_weight: float

    @property
    def skill(self) -> float:
        """How much better the predictions fit their own targets than those of other rows: 1 at best, 0 for nothing."""
        return skill(self.loss, self.shuffled)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True)
class End:
    """The figures of the end of a run, on all rows.

    Attributes:
        loss: The loss.
        shuffled: The loss with the targets of other rows.
        noise: Standard error of the skill.
        rows: How many rows were judged.
        numbers: How many numbers the model learns.
        probe: The loss of some of the rows.
        training: The same in training mode, with Dropout and the means of a BatchNorm.
        constant: The loss of the best constant output for these rows; infinite if the run has weights that differ.
        columns: Of targets that are values: what share of the variance of each column the predictions explain.
        stopped: The reason of the callback that ended the run; empty if none did.
        factor: The smallest of 1, 10, 100, … times the largest learning rate at which more updates would still make the
            loss smaller; None if there is none, or if nobody asked.
        fall: What share of the loss those updates took away.
        without: "clip" or "penalty" if they did so only without it; else empty.
        brakes: What else makes the updates small or large: the clip, the mean of the sample weights.
    """

    loss: float
    shuffled: float
    noise: float
    rows: int
    numbers: int
    probe: float
    training: float
    constant: float
    columns: list[float]
    stopped: str
    factor: float | None
    fall: float
    without: str
    brakes: str

    @property
    def skill(self) -> float:
        """The skill, as that of a look."""
        return skill(self.loss, self.shuffled)

    @property
    def gain(self) -> float:
        """The skill with the best constant output in place of the targets of other rows, where it is known."""
        return skill(self.probe, self.constant) if self.constant < inf else self.skill


def look_from(plain: dict[str, Any]) -> Look:
    """Make a look from what `to_dict` returned."""

    def scale(found: dict[str, Any] | None) -> Scale | None:
        return None if found is None else Scale(**found)

    parts = [Part(**{**part, "inputs": scale(part["inputs"])}) for part in plain["parts"]]
    return Look(**{**plain, "parts": parts, "targets": scale(plain["targets"])})
