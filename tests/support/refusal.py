"""Check that a call is refused: the type of the error, and words in its message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from minidl.errors import MinidlError


@contextmanager
def refused(error: type[MinidlError], *words: str) -> Iterator[None]:
    """Within this context exactly ``error`` must come, with all ``words`` in its message or in its notes."""
    with pytest.raises(MinidlError) as caught:
        yield
    assert type(caught.value) is error, repr(caught.value)
    text = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    missing = [word for word in words if word not in text]
    assert not missing, f"{missing} not in: {text}"
