"""What a long run needs from its surroundings: a progress bar, and a way to be interrupted between two steps."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import signal
    from types import FrameType


class Progress:
    """Show how far a long run has come: a tqdm bar on a terminal, where tqdm is installed, else nothing.

    The bar appears only after `patience` seconds, so that short runs stay silent.

    Args:
        total: How many rounds there are.
        title: What is being done.
        wanted: True for a bar in any case, False for none, None for one on a terminal.
    """

    patience = 1.0

    def __init__(self, total: int, title: str, wanted: bool | None, unit: str = "epoch") -> None:
        self._total, self._title, self._unit = total, title, unit
        self._due = time.monotonic() + self.patience
        self._enabled = sys.stderr.isatty() if wanted is None else wanted
        self._bar: Any = None
        self._done = 0

    def advance(self, note: str) -> None:
        """Count one more round, with the latest figure beside it."""
        self._done += 1
        if self._enabled and self._bar is None and time.monotonic() >= self._due:
            self._bar = _tqdm(self._total, self._title, self._unit)
            self._enabled = self._bar is not None
            if self._bar is not None:
                self._bar.update(self._done - 1)
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


def _tqdm(total: int, title: str, unit: str) -> Any:
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=total, desc=title, unit=unit)


class Interrupts:
    """Within this context Ctrl-C and SIGTERM are noted in `received` instead of stopping the program at once.

    A second Ctrl-C raises ``KeyboardInterrupt`` where it comes. The previous handlers return at the end. Outside of
    the main thread, where Python lets nobody handle signals, nothing changes.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        import signal
        import threading

        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        import signal

        for number, handler in self._previous.items():
            # None stands for a handler that was not installed from Python and cannot be put back from there.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        import signal

        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name
