"""Orders to all nodes, on both databases."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from tests.support.store_rig import after, migrated
from tidings.domain.order import Order, OrderKind
from tidings.domain.people import TenantId, UserId
from tidings.store import orders
from tidings.store.database import Database

ALL = [
    Order(OrderKind.DISCONNECT, TenantId("acme"), UserId("ann")),
    Order(OrderKind.PERSON, TenantId("acme"), UserId("ann")),
    Order(OrderKind.TENANT, TenantId("acme")),
    Order(OrderKind.TOKENS),
    Order(OrderKind.DRAIN, node_id="node-1"),
]


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as database:
        yield database


async def given_after(db: Database, seq: int, limit: int = 100) -> list[orders.Given]:
    async with db.read() as tx:
        return await orders.after(tx, seq, limit)


async def test_kept(db: Database) -> None:
    """Orders come back as they were given, in that order, so many at a time; nobody need exist."""
    async with db.write() as tx:
        assert await orders.latest(tx) == 0
        await orders.append(tx, [], after(0))
        await orders.append(tx, ALL, after(0))
    first = await given_after(db, 0, 2)
    rest = await given_after(db, first[-1].seq)
    assert [given.order for given in first + rest] == ALL
    assert await given_after(db, rest[-1].seq) == []
    async with db.read() as tx:
        assert await orders.latest(tx) == rest[-1].seq


async def test_rolled_back(db: Database) -> None:
    """What is not committed was never ordered."""
    async with db.write() as tx:
        await orders.append(tx, ALL, after(0))
        await tx.rollback()
    assert await given_after(db, 0) == []


async def test_old_ones_go(db: Database) -> None:
    """A few at a time; numbers go on, so that nobody who stands at the last one misses the next."""
    async with db.write() as tx:
        for second in range(3):
            await orders.append(tx, [Order(OrderKind.TOKENS)], after(second))
        last = await orders.latest(tx)
        assert await orders.delete_before(tx, after(2), 1) == 1
        assert await orders.delete_before(tx, after(2), 10) == 1
        assert await orders.delete_before(tx, after(3), 10) == 1
        await orders.append(tx, [Order(OrderKind.TOKENS)], after(4))
    assert [given.seq > last for given in await given_after(db, last)] == [True]


async def test_none_is_missed(db: Database) -> None:
    """Who reads while others commit gets every order once, though numbers are handed out before the commits."""
    writers, each = 8, 10
    seen: list[orders.Given] = []

    async def write(name: int) -> None:
        for number in range(each):
            async with db.write() as tx:
                await orders.append(tx, [Order(OrderKind.DRAIN, node_id=f"{name}-{number}")], after(0))
                # The longer a transaction lasts after its number was handed out, the likelier it is overtaken.
                if number % 2:
                    await tx.execute(text("SELECT 1"))
                    await asyncio.sleep(0)

    async def read() -> None:
        while len(seen) < writers * each:
            seen.extend(await given_after(db, seen[-1].seq if seen else 0, 7))

    async with asyncio.timeout(20):
        await asyncio.gather(read(), *(write(name) for name in range(writers)))
    assert len({given.order for given in seen}) == writers * each


async def test_a_later_number_waits(db: Database) -> None:
    """As long as somebody has a number and has not committed, nobody else's order is there to be read."""
    holding, released = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        async with db.write() as tx:
            await orders.append(tx, [Order(OrderKind.DRAIN, node_id="slow")], after(0))
            holding.set()
            await released.wait()

    async def quick() -> None:
        await holding.wait()
        async with db.write() as tx:
            await orders.append(tx, [Order(OrderKind.DRAIN, node_id="quick")], after(0))

    running = [asyncio.create_task(slow()), asyncio.create_task(quick())]
    await holding.wait()
    done, _ = await asyncio.wait(running, timeout=0.1)
    assert not done
    assert await given_after(db, 0) == []
    released.set()
    await asyncio.gather(*running)
    assert [given.order.node_id for given in await given_after(db, 0)] == ["slow", "quick"]
