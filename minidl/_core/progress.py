"""A progress bar."""

from __future__ import annotations

import sys
import time
from typing import Any, Self

from .arrays import flag


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
        stream = sys.stderr  # None in a program without a console
        usable = stream is not None and not getattr(stream, "closed", False)
        asked = wanted if isinstance(wanted, bool) else None if wanted is None else flag(wanted, f"{title}(progress)")
        self._enabled = usable and (hasattr(stream, "isatty") and stream.isatty() if asked is None else asked)
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
