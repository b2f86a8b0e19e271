"""A REST surface for each test, on SQLite."""

from collections.abc import AsyncIterator

import pytest

from tests.support.services import Rig, serving


@pytest.fixture
async def rig(sqlite_url: str) -> AsyncIterator[Rig]:
    async with serving(sqlite_url) as rig:
        yield rig
