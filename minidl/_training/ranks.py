"""Messages between ranks: processes that train one model together, each with its own copy of it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array
from .._core.interrupts import Interrupts
from .._data import described
from ..errors import ArgumentError, DTypeError, RankError

HEAD = 5
"""Numbers before the body of a message: share × loss, rows, how many ranks want a pause, are between two batches, have
failed."""


class Communicator(Protocol):
    """What minidl needs of the processes that train together; ``MPI.COMM_WORLD`` of mpi4py has it."""

    def Get_rank(self) -> int:  # noqa: N802 - the names of MPI
        """Return the number of this process, from 0."""

    def Get_size(self) -> int:  # noqa: N802
        """Return the number of processes."""

    def Allreduce(self, send: Any, receive: Any, /) -> object:  # noqa: N802
        """Put the sum of the arrays ``send`` of all processes into the array ``receive`` of each."""


class Message:
    """The memory of a message: a few numbers in float64, then a body in the dtype of the model.

    Args:
        size: Numbers of the body.
        dtype: float64 or float32.
    """

    def __init__(self, size: int, dtype: npt.DTypeLike) -> None:
        together = dtype == np.float64
        whole = np.zeros(HEAD + size * together)
        self.head: Array = whole[:HEAD]
        self.body: Array = whole[HEAD:] if together else np.zeros(size, dtype)
        self.arrays: list[Array] = [whole] if together else [whole, self.body]


class Ranks:
    """Send messages to the other ranks. Every rank sends the same messages in the same order.

    A rank that fails sends one message more, which says so, in place of the next. So no other rank waits in vain.

    Args:
        communicator: Sums arrays over all ranks.

    Attributes:
        rank: Number of this rank.
        size: Number of ranks.
        wish: Why this rank wants to end the run; the others do not know it yet.
        signal: The signal that ended the run of all ranks; empty if there was none.
        sent, received: The memory of the messages of a fit.
    """

    def __init__(self, communicator: Communicator) -> None:
        needed = ("Get_rank", "Get_size", "Allreduce")
        missing = [name for name in needed if not callable(getattr(communicator, name, None))]
        if missing or isinstance(communicator, type):
            raise DTypeError(
                f"Trainer(ranks): expected a communicator with the methods {', '.join(needed)}, such as MPI.COMM_WORLD "
                f"of mpi4py, got {described(communicator)}{f', without {missing[0]}' if missing else ''}"
            )
        self.communicator = communicator
        self.rank, self.size = communicator.Get_rank(), communicator.Get_size()
        self.wish, self.signal = "", ""
        self._others_wait = self._started = False

    def __repr__(self) -> str:
        return f"rank {self.rank} of {self.size}"

    def enter(self) -> None:
        """Begin a fit: from now on the other ranks wait for messages of this one."""
        self.wish, self.signal = "", ""
        self._others_wait, self._started = True, False

    def start(self, standing: dict[str, str], size: int, dtype: npt.DTypeLike) -> None:
        """Compare the runs of all ranks before the first batch, and make the memory of the messages.

        Args:
            standing: Maps the name of each property that must be the same on all ranks to its value.
            size: Numbers of the body of a message.
            dtype: dtype of the body.

        Raises:
            RankError: another rank could not start.
            ArgumentError: the ranks differ; all ranks raise the same error.
        """
        self._raise_of_another()
        first, difference = json.loads(self.share(json.dumps(standing))), ""
        for name, here in standing.items():
            there = first.get(name, "none")
            if here != there and not difference:
                difference = f"expected {name} as on rank 0, {there[:200]}, got {here[:200]} on rank {self.rank}"
        if difference := self.share(difference):
            self.leave()
            raise ArgumentError(f"Trainer(ranks): {difference}; run the same program with the same seeds on all ranks, "
                                "or restore the same file")
        self.sent, self.received = Message(size, dtype), Message(size, dtype)
        self._started = True

    def leave(self) -> None:
        """Say that no other rank waits for this one."""
        self._others_wait = False

    def fail(self, error: BaseException) -> None:
        """Tell the others, where they wait, that an error has ended the fit on this rank."""
        if self._others_wait:
            with suppress(Exception):  # Of messages: the error that came first counts.
                if self._started:
                    self.sent.body.fill(0.0)
                    self._send_head(0.0, 0.0, 0.0, 0.0, 1.0)
                self.share(f"rank {self.rank}: {type(error).__name__}: {error}")
            self.leave()

    def exchange(self, loss: float, rows: int, pause: bool, *, between: bool = False) -> float:
        """Send the body of `sent`, and receive the sum of all bodies in `received`; return the sum of the losses.

        Args:
            loss: Share × loss of this rank's part of the batch.
            rows: Rows of this part.
            pause: Whether this rank wants that all ranks pause after this batch.
            between: Whether this rank is between two batches.

        Raises:
            RankError: another rank has failed.
        """
        self._send_head(loss, rows, pause, between, 0.0)
        if self.received.head[4]:
            self._raise_of_another()
        return float(self.received.head[0])

    def check_rows(self, rows: int) -> None:
        """Check the rows of all parts of the last message.

        Raises:
            RankError: they are not ``rows``.
        """
        if self.received.head[1] != rows:
            raise RankError(f"fit: expected {rows} rows in all parts of a batch, as rank {self.rank} has them, got "
                            f"{self.received.head[1]:g}; give every rank the same batches")

    def agree(self, values: Array, interrupts: Interrupts) -> str:
        """Agree between two batches whether the run ends; return the reason, empty if it goes on.

        The message has no gradient. In its place rank 0 sends its weights, which the others compare with theirs.

        Args:
            values: The weights.
            interrupts: The signal that this rank has received.

        Raises:
            RankError: another rank has failed, or has other weights, or another number of batches.
        """
        self.sent.body.fill(0.0)
        if self.rank == 0:
            self.sent.body[: len(values)] = values
        self.exchange(0.0, 0, bool(self.wish), between=True)
        if self.received.head[3] != self.size:
            raise RankError(f"fit: expected no batch more, as rank {self.rank} has none, got one on another rank; give "
                            "every rank the same batches")
        shared = ""
        if self.received.head[2]:
            shared = self.share(json.dumps([interrupts.received or "", self.wish]) if self.wish else "")
        if not np.array_equal(self.received.body[: len(values)], values, equal_nan=True):
            raise RankError(f"fit: rank {self.rank} has other weights than rank 0; a callback that changes model or "
                            "optimizer must do so on all ranks, and all machines must be of the same kind")
        if shared:
            self.signal, why = json.loads(shared)
            return str(why)
        return ""

    def end(self) -> None:
        """End a fit together: rank 0 does not know yet whether another rank has other weights.

        Raises:
            RankError: another rank has failed.
        """
        self.sent.body.fill(0.0)
        self.exchange(0.0, 0, False, between=True)
        self.leave()

    def share(self, text: str) -> str:
        """Return the text of the lowest rank that has one, on all ranks; empty if none has."""
        own_length, own = np.zeros(self.size), text.encode()
        own_length[self.rank] = len(own)
        lengths = self._sum(own_length)
        if not lengths.any():
            return ""
        speaker = int(np.flatnonzero(lengths)[0])
        letters = np.zeros(int(lengths[speaker]))
        if self.rank == speaker:
            letters[:] = np.frombuffer(own, np.uint8)
        return self._sum(letters).astype(np.uint8).tobytes().decode()

    def _raise_of_another(self) -> None:
        """Raise the error of another rank, if one has failed."""
        if told := self.share(""):
            self.leave()
            raise RankError(f"fit: another rank has ended with an error; {told}")

    def _send_head(self, *numbers: float) -> None:
        self.sent.head[:] = numbers
        self._add(self.sent.arrays, self.received.arrays)

    def _sum(self, array: Array) -> Array:
        total = np.empty_like(array)
        self._add([array], [total])
        return total

    def _add(self, sent: list[Array], received: list[Array]) -> None:
        self._others_wait = False  # An error in here leaves the ranks at different messages: then none must follow.
        for own, total in zip(sent, received, strict=True):
            self.communicator.Allreduce(own, total)
        self._others_wait = True


def checked_ranks(communicator: Communicator) -> Ranks | None:
    """Return what sends messages to the other ranks; None if there are no others.

    Raises:
        DTypeError: no communicator.
    """
    ranks = Ranks(communicator)
    return ranks if ranks.size > 1 else None
