"""Inboxes, on both databases: who sees what, page by page, and how many are unread."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.support.store_rig import a_notification, a_user, after, migrated, settle
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.notification import Notification, Unread
from tidings.domain.people import Tenant, TenantId, User, UserId
from tidings.store import notifications, receipts, users
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


async def inbox_of(db: Database, user: User, *, unread: bool = False) -> list[Notification]:
    async with db.read() as tx:
        found = await notifications.inbox(tx, user.tenant_id, user.id, cursor=None, limit=100, unread=unread)
    return list(found.items)


async def unread_of(db: Database, user: User) -> Unread:
    async with db.read() as tx:
        return (await notifications.unread(tx, [(user.tenant_id, user.id)]))[user.id]


async def test_kept(db: Database) -> None:
    """A notification comes back as it was written, ``null`` for what is not there."""
    _, (ann,) = await settle(db)
    full = a_notification(ann, ann)
    bare = replace(a_notification(ann, ann), data=None)
    await put(db, full, bare)
    assert await inbox_of(db, ann) == [bare, full]


async def test_who_sees_what(db: Database) -> None:
    """ "Notifications addressed to a whole tenant or to everyone reach all their users", and no others."""
    acme, (ann, bob) = await settle(db, "acme", "ann", "bob")
    globex, (eve,) = await settle(db, "globex", "eve")
    to_ann, to_acme, to_globex, to_all = await put(
        db,
        a_notification(bob, ann),
        a_notification(ann, acme),
        a_notification(eve, globex),
        a_notification(eve, None),
    )
    assert await inbox_of(db, ann) == [to_all, to_acme, to_ann]
    assert await inbox_of(db, bob) == [to_all, to_acme]
    assert await inbox_of(db, eve) == [to_all, to_globex]


async def test_someone_elses(db: Database) -> None:
    """ "Whatever belongs to someone else answers exactly as if it did not exist"."""
    acme, (ann, bob) = await settle(db, "acme", "ann", "bob")
    globex, (eve,) = await settle(db, "globex", "eve")
    to_ann, to_acme = await put(db, a_notification(bob, ann), a_notification(ann, acme))
    async with db.read() as tx:
        assert await notifications.get(tx, acme.id, ann.id, to_ann.id) == to_ann
        assert await notifications.get(tx, acme.id, bob.id, to_ann.id) is None
        assert await notifications.get(tx, acme.id, bob.id, to_acme.id) == to_acme
        assert await notifications.get(tx, globex.id, eve.id, to_acme.id) is None
        assert await notifications.get(tx, globex.id, ann.id, to_acme.id) is None
        assert await notifications.get(tx, acme.id, eve.id, to_acme.id) is None
        assert await notifications.get(tx, acme.id, ann.id, "no such") is None


async def test_after_a_move(db: Database) -> None:
    """Who moves to another tenant leaves what the old one told them behind."""
    acme, (ann,) = await settle(db, "acme", "ann")
    globex, _ = await settle(db, "globex", "eve")
    await put(db, a_notification(ann, ann), a_notification(ann, acme))
    moved = replace(ann, tenant_id=globex.id)
    async with db.write() as tx:
        assert await users.change(tx, acme.id, moved)
    assert await inbox_of(db, moved) == []
    assert await inbox_of(db, ann) == []


async def test_since_joined(db: Database) -> None:
    """Nobody is shown, or counts, what was said to all before they came."""
    acme, (ann,) = await settle(db)
    late = a_user(acme, "late", at=after(10))
    async with db.write() as tx:
        assert await users.insert(tx, late)
    _, at_once = await put(
        db, a_notification(ann, acme, at=after(9.999)), a_notification(ann, None, at=after(10))
    )
    assert await inbox_of(db, late) == [at_once]
    assert (await unread_of(db, late)).count == 1


async def test_pages(db: Database) -> None:
    """The newest first over all three ways to be addressed, none twice, none missed, whatever arrives."""
    acme, (ann,) = await settle(db)
    targets: list[User | Tenant | None] = [ann, acme, None, ann, None, acme, ann]
    made = await put(db, *(a_notification(ann, to) for to in targets))
    seen: list[Notification] = []
    cursor: str | None = None
    for _ in range(4):
        async with db.read() as tx:
            page = await notifications.inbox(tx, acme.id, ann.id, cursor=cursor, limit=2)
        seen += page.items
        cursor = page.next_cursor
        await put(db, a_notification(ann, ann), a_notification(ann, acme))
    assert seen == made[::-1]
    assert cursor is None


async def test_no_cursor(db: Database) -> None:
    """A cursor that is none of ours is the request's fault."""
    acme, (ann,) = await settle(db)
    with pytest.raises(TidingsError) as caught:
        async with db.read() as tx:
            await notifications.inbox(tx, acme.id, ann.id, cursor="!", limit=2)
    assert caught.value.code is ErrorCode.VALIDATION_FAILED
    assert [fault.field for fault in caught.value.fields] == ["cursor"]


async def test_unread_only(db: Database) -> None:
    """``notification:list {unread}``: those with no receipt of one's own."""
    acme, (ann, bob) = await settle(db, "acme", "ann", "bob")
    made = await put(db, *(a_notification(ann, acme) for _ in range(4)))
    async with db.write() as tx:
        await receipts.mark_read(tx, acme.id, ann.id, [made[1].id], after(1))
        await receipts.archive(tx, acme.id, ann.id, made[2].id, after(1))
    assert await inbox_of(db, ann, unread=True) == [made[3], made[0]]
    assert await inbox_of(db, ann) == [made[3], replace(made[1], read_at=after(1)), made[0]]
    assert await inbox_of(db, bob, unread=True) == made[::-1]


async def test_unread_of_many(db: Database) -> None:
    """One question for many readers: each with the own count; strangers and wrong tenants are left out."""
    acme, (ann, bob) = await settle(db, "acme", "ann", "bob")
    globex, (eve,) = await settle(db, "globex", "eve")
    first, *_ = await put(
        db,
        a_notification(ann, ann),
        a_notification(ann, acme),
        a_notification(ann, acme),
        a_notification(ann, None),
        a_notification(eve, globex),
    )
    async with db.write() as tx:
        await receipts.mark_read(tx, acme.id, ann.id, [first.id], after(1))
    async with db.read() as tx:
        counts = await notifications.unread(
            tx,
            [(acme.id, ann.id), (acme.id, bob.id), (globex.id, eve.id), (acme.id, UserId("nobody"))],
        )
        assert await notifications.unread(tx, [(globex.id, ann.id), (TenantId("no"), bob.id)]) == {}
        assert await notifications.unread(tx, []) == {}
    assert {user: unread.count for user, unread in counts.items()} == {ann.id: 3, bob.id: 3, eve.id: 2}


async def test_version_grows(db: Database) -> None:
    """Each change of what a user would count makes the version greater; nobody else's changes."""
    acme, (ann, bob) = await settle(db, "acme", "ann", "bob")
    _, (eve,) = await settle(db, "globex", "eve")
    versions = {user.id: (await unread_of(db, user)).version for user in (ann, bob, eve)}

    async def assert_grown(*grown: User) -> None:
        for user in (ann, bob, eve):
            version = (await unread_of(db, user)).version
            assert (version > versions[user.id]) is (user in grown)
            versions[user.id] = version

    (to_ann,) = await put(db, a_notification(bob, ann))
    await assert_grown(ann)
    (to_acme,) = await put(db, a_notification(bob, acme))
    await assert_grown(ann, bob)
    await put(db, a_notification(bob, None))
    await assert_grown(ann, bob, eve)
    async with db.write() as tx:
        assert await receipts.mark_read(tx, acme.id, ann.id, [to_ann.id], after(1))
    await assert_grown(ann)
    async with db.write() as tx:
        assert await receipts.mark_unread(tx, acme.id, ann.id, to_ann.id)
    await assert_grown(ann)
    async with db.write() as tx:
        assert await receipts.archive(tx, acme.id, bob.id, to_acme.id, after(1))
    await assert_grown(bob)
    async with db.write() as tx:
        assert await receipts.mark_all_read(tx, acme.id, bob.id, after(1)) == 1
    await assert_grown(bob)
    async with db.write() as tx:
        assert await receipts.mark_all_read(tx, acme.id, bob.id, after(1)) == 0
    await assert_grown()
