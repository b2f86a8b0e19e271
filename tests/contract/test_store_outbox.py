"""The outbox, on both databases: in order, each once, gone when published."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.store_rig import a_notification, after, migrated, settle
from tidings.domain.channel import GLOBAL_CHANNEL, job_channel, tenant_channel, user_channel
from tidings.domain.event import Event, EventClass
from tidings.store import notifications, outbox
from tidings.store.database import Database
from tidings.store.outbox import Lag


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as database:
        yield database


def event(name: str, key: str = "", klass: EventClass = EventClass.INBOX) -> Event:
    return Event(name, f'{{"name":"{name}"}}'.encode(), klass, key)


async def test_in_order(db: Database) -> None:
    """What was appended comes out in that order, on its channel, as it was; without a key it is given one."""
    acme, (ann,) = await settle(db)
    line = [
        (user_channel(acme.id, ann.id), event("a", "k1")),
        (GLOBAL_CHANNEL, event("b", "k2")),
        (job_channel(acme.id, "j"), event("c", "", EventClass.FINAL)),
    ]
    async with db.write() as tx:
        await outbox.append(tx, line, after(0))
    async with db.write() as tx:
        await outbox.append(tx, [(tenant_channel(acme.id), event("d"))], after(1))
        await outbox.append(tx, [], after(1))
    async with db.read() as tx:
        first, second, third, fourth = await outbox.pending(tx, 10)
        assert await outbox.pending(tx, 2) == [first, second]
    assert [(one.channel, one.event) for one in (first, second)] == line[:2]
    assert (third.channel, third.event.klass) == (job_channel(acme.id, "j"), EventClass.FINAL)
    assert first.seq < second.seq < third.seq < fourth.seq
    assert third.event.key
    assert third.event.key != fourth.event.key


async def test_deleted(db: Database) -> None:
    """What was published is gone, and its number is never used again."""
    acme, _ = await settle(db)
    channel = tenant_channel(acme.id)
    async with db.write() as tx:
        await outbox.append(tx, [(channel, event("a")), (channel, event("b"))], after(0))
        before = await outbox.pending(tx, 10)
        await outbox.delete(tx, before[-1].seq)
        assert await outbox.pending(tx, 10) == []
        await outbox.append(tx, [(channel, event("c"))], after(0))
        (late,) = await outbox.pending(tx, 10)
        await outbox.delete(tx, before[-1].seq)
        assert await outbox.pending(tx, 10) == [late]
    assert late.seq > before[-1].seq


async def test_lag(db: Database) -> None:
    """How many wait, and since when."""
    acme, _ = await settle(db)
    async with db.write() as tx:
        assert await outbox.lag(tx) == Lag(0, None)
        await outbox.append(tx, [(tenant_channel(acme.id), event("a"))], after(5))
        await outbox.append(tx, [(GLOBAL_CHANNEL, event("b"))], after(7))
        assert await outbox.lag(tx) == Lag(2, after(5))
        first, second = await outbox.pending(tx, 10)
        assert await outbox.pending(tx, 10, first.seq) == [second]
        assert await outbox.lag(tx, first.seq) == Lag(1, after(7))


async def test_order_of_commits(db: Database) -> None:
    """ "accepted is kept in the database's outbox and delivered in order": of one inbox, what changed first."""
    acme, (ann,) = await settle(db)

    async def notify() -> None:
        async with db.write() as tx:
            await notifications.insert(tx, a_notification(ann, ann))
            told = (await notifications.unread(tx, [(acme.id, ann.id)]))[ann.id]
            await outbox.append(tx, [(user_channel(acme.id, ann.id), event(str(told.version)))], after(0))

    await asyncio.gather(*(notify() for _ in range(12)))
    async with db.read() as tx:
        versions = [int(one.event.name) for one in await outbox.pending(tx, 100)]
    assert versions == list(range(1, 13))
