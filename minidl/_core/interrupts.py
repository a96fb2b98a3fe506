"""A way to be interrupted between two steps."""

from __future__ import annotations

# The functions behind the module signal, which looks up enumerations: that takes a tenth of a short fit.
import _signal  # type: ignore[import-not-found, unused-ignore]
import threading
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import FrameType


class Interrupts:
    """Within this context Ctrl-C and SIGTERM are noted in `received` instead of stopping the program at once.

    A second Ctrl-C raises ``KeyboardInterrupt`` where it comes. The previous handlers return at the end. Outside of
    the main thread, where Python lets nobody handle signals, nothing changes.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
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
