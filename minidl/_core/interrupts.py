"""Handle Ctrl-C and SIGTERM between two steps."""

from __future__ import annotations

# The functions behind the module signal, which looks up enumerations: that takes a tenth of a short fit.
import _signal  # type: ignore[import-not-found, unused-ignore]
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import FrameType


class Interrupts:
    """Note Ctrl-C and SIGTERM in `received`, within this context, instead of stopping the program at once.

    A second Ctrl-C raises ``KeyboardInterrupt`` at once. The previous handlers are put back at the end. In another
    thread than the main one, where Python allows no signal handlers, nothing changes.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        with suppress(ValueError):  # Another thread than the main one.
            for number in (_signal.SIGINT, _signal.SIGTERM):
                self._previous[number] = _signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            # None stands for a handler that was not installed from Python and cannot be put back from there.
            _signal.signal(number, _signal.SIG_DFL if handler is None else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        from signal import Signals

        if self.received is not None and number == _signal.SIGINT:
            raise KeyboardInterrupt
        self.received = Signals(number).name
