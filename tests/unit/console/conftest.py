"""The console in front of a REST surface, on SQLite."""

from collections.abc import AsyncIterator

import pytest

from tests.support.console import Desk, opened


@pytest.fixture
async def desk(sqlite_url: str) -> AsyncIterator[Desk]:
    async with opened(sqlite_url) as desk:
        yield desk
