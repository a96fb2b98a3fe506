"""Validate the data once, before training starts."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ._core.arrays import check_weights, dense, features, finite
from .errors import DataError, DTypeError, MinidlError, ShapeError, StructureError
from .layers.activations import Sigmoid, Softmax
from .layers.base import Layer, trait
from .layers.dense import Dense
from .layers.graph import Graph
from .layers.merges import Merge
from .layers.sequential import Sequential
from .losses import Loss

Rows: TypeAlias = npt.NDArray[Any]
"""An array with one row, or one label, for each sample."""

LARGE = 1 << 26
"""Bytes of memory-mapped data above which it is read by pieces, so that a fit needs little memory for it. It is four
pieces: a shuffle within pieces of smaller data would be all of the shuffle or nearly all."""

PIECE = 1 << 24
"""Approximate bytes of a piece of large data. A piece is in memory twice for a moment, and a third time for a cast."""


def checked(
    model: Layer,
    loss: Loss,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    *,
    where: str = "",
    zeros: bool = False,
) -> tuple[Rows, ...]:
    """Return (x, y) or (x, y, sample_weight), cast to the dtype of the model; what already fits is not copied.

    ``where`` is put before the name of sample_weight in an error. With ``zeros``, for one batch of several, all weights
    may be 0.

    For a model with one output, ``y`` may be of shape ``(rows,)``, and is returned as ``(rows, 1)``; a loss that takes
    labels of that shape gets them as they are.

    Raises:
        ShapeError: a width that the model does not take or give, or different numbers of rows.
        DTypeError: data that is not made of real numbers.
        DataError: no rows, NaN or infinity, labels outside of the classes, weights that are all 0.
    """
    inputs = checked_input(model, x, "x")
    outputs = model.output_features(int(np.prod(inputs.shape[1:])))
    targets = _checked_targets(loss, dense(y, f"{loss!r}: target y"), outputs, inputs.dtype)
    rows = check_lengths(x=inputs, y=targets)
    if sample_weight is None:
        return inputs, targets
    weights = check_weights(sample_weight, rows, inputs.dtype, f"{where}sample_weight", zeros=zeros)
    return inputs, targets, weights


def checked_data(
    model: Layer,
    loss: Loss,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    *,
    where: str = "",
) -> tuple[Rows, ...]:
    """Return what `checked` returns; but data that `is_large` is checked by pieces, and returned without a cast.

    A reader of it calls `checked` for each piece, which casts the piece.
    """
    if not is_large((x, y, sample_weight)):
        return checked(model, loss, x, y, sample_weight, where=where)
    given = {"x": x, "y": y} | ({} if sample_weight is None else {"sample_weight": sample_weight})
    arrays = tuple([dense(array, name) for name, array in given.items()])
    rows, counts = check_lengths(**dict(zip(given, arrays, strict=True))), len(arrays) == 2
    size = rows_of_piece(arrays, PIECE)
    for begin in range(0, rows, size):
        end = min(begin + size, rows)
        try:
            piece = checked(model, loss, *[array[begin:end] for array in arrays], where=where, zeros=True)
        except MinidlError as error:
            error.add_note(f"in the rows from {begin} to {end}, counted from {begin} as row 0")
            raise
        counts = counts or bool(piece[2].any())
    if not counts:
        check_weights(arrays[2], rows, piece[2].dtype, f"{where}sample_weight", zeros=False)
    targets = arrays[1][:, None] if arrays[1].ndim < piece[1].ndim else arrays[1]
    return arrays[0], targets, *arrays[2:]


def is_large(arrays: Sequence[object]) -> bool:
    """Return whether arrays are views of memory-mapped files, with more than `LARGE` bytes together."""
    size = 0
    for array in arrays:
        size += getattr(array, "nbytes", 0)
    return size > LARGE and sum([getattr(array, "nbytes", 0) for array in arrays if _memory_map(array)]) > LARGE


def _memory_map(array: Any) -> mmap.mmap | None:
    """Return the memory map that an array is a view of; None for other data."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array if isinstance(array, mmap.mmap) else None


def read_ahead(array: Rows, parts: Sequence[slice]) -> None:
    """Make the system read parts of a memory-mapped file at once; page after page would take three times as long."""
    file, stride = _memory_map(array), array.strides[0]
    if file is None or stride < 0 or not hasattr(mmap, "MADV_WILLNEED"):
        return
    first = array.__array_interface__["data"][0] - np.frombuffer(file, np.uint8).__array_interface__["data"][0]
    for part in parts:
        begin, end = first + part.start * stride, first + part.stop * stride
        page = begin - begin % mmap.PAGESIZE
        file.madvise(mmap.MADV_WILLNEED, page, end - page)


def rows_of_piece(arrays: Sequence[Rows], size: int) -> int:
    """Return how many rows of the arrays together have ``size`` bytes, at least one."""
    return max(1, size * len(arrays[0]) // (sum([array.nbytes for array in arrays]) + 1))


def checked_input(model: Layer, x: npt.ArrayLike, where: str) -> Rows:
    """Return the input of a model, cast to its dtype.

    Raises:
        ShapeError, DTypeError, DataError: as `checked`; no rows are allowed.
    """
    inputs = features(x, where, trait(model, "in_features"), model.dtype, trait(model, "takes_any_rank"))
    finite(inputs, where)
    return inputs


def _checked_targets(loss: Loss, y: Rows, outputs: int, dtype: np.dtype[Any]) -> Rows:
    try:
        return loss.check_data(y, outputs, dtype)
    except ShapeError:
        if y.ndim != 1 or loss.target_features(outputs) != 1:
            raise
    return loss.check_data(y[:, None], outputs, dtype)


def described(value: object) -> str:
    """Describe a wrong argument in a few words on one line."""
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of length {len(value)}"
    if getattr(value, "shape", None):
        return f"{type(value).__name__} of shape {value.shape}"  # type: ignore[attr-defined]
    return " ".join(repr(value).split())[:60]


def check_parts(where: str, **parts: tuple[object, type[Any]]) -> None:
    """Refuse an argument of the wrong type, and name the usual slip: a class without parentheses.

    Args:
        where: The function that was called.
        parts: Maps each argument to its value and its type.
    """
    for name, (value, kind) in parts.items():
        if not isinstance(value, kind):
            hint = f"; did you forget the parentheses of {value.__name__}()?" if isinstance(value, type) else ""
            hint = "; give an object, not a name" if isinstance(value, str) else hint
            for own in (name, f"{name}_"):  # of a Trainer, of an estimator
                hint = f"; give its .{own}" if isinstance(getattr(value, own, None), kind) else hint
            article = "an" if kind.__name__[0] in "AEIO" else "a"
            raise DTypeError(f"{where}({name}): expected {article} {kind.__name__}, got {described(value)}{hint}")


def check_ending(where: str, model: Layer, loss: Loss) -> None:
    """Refuse a model if its last layer does not fit the loss.

    A loss from logits contains a Sigmoid or Softmax: a second one in the model makes the model wrong, although its
    gradient is right. A loss from probabilities cannot learn from a Dense layer, which gives any number.

    Raises:
        StructureError: naming the loss and the layer.
    """
    last = last_part(model)
    if loss.from_logits and isinstance(last, (Sigmoid, Softmax)):
        raise StructureError(
            f"{where}: {loss!r} expects logits, but the model ends in {last!r}, which the loss contains already; "
            f"leave the last layer out for training and predict with it: Sequential(model, {last!r})"
        )
    width = trait(model, "in_features")
    if isinstance(last, Softmax) and width is not None and model.output_features(width) == 1:
        raise StructureError(f"{where}: expected several outputs for {last!r}, got one, whose softmax is always 1; for "
                             "two classes use Sigmoid(), or SigmoidCrossEntropy() without a last layer")
    # A subclass of Dense may well give probabilities.
    if loss.from_probabilities and type(last) is Dense:
        raise StructureError(
            f"{where}: {loss!r} expects probabilities, but the model ends in {last!r}, which gives any number; end it "
            "in Sigmoid() or Softmax(), or use SigmoidCrossEntropy() or SoftmaxCrossEntropy(), which work on logits"
        )


def last_part(model: Layer) -> Layer | Merge:
    """Return the layer or merge that computes the output of a model, inside of chains and graphs."""
    last: Layer | Merge = model
    while isinstance(last, (Sequential, Graph)):
        last = last[-1] if isinstance(last, Sequential) else last.nodes[last.output][0]
    return last


def check_lengths(**arrays: Rows) -> int:
    """Return the number of rows that some named arrays have in common.

    Raises:
        ShapeError: they differ, or one is a single number.
        DataError: there are no rows.
    """
    lengths = {}
    for name, array in arrays.items():
        if array.ndim == 0:
            raise ShapeError(f"{name}: expected an array with one row for each sample, got the single {array!r}")
        lengths[name] = len(array)
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ShapeError(f"expected the same number of rows in {' and '.join(lengths)}, got {found}")
    rows = next(iter(lengths.values()))
    if rows == 0:
        raise DataError(f"{' and '.join(lengths)}: expected at least one row, got none")
    return rows


def nearest(name: str, names: Sequence[str], cutoff: float) -> str:
    """Ask whether one of some names was meant, where one is close enough to be a misspelling."""
    from difflib import get_close_matches

    return "".join(f"; did you mean {close}?" for close in get_close_matches(name, names, 1, cutoff))


def batch_count(rows: int, size: int) -> int:
    """Return the number of batches; a single left-over row joins the batch before it."""
    full, rest = divmod(rows, size)
    return max(1, full + (rest > 1 or (rest == 1 and size == 1)))
