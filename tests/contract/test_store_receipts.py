"""Reading, unreading and archiving, on both databases: one's own alone, and once."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.store_rig import a_notification, after, migrated, settle
from tidings.domain.notification import Notification
from tidings.domain.people import User
from tidings.store import notifications, receipts
from tidings.store.database import Database


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as database:
        yield database


async def put(db: Database, *made: Notification) -> list[Notification]:
    async with db.write() as tx:
        for notification in made:
            await notifications.insert(tx, notification)
    return list(made)


async def count(db: Database, user: User) -> int:
    async with db.read() as tx:
        return (await notifications.unread(tx, [(user.tenant_id, user.id)]))[user.id].count


async def test_read(db: Database) -> None:
    """``mark-read`` answers ``{updated}``: those that were not read before, and only the first time counts."""
    acme, (ann, bob) = await settle(db, "acme", "ann", "bob")
    made = await put(db, a_notification(bob, ann), a_notification(bob, acme), a_notification(bob, None))
    ids = [notification.id for notification in made]
    async with db.write() as tx:
        assert await receipts.mark_read(tx, acme.id, ann.id, ids[:2], after(1)) == tuple(ids[:2])
        assert await receipts.mark_read(tx, acme.id, ann.id, ids[::-1], after(2)) == (ids[2],)
        first = await notifications.get(tx, acme.id, ann.id, ids[0])
    assert first is not None
    assert (first.read_at, first.archived_at) == (after(1), None)
    assert (await count(db, ann), await count(db, bob)) == (0, 2)


async def test_someone_elses(db: Database) -> None:
    """What one cannot see cannot be marked, and the answer does not tell that it is there."""
    acme, (ann, bob) = await settle(db, "acme", "ann", "bob")
    globex, (eve,) = await settle(db, "globex", "eve")
    made = await put(db, a_notification(bob, ann), a_notification(ann, acme))
    ids = [notification.id for notification in made]
    async with db.write() as tx:
        assert await receipts.mark_read(tx, globex.id, eve.id, ids, after(1)) == ()
        assert await receipts.mark_read(tx, acme.id, bob.id, ids, after(1)) == (ids[1],)
        assert await receipts.mark_read(tx, globex.id, ann.id, ids, after(1)) == ()
        assert not await receipts.archive(tx, globex.id, eve.id, ids[0], after(1))
        assert not await receipts.archive(tx, acme.id, bob.id, ids[0], after(1))
        assert not await receipts.mark_unread(tx, globex.id, bob.id, ids[1])
        assert await receipts.mark_all_read(tx, globex.id, eve.id, after(1)) == 0
        assert await receipts.mark_read(tx, acme.id, ann.id, ["no such"], after(1)) == ()
        assert await receipts.mark_read(tx, acme.id, ann.id, [], after(1)) == ()
    assert await count(db, ann) == 2


async def test_unread_again(db: Database) -> None:
    """``POST /notifications/{id}/unread``: as if it had never been read; twice changes nothing."""
    acme, (ann,) = await settle(db)
    (made,) = await put(db, a_notification(ann, ann))
    async with db.write() as tx:
        assert not await receipts.mark_unread(tx, acme.id, ann.id, made.id)
        await receipts.mark_read(tx, acme.id, ann.id, [made.id], after(1))
        assert await receipts.mark_unread(tx, acme.id, ann.id, made.id)
        assert not await receipts.mark_unread(tx, acme.id, ann.id, made.id)
        assert await notifications.get(tx, acme.id, ann.id, made.id) == made
        assert await receipts.mark_read(tx, acme.id, ann.id, [made.id], after(2)) == (made.id,)


async def test_archived(db: Database) -> None:
    """``POST /notifications/{id}/archive``: out of the inbox and the count, still there by its id."""
    acme, (ann,) = await settle(db)
    (made,) = await put(db, a_notification(ann, acme))
    async with db.write() as tx:
        assert await receipts.archive(tx, acme.id, ann.id, made.id, after(1))
        assert not await receipts.archive(tx, acme.id, ann.id, made.id, after(2))
        page = await notifications.inbox(tx, acme.id, ann.id, cursor=None, limit=10)
        found = await notifications.get(tx, acme.id, ann.id, made.id)
        assert await receipts.mark_all_read(tx, acme.id, ann.id, after(3)) == 0
    assert page.items == ()
    assert found is not None
    assert (found.read_at, found.archived_at) == (None, after(1))
    assert await count(db, ann) == 0


async def test_all_read(db: Database) -> None:
    """``POST /notifications/read-all``: whatever one can see, by all three ways, and nobody else's."""
    acme, (ann, bob) = await settle(db, "acme", "ann", "bob")
    made = await put(
        db,
        a_notification(bob, ann),
        a_notification(bob, acme),
        a_notification(bob, None),
        a_notification(ann, bob),
    )
    async with db.write() as tx:
        await receipts.mark_read(tx, acme.id, ann.id, [made[1].id], after(1))
        assert await receipts.mark_all_read(tx, acme.id, ann.id, after(2)) == 2
        page = await notifications.inbox(tx, acme.id, ann.id, cursor=None, limit=10)
    assert [notification.read_at for notification in page.items] == [after(2), after(1), after(2)]
    assert (await count(db, ann), await count(db, bob)) == (0, 3)


async def test_all_read_at_once(db: Database) -> None:
    """Read on two devices at the same time, each notification is marked once."""
    acme, (ann,) = await settle(db)
    made = await put(db, *(a_notification(ann, acme) for _ in range(20)))
    ids = [notification.id for notification in made]

    async def mark_all() -> int:
        async with db.write() as tx:
            return await receipts.mark_all_read(tx, acme.id, ann.id, after(1))

    async def mark(wanted: list[str]) -> int:
        async with db.write() as tx:
            return len(await receipts.mark_read(tx, acme.id, ann.id, wanted, after(1)))

    changed = await asyncio.gather(mark_all(), mark(ids), mark(ids[::-1]), mark_all())
    assert sum(changed) == len(made)
    assert await count(db, ann) == 0
