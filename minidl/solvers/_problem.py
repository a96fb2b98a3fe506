"""Check the arguments of a solver: data, penalties, parameters and layers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import ParamSpec, TypeAlias

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array
from .._core.blas import one_blas_thread
from .._core.parameter import Parameter, unique_parameters
from .._data import check_ending, check_lengths, check_parts, checked, checked_input
from ..errors import ArgumentError, DTypeError, StructureError
from ..layers._parts import children, walk
from ..layers._structure import one_line
from ..layers.base import Layer, trait
from ..layers.merges import Merge
from ..losses import Loss, MeanSquaredError
from ..optimizers.penalties import L1, L2, Penalty, checked_penalties
from ._result import SolverResult

Validation: TypeAlias = (
    tuple[npt.ArrayLike, npt.ArrayLike] | tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike | None]
)
"""(x, y) or (x, y, sample_weight)."""

Data: TypeAlias = tuple[Array, Array, Array | None]
"""(x, y, sample_weight), checked."""

P = ParamSpec("P")


class Problem:
    """The objective of a solver; everything is checked before anything is changed.

    Args:
        title: Name of the solver, for messages.
        model, loss, x, y, sample_weight, penalties, validation, parameters: As `lbfgs` takes them.

    Attributes:
        held_out: The validation data; None if there is none.
        parameters: The parameters to learn.
        known: All parameters that the model has at the beginning.

    Raises:
        ShapeError, DTypeError, DataError, ArgumentError, StructureError: an argument is wrong; the message names it.
    """

    def __init__(
        self,
        title: str,
        model: Layer,
        loss: Loss | None,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None,
        penalties: Iterable[Penalty],
        validation: Validation | None,
        parameters: Iterable[Parameter] | None,
    ) -> None:
        self.title, self.model = title, model
        self.loss = loss = MeanSquaredError() if loss is None else loss
        self.x, self.y, self.sample_weight = checked_data(title, model, loss, x, y, sample_weight)
        self.held_out = held_out_data(title, model, loss, validation)
        refuse_random(title, model)
        self.penalties = checked_penalties(penalties, model.parameters(), title)
        for penalty in self.penalties:
            if isinstance(penalty, L1):
                raise ArgumentError(
                    f"{title}(penalties): expected penalties with a derivative everywhere, got {penalty!r}, which has "
                    "none at 0; train with an optimizer, or use L2"
                )
        self.parameters = learned_parameters(title, model, parameters)
        self.known = set(model.parameters())

    def refuse_new_parameters(self) -> None:
        """Refuse parameters that the first `forward` has made, because the solver does not hold them.

        Raises:
            StructureError: there are such parameters; the message names them.
        """
        new = [path for path, own in self.model.named_parameters().items() if own not in self.known]
        if new:
            raise StructureError(f"{self.title}: expected a model that has all its parameters, but forward made "
                                 f"{', '.join(new)}; run the model once before: model.forward(x[:2])")


def loss_by_keyword(solver: Callable[P, SolverResult]) -> Callable[P, SolverResult]:
    """Refuse ``solver(model, loss, x, y)`` and show the right call; Python's error would only count the arguments."""

    @functools.wraps(solver)
    def called(*args: P.args, **kwargs: P.kwargs) -> SolverResult:
        given = args[1] if len(args) > 1 else kwargs.get("x")
        if isinstance(given, Loss):
            name = solver.__name__
            raise DTypeError(f"{name}(x): expected the input, got {given!r}; write {name}(model, x, y, loss={given!r})")
        return solver(*args, **kwargs)

    return called


def checked_rows(where: str, model: Layer, x: npt.ArrayLike) -> Array:
    """Return the input of a model, cast to its dtype.

    Raises:
        DTypeError: a model that is not a layer, or data that is not made of real numbers.
        ShapeError: a width that does not fit the model.
        DataError: no rows, NaN or infinity.
    """
    check_parts(where, model=(model, Layer))
    rows = checked_input(model, x, f"{where}(x)")
    check_lengths(**{f"{where}(x)": rows})
    return rows


def checked_data(
    where: str,
    model: Layer,
    loss: Loss,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None,
    part: str = "",
) -> Data:
    """Return (x, y, sample_weight), cast to the dtype of the model.

    Raises:
        DTypeError, ShapeError, DataError: as `minidl._data.checked`.
        StructureError: a model that ends in Sigmoid or Softmax under a loss that contains it.
    """
    check_parts(where, model=(model, Layer), loss=(loss, Loss))
    check_ending(where, model, loss)
    rows, targets, *weights = checked(model, loss, x, y, sample_weight, where=part)
    return rows, targets, weights[0] if weights else None


def held_out_data(where: str, model: Layer, loss: Loss, validation: Validation | None) -> Data | None:
    """Return the validation data, cast to the dtype of the model; None where there is none.

    Raises:
        DTypeError: not two or three arrays; else as `checked_data`.
    """
    if validation is None:
        return None
    if not isinstance(validation, (tuple, list)) or len(validation) not in (2, 3):
        raise DTypeError(
            f"{where}(validation): expected (x, y) or (x, y, sample_weight), got {validation!r:.60}; a solver holds "
            "out no fraction, split the rows first: x[::4], y[::4]"
        )
    x, y, sample_weight = validation if len(validation) == 3 else (*validation, None)
    return checked_data(where, model, loss, x, y, sample_weight, f"{where}(validation): ")


def chosen_parameters(where: str, model: Layer, parameters: Iterable[Parameter] | None) -> list[Parameter]:
    """Return the parameters to work on: the given ones, or all of the model.

    Raises:
        ArgumentError: one that the model does not hold, or none at all.
    """
    held = model.parameters()
    chosen = unique_parameters(held if parameters is None else parameters, f"{where}(parameters)")
    for parameter in chosen:
        if not any(parameter is own for own in held):
            raise ArgumentError(f"{where}(parameters): expected parameters of the model, got another {parameter!r}")
    return chosen


def learned_parameters(where: str, model: Layer, parameters: Iterable[Parameter] | None) -> list[Parameter]:
    """Return the parameters to learn: the given ones, or all of the model that are not frozen.

    Raises:
        ArgumentError: one that the model does not hold or that is frozen, or none at all.
    """
    chosen = chosen_parameters(where, model, parameters)
    if parameters is None and all(parameter.frozen for parameter in chosen):
        raise ArgumentError(f"{where}: expected parameters to learn, got a frozen model; unfreeze() some of it")
    if parameters is not None and any(parameter.frozen for parameter in chosen):
        raise ArgumentError(f"{where}(parameters): expected parameters to learn, got a frozen one; unfreeze() it first")
    return [parameter for parameter in chosen if not parameter.frozen]


def l2_strengths(problem: Problem) -> dict[Parameter, float]:
    """Return λ of each parameter in the term Σ ½ λ w², all L2 penalties added.

    Raises:
        ArgumentError: a penalty that is not L2.
    """
    strengths: dict[Parameter, float] = {}
    for penalty in problem.penalties:
        kind = type(penalty)
        if kind.value is not L2.value or kind.backward is not L2.backward:
            raise ArgumentError(
                f"{problem.title}(penalties): expected L2 penalties, which are sums of squares, got {penalty!r}; use "
                "lbfgs, which takes any penalty with a derivative"
            )
        for parameter in penalty.parameters:
            strengths[parameter] = strengths.get(parameter, 0.0) + penalty.strength
    return strengths


def refuse_random(where: str, model: Layer) -> None:
    """Refuse layers that draw random numbers: a full-batch method compares losses, which must not be random.

    Raises:
        StructureError: there is such a layer; the message names the first.
    """
    for path, part in parts(model):
        if any(isinstance(child, np.random.Generator) for _, child in children(part)):
            raise StructureError(
                f"{where}: expected layers that compute the same each time, but {located(part, path)} draws random "
                "numbers; leave it out, or train with an optimizer"
            )


def refuse_coupling_layers(where: str, model: Layer) -> None:
    """Refuse layers that declare that one row depends on the others: a Jacobian by rows would be wrong.

    Raises:
        StructureError: there is such a layer; the message names the first.
    """
    for path, part in parts(model):
        if couples(part):
            raise StructureError(
                f"{where}: expected layers that treat each row alone, but {located(part, path)} couples the rows of "
                "a batch; use LayerNorm or RMSNorm, or freeze() it where it is a BatchNorm, or use lbfgs"
            )


def couples(part: object) -> bool:
    """Return whether a part declares that one row depends on the others."""
    return isinstance(part, Layer) and (trait(part, "couples_rows") or trait(part, "smallest_batch") > 1)


def forward_by_rows(where: str, own: Layer, x: Array) -> Array:
    """Return the outputs of a copy of a model; refuse one in which a row depends on the others without declaring it.

    Raises:
        StructureError: half of the rows give other outputs than all rows.
    """
    some = slice(None, None, 2)
    with np.errstate(all="ignore"):
        apart = own.forward(x[some]) if len(x) > 1 else None
        y = own.forward(x)
        if apart is not None:
            rounding = float(np.finfo(y.dtype).eps) ** 0.5 * max(1.0, float(np.abs(y[some]).max(initial=0.0)))
            if not np.allclose(y[some], apart, rtol=0.0, atol=rounding, equal_nan=True):
                raise StructureError(
                    f"{where}: expected outputs that depend on their own row of x alone, but half of the rows gave "
                    "other outputs than all rows; a layer couples rows or draws random numbers without declaring it"
                )
    return y


def blas_threads_for(model: Layer, x: Array) -> AbstractContextManager[None]:
    """Return a context for passes of all rows through a model: BLAS uses one thread in it if they are small."""
    return one_blas_thread(len(x) * max([parameter.size for parameter in model.parameters()], default=0))


def parts(model: Layer) -> list[tuple[str, Layer | Merge]]:
    """List the model and all layers and merges in it, with their paths."""
    inner = [(path, part) for path, part in walk(model) if isinstance(part, (Layer, Merge))]
    return [("", model), *inner]


def located(part: Layer | Merge, path: str) -> str:
    """Describe a part and its path."""
    return f'{one_line(part)} at "{path}"' if path else one_line(part)
