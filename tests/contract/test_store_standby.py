"""Connections at hand, on both databases: used again, given up when they are no good, and never all there are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest
from sqlalchemy import func, literal, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.identity_rig import HandClock
from tests.support.store_rig import migrated
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.store import standby
from tidings.store.database import Database
from tidings.store.engine import RECYCLE_SECONDS, driver_url, reading_engine, writing_engine
from tidings.store.standby import Standby
from tidings.store.stroke import Shelf, Stroke

POOL = 4


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """A pool of several connections: on SQLite the readers'."""
    async with migrated(database_url):
        writer = writing_engine(driver_url(database_url), POOL)
        made = reading_engine(writer, POOL)
        yield made
        await made.dispose()
        await writer.dispose()


async def used(at_hand: Standby) -> Stroke:
    async with at_hand.stroke() as stroke:
        return stroke


async def test_used_again(engine: AsyncEngine) -> None:
    """Whoever comes next gets the same connection."""
    at_hand = Standby(engine, 1, Shelf())
    first = await used(at_hand)
    assert await used(at_hand) is first
    await at_hand.close()


async def test_at_most_so_many(engine: AsyncEngine) -> None:
    """Of many that were used at once so many stay at hand, and the pool has the others back."""
    at_hand = Standby(engine, 1, Shelf())
    async with at_hand.stroke() as one, at_hand.stroke() as other:
        assert one.driver is not other.driver
    assert [await used(at_hand), await used(at_hand)] == [other, other]
    async with AsyncExitStack() as stack:  # all but the one at hand are to be had
        for _ in range(POOL - 1):
            await stack.enter_async_context(engine.connect())
    await at_hand.close()


async def test_closed(engine: AsyncEngine) -> None:
    """After the end nothing stays at hand, and the whole pool is to be had."""
    at_hand = Standby(engine, 2, Shelf())
    async with at_hand.stroke():
        await at_hand.close()
    async with AsyncExitStack() as stack:
        for _ in range(POOL):
            await stack.enter_async_context(engine.connect())


async def test_too_old(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection goes back to the pool, which renews it, when it is too old: used or not."""
    clock = HandClock()
    monkeypatch.setattr(standby, "_time", clock)
    at_hand = Standby(engine, 1, Shelf())
    first = await used(at_hand)
    clock.now += RECYCLE_SECONDS
    async with at_hand.stroke() as second:
        assert second is not first
        clock.now += RECYCLE_SECONDS
    assert await used(at_hand) is not second
    await at_hand.close()


async def test_no_good(engine: AsyncEngine) -> None:
    """A connection that was given up is not handed out again."""
    at_hand = Standby(engine, 1, Shelf())
    async with at_hand.stroke() as first:
        await first.connection.invalidate()
    second = await used(at_hand)
    assert second.driver is not first.driver
    await at_hand.close()


async def test_ended_by_the_server(postgres_url: str) -> None:
    """One that the server has ended while nobody used it is nobody's fault."""
    async with migrated(postgres_url) as db:
        async with db.glance() as tx:
            [row] = await tx.execute(select(func.pg_backend_pid().label("pid")))
        other = await asyncpg.connect(postgres_url)
        await other.execute("SELECT pg_terminate_backend($1)", row.pid)
        await other.close()
        [held] = db._writers._idle
        async with asyncio.timeout(10):
            while not held.stroke.driver.is_closed():  # noqa: ASYNC110 - the driver tells nobody
                await asyncio.sleep(0.005)
        async with db.glance() as tx:
            assert [row.seven for row in await tx.execute(select(literal(7).label("seven")))]


async def test_a_small_pool(database_url: str) -> None:
    """Of very few connections none is kept at hand, so that nobody waits for one that nobody uses."""
    async with migrated(database_url), Database(database_url, pool_size=1) as db:
        async with db.stroke():
            pass
        async with db.glance():
            pass
        async with asyncio.timeout(4), db.write() as tx:
            assert await tx.scalar(text("SELECT 7")) == 7


async def test_none_to_be_had(engine: AsyncEngine) -> None:
    """UNAVAILABLE, when the pool gives none."""
    at_hand = Standby(engine, 1, Shelf())
    async with AsyncExitStack() as stack:
        for _ in range(POOL):
            await stack.enter_async_context(engine.connect())
        engine.pool._timeout = 0.01  # type: ignore[attr-defined]
        with pytest.raises(TidingsError) as caught:
            await used(at_hand)
    assert caught.value.code is ErrorCode.UNAVAILABLE
