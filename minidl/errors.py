"""The errors that minidl raises: each says where, what was expected, what came, and what to do."""

from __future__ import annotations

from copyreg import __newobj__  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "ArgumentError",
    "CallOrderError",
    "CompileError",
    "DTypeError",
    "DataError",
    "DivergenceError",
    "FileFormatError",
    "GradientError",
    "MinidlError",
    "RankError",
    "ShapeError",
    "StructureError",
]


class MinidlError(Exception):
    """Base of every error that minidl raises on purpose."""


class ArgumentError(MinidlError, ValueError):
    """An argument lies outside of what it may be: a size, a rate, a probability, a name."""


class ShapeError(MinidlError, ValueError):
    """An array does not have the shape that the receiver needs."""


class DTypeError(MinidlError, TypeError):
    """An array or an argument is of a kind that cannot be computed with here.

    Example:
        >>> from minidl import Dense
        >>> Dense(1, 1, dtype=np.int64)
        Traceback (most recent call last):
        minidl.errors.DTypeError: Parameter: expected dtype float64 or float32, got int64
    """


class DataError(MinidlError, ValueError):
    """The data cannot be learned from: empty, not finite, labels outside of the classes.

    Example:
        >>> from minidl import SGD, MeanSquaredError, Trainer, mlp
        >>> model = mlp([1, 1])
        >>> trainer = Trainer(model, MeanSquaredError(), SGD(model.parameters(), 0.1))
        >>> trainer.fit(np.full((4, 1), np.nan), np.ones((4, 1)), epochs=1)
        Traceback (most recent call last):
        minidl.errors.DataError: x: expected finite numbers, got nan at index (0, 0) (4 in all); drop or fill those rows
    """


class StructureError(MinidlError, ValueError):
    """Layers do not fit together: sizes that do not chain, the same layer at two places."""


class CompileError(StructureError):
    """A network cannot be compiled, where that was asked for.

    Example:
        >>> from minidl import SGD, Add, Graph, MeanSquaredError, Trainer, mlp
        >>> model = Graph({"a": (mlp([2, 2]), "x"), "sum": (Add(), "a", "x")}, output="sum")
        >>> trainer = Trainer(model, MeanSquaredError(), SGD(model.parameters(), 0.1), engine="compiled")
        >>> trainer.fit(np.ones((4, 2)), np.ones((4, 2)), epochs=1)
        Traceback (most recent call last):
        minidl.errors.CompileError: ...
    """


class CallOrderError(MinidlError, RuntimeError, AttributeError):
    """A call came before the call that it builds on: ``backward`` before ``forward``.

    It is an ``AttributeError`` as well, because it often starts as the look-up of something that
    ``forward`` would have kept, and ``hasattr`` must go on working.
    """


class GradientError(MinidlError, ArithmeticError):
    """A gradient is not finite, so that no step can follow it.

    Example:
        >>> from minidl import ClipGlobalNorm, Parameter
        >>> weight = Parameter(np.zeros(2))
        >>> weight.grad += np.inf
        >>> clip = ClipGlobalNorm(1.0)
        >>> clip([weight])
        Traceback (most recent call last):
        minidl.errors.GradientError: ClipGlobalNorm(1): expected finite gradients, ...
    """


class DivergenceError(MinidlError, ArithmeticError):
    """Training produced a number that is not finite; the last finite weights stand.

    Attributes:
        epoch: Number of the epoch, from 0.
        batch: Number of the batch in the epoch, from 0.
        learning_rate: The rate of the update that failed.
        layer: Path of the first layer with a value that is not finite, ``""`` for the whole model.
        phase: ``"forward"``, ``"loss"``, ``"backward"`` or ``"update"``.
        data: The batch that failed, (x, y) or (x, y, sample_weight), for `minidl.inspection.trace`.
    """

    def __init__(
        self,
        message: str,
        *,
        epoch: int,
        batch: int,
        learning_rate: float,
        layer: str,
        phase: str,
        data: tuple[npt.NDArray[Any], ...] = (),
    ) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.batch = batch
        self.learning_rate = learning_rate
        self.layer = layer
        self.phase = phase
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return __newobj__, (type(self), *self.args), vars(self)


class RankError(MinidlError, RuntimeError):
    """Ranks that train together cannot go on: one has failed, or they no longer do the same.

    Example::

        from minidl import Trainer
        from minidl.errors import RankError

        trainer = Trainer(model, loss, optimizer)  # with ranks=MPI.COMM_WORLD
        try:
            trainer.fit(x, y, epochs=2)
        except RankError as error:
            print(f"stopped: {error}")
    """


class FileFormatError(MinidlError, ValueError):
    """A file was refused: it is damaged, hostile, or does not fit the model; nothing was changed.

    Attributes:
        path: The file.
        expected: What should have been there.
        found: What was there.
        tensor: Name of the tensor that is wrong; None where it is the file as a whole.
    """

    def __init__(self, path: str, expected: str, found: str, tensor: str | None = None) -> None:
        super().__init__(path, expected, found, tensor)
        self.path = path
        self.expected = expected
        self.found = found
        self.tensor = tensor

    def __str__(self) -> str:
        where = self.path if self.tensor is None else f'{self.path}: tensor "{self.tensor}"'
        return f"{where}: expected {self.expected}, got {self.found}"
