"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_cache_of_compiled_programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep compiled programs out of the user's cache, and start with none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIDL_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        yield
