"""What a solver is asked to do, checked at the door: the data, the parameters, and whether the layers allow it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from ..arrays import Array, features, finite, real
from ..data import check_ending, check_parts, checked
from ..errors import ArgumentError, DataError, DTypeError, StructureError
from ..layers.layer import Layer
from ..layers.merge import Merge
from ..layers.structure import brief
from ..losses import Loss
from ..parameter import Parameter, ParameterVector, unique_parameters


def checked_rows(where: str, model: Layer, x: npt.ArrayLike) -> Array:
    """Return the input of a model, cast to its dtype.

    Raises:
        DTypeError: a model that is not a layer, or data that is not made of real numbers.
        ShapeError: a width that the model does not take.
        DataError: no rows, NaN or infinity.
    """
    if not isinstance(model, Layer):
        raise DTypeError(f"{where}(model): expected a Layer, got {model!r}")
    rows = features(x, where, model.input_features(), model.dtype, model.takes_any_rank)
    finite(rows, f"{where}(x)")
    if not len(rows):
        raise DataError(f"{where}(x): expected at least one row, got none")
    return rows


def checked_data(where: str, model: Layer, loss: Loss, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Array, Array]:
    """Return (x, y), cast to the dtype of the model.

    Raises:
        DTypeError, ShapeError, DataError: as `minidl.data.checked`.
        StructureError: a model that ends in Sigmoid or Softmax under a loss that contains it.
    """
    check_parts(where, model=(model, Layer), loss=(loss, Loss))
    check_ending(where, model, loss)
    rows, targets = checked(model, loss, x, y)
    return rows, targets


def held_out_data(where: str, model: Layer, loss: Loss, validation: object) -> tuple[Array, Array] | None:
    """Return the validation data, cast to the dtype of the model; None where there is none.

    Raises:
        DTypeError: something else than a pair; else as `checked_data`.
    """
    if validation is None:
        return None
    if not isinstance(validation, (tuple, list)) or len(validation) != 2:
        raise DTypeError(
            f"{where}(validation): expected a pair (x, y), got {validation!r:.60}; a solver holds out no fraction, "
            "split the rows first: x[::4], y[::4]"
        )
    return checked_data(where, model, loss, *validation)


def chosen_parameters(where: str, model: Layer, parameters: Iterable[Parameter] | None) -> list[Parameter]:
    """Return the parameters to work on: those given, or all of the model.

    Raises:
        ArgumentError: one that the model does not hold, or none at all.
    """
    held = model.parameters()
    chosen = unique_parameters(held if parameters is None else parameters)
    for parameter in chosen:
        if not any(parameter is own for own in held):
            raise ArgumentError(f"{where}(parameters): expected parameters of the model, got another {parameter!r}")
    return chosen


def learned_parameters(where: str, model: Layer, parameters: Iterable[Parameter] | None) -> list[Parameter]:
    """Return the parameters to learn: those given, or all of the model that are not frozen.

    Raises:
        ArgumentError: one that the model does not hold or that is frozen, or none at all.
    """
    chosen = chosen_parameters(where, model, parameters)
    if parameters is None and all(parameter.frozen for parameter in chosen):
        raise ArgumentError(f"{where}: expected parameters to learn, got a frozen model; unfreeze() some of it")
    if parameters is not None and any(parameter.frozen for parameter in chosen):
        raise ArgumentError(f"{where}(parameters): expected parameters to learn, got a frozen one; unfreeze() it first")
    return [parameter for parameter in chosen if not parameter.frozen]


def decay_vector(where: str, vector: ParameterVector, l2: float, decayed: Iterable[Parameter] | None) -> Array:
    """Return the factor of each number in the L2 term ½ Σ λᵢ wᵢ²; float64."""
    strength = real(l2, f"{where}(l2)", least=0)
    chosen = [p for p in vector.parameters if len(p.shape) >= 2] if decayed is None else list(decayed)
    places = dict(zip(vector.parameters, vector.slices(), strict=True))
    decay = np.zeros(vector.values.size)
    for parameter in chosen:
        if parameter not in places:
            raise ArgumentError(f"{where}(decayed): {parameter!r} is not among the parameters that are learned")
        decay[places[parameter]] = strength
    return decay


def refuse_random(where: str, model: Layer) -> None:
    """Refuse layers that draw: a full-batch method compares losses, which must not depend on luck.

    Raises:
        StructureError: naming the first.
    """
    for path, part in parts(model):
        if any(isinstance(child, np.random.Generator) for _, child in part.children()):
            raise StructureError(
                f"{where}: expected layers that compute the same each time, but {located(part, path)} draws random "
                "numbers; leave it out, or train with an optimizer"
            )


def refuse_coupled_rows(where: str, model: Layer, x: Array) -> None:
    """Refuse layers in which one row depends on the others: a Jacobian by rows would be wrong.

    Raises:
        StructureError: naming the layer, or saying that the rows were found to be coupled.
    """
    for path, part in parts(model):
        if isinstance(part, Layer) and (part.couples_rows or part.smallest_batch > 1):
            raise StructureError(
                f"{where}: expected layers that treat each row alone, but {located(part, path)} couples the rows of "
                "a batch; use LayerNorm or RMSNorm, or lbfgs"
            )
    some = slice(None, None, 2)
    with np.errstate(all="ignore"):
        together, apart = model.forward(x)[some], model.forward(x[some])
        rounding = float(np.finfo(apart.dtype).eps) ** 0.5 * max(1.0, float(np.abs(together).max(initial=0.0)))
        alone = np.allclose(together, apart, rtol=0.0, atol=rounding, equal_nan=True)
    if not alone:
        raise StructureError(
            f"{where}: expected outputs that depend on their own row of x alone, but half of the rows gave other "
            "outputs than all rows; a layer couples rows or draws random numbers without declaring it"
        )


def parts(model: Layer) -> list[tuple[str, Layer | Merge]]:
    """List the model and all layers and merges in it, with their paths."""
    inner = [(path, part) for path, part in model.walk() if isinstance(part, (Layer, Merge))]
    return [("", model), *inner]


def located(part: Layer | Merge, path: str) -> str:
    """Name a part and its place."""
    return f'{brief(part)} at "{path}"' if path else brief(part)
