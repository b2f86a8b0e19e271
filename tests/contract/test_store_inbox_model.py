"""The inbox against a naive model that keeps everything in lists, over random histories, on both databases."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.store_rig import a_notification, a_user, after, migrated, settle
from tidings.domain.notification import Audience, Notification
from tidings.domain.people import Tenant, User
from tidings.store import notifications, receipts, users
from tidings.store.database import Database

_slugs = count()


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as database:
        yield database


@dataclass
class Reader:
    """What one user should see."""

    user: User
    read: dict[str, datetime] = field(default_factory=dict)
    archived: dict[str, datetime] = field(default_factory=dict)
    version: int = -1

    def sees(self, one: Notification) -> bool:
        reached = {
            Audience.USER: one.user_id == self.user.id,
            Audience.TENANT: one.tenant_id == self.user.tenant_id,
            Audience.GLOBAL: True,
        }
        return reached[one.audience] and one.created_at >= self.user.created_at

    def inbox(self, all_made: list[Notification]) -> list[Notification]:
        return [
            replace(one, read_at=self.read.get(one.id))
            for one in reversed(all_made)
            if self.sees(one) and one.id not in self.archived
        ]


steps = st.lists(
    st.tuples(
        st.sampled_from(["to user", "to tenant", "read", "read", "read all", "unread", "archive", "join"]),
        st.integers(0, 3),
        st.integers(0, 9),
    ),
    max_size=20,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
async def test_inbox(db: Database, steps: list[tuple[str, int, int]]) -> None:
    """After any history everyone sees, pages through and counts just what the model says."""
    number = next(_slugs)
    acme, (ann, bob) = await settle(db, f"acme{number}", "ann", "bob")
    _, (eve,) = await settle(db, f"globex{number}", "eve")
    readers = [Reader(ann), Reader(bob), Reader(eve)]
    made: list[Notification] = []
    for now, (step, who, which) in enumerate(steps, start=1):
        await _take(db, readers, made, acme, (step, who, which), after(now))
    for reader in readers:
        await _compare(db, reader, made)


async def _take(
    db: Database,
    readers: list[Reader],
    made: list[Notification],
    acme: Tenant,
    step: tuple[str, int, int],
    now: datetime,
) -> None:
    what, who, which = step
    reader = readers[who % len(readers)]
    tenant, user = reader.user.tenant_id, reader.user.id
    target = made[which % len(made)] if made else None
    async with db.write() as tx:
        if what == "join":
            newcomer = a_user(acme, f"new{len(readers)}", at=now)
            assert await users.insert(tx, newcomer)
            readers.append(Reader(newcomer))
        elif what.startswith("to "):
            one = a_notification(readers[0].user, acme if what == "to tenant" else reader.user, at=now)
            await notifications.insert(tx, one)
            made.append(one)
        elif what == "read all":
            fresh = [one.id for one in reader.inbox(made) if one.read_at is None]
            assert await receipts.mark_all_read(tx, tenant, user, now) == len(fresh)
            reader.read.update(dict.fromkeys(fresh, now))
        elif target is not None and what == "read":
            fresh = [target.id] if reader.sees(target) and target.id not in reader.read else []
            assert await receipts.mark_read(tx, tenant, user, [target.id], now) == tuple(fresh)
            reader.read.update(dict.fromkeys(fresh, now))
        elif target is not None and what == "unread":
            assert await receipts.mark_unread(tx, tenant, user, target.id) is (target.id in reader.read)
            reader.read.pop(target.id, None)
        elif target is not None and what == "archive":
            fresh = [target.id] if reader.sees(target) and target.id not in reader.archived else []
            assert await receipts.archive(tx, tenant, user, target.id, now) is bool(fresh)
            reader.archived.update(dict.fromkeys(fresh, now))
    await _check_versions(db, readers)


async def _check_versions(db: Database, readers: list[Reader]) -> None:
    """ "A number that never decreases"."""
    async with db.read() as tx:
        told = await notifications.unread(tx, [(one.user.tenant_id, one.user.id) for one in readers])
    for reader in readers:
        assert told[reader.user.id].version >= reader.version
        reader.version = told[reader.user.id].version


async def _compare(db: Database, reader: Reader, made: list[Notification]) -> None:
    tenant, user = reader.user.tenant_id, reader.user.id
    expected = reader.inbox(made)
    unread = [one for one in expected if one.read_at is None]
    seen: list[Notification] = []
    cursor: str | None = None
    async with db.read() as tx:
        while True:
            page = await notifications.inbox(tx, tenant, user, cursor=cursor, limit=2)
            seen += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        only_unread = await notifications.inbox(tx, tenant, user, cursor=None, limit=100, unread=True)
        told = await notifications.unread(tx, [(tenant, user)])
    assert seen == expected
    assert list(only_unread.items) == unread
    assert told[user].count == len(unread)
