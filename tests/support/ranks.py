"""Ranks as threads of one process: a communicator without MPI that notices when a rank would wait in vain."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Condition
from typing import Any, TypeVar

import numpy as np

Result = TypeVar("Result")


class HangError(BaseException):
    """A rank waits for another that has ended."""


class Team:
    """What the threads share. A message is summed in the order of the ranks, so that its bits are fixed."""

    def __init__(self, size: int) -> None:
        self.size, self.messages, self.ended = size, 0, False
        self.changed = Condition()
        self.sent: dict[int, Any] = {}
        self.total: Any = None

    def add(self, rank: int, array: Any) -> Any:
        """Return the sum of the arrays of all ranks, when all have called it."""
        with self.changed:
            self.sent[rank], number = array.copy(), self.messages
            if len(self.sent) == self.size:
                first, *others = (self.sent.pop(one) for one in range(self.size))
                assert all((other.dtype, other.shape) == (first.dtype, first.shape) for other in others)
                self.total = sum(others, first)
                self.messages += 1
                self.changed.notify_all()
            self.changed.wait_for(lambda: self.messages > number or self.ended)
            if self.messages == number:
                raise HangError(f"rank {rank}")
            return self.total

    def end(self) -> None:
        with self.changed:
            self.ended = True
            self.changed.notify_all()


class ThreadRank:
    """One rank of a team; it has the methods of an MPI communicator that a Trainer calls."""

    def __init__(self, team: Team, rank: int) -> None:
        self.team, self.rank = team, rank

    def Get_rank(self) -> int:  # noqa: N802
        return self.rank

    def Get_size(self) -> int:  # noqa: N802
        return self.team.size

    def Allreduce(self, send: Any, receive: Any) -> None:  # noqa: N802
        receive[...] = self.team.add(self.rank, send)


def on_ranks(size: int, work: Callable[[ThreadRank], Result]) -> list[Result | BaseException]:
    """Run ``work`` on each rank of a new team; return the results by rank, or the errors that have ended them."""
    team = Team(size)

    def guarded(rank: int) -> Result | BaseException:
        try:
            with np.errstate(all="ignore"):
                return work(ThreadRank(team, rank))
        except BaseException as error:
            return error
        finally:
            team.end()

    with ThreadPoolExecutor(size) as threads:
        found = list(threads.map(guarded, range(size)))
    hung = [error for error in found if isinstance(error, HangError)]
    assert not hung, f"{hung} waited for ranks that had ended: {found}"
    return found


def all_right(found: list[Result | BaseException]) -> list[Result]:
    """Return the results of all ranks; raise the first error if there is one."""
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return [one for one in found if not isinstance(one, BaseException)]
