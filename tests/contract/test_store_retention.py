"""Retention, on both databases: what is old goes, bit by bit, and nothing else does.

Ids tell when they were made, so here the moments are of today.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.store_rig import a_job, a_notification, migrated, settle
from tests.support.store_rig import after as from_start
from tidings.domain.audit import Filter, SecurityEvent, SecurityEventType
from tidings.domain.clock import milliseconds
from tidings.domain.ids import new_id
from tidings.domain.job import JobStatus
from tidings.store import audit, idempotency, jobs, notifications, receipts, revocations, tickets
from tidings.store.database import Database
from tidings.store.idempotency import Answer, Scope
from tidings.store.revocations import Revocation
from tidings.store.tickets import StoredTicket

TODAY = milliseconds(datetime.now(UTC))
YESTERDAY = TODAY - timedelta(days=1)
TOMORROW = TODAY + timedelta(days=1)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as database:
        yield database


async def test_notifications(db: Database) -> None:
    """The oldest first, at most as many as asked, with what was done with them."""
    acme, (ann,) = await settle(db)
    made = [a_notification(ann, acme, at=TODAY) for _ in range(3)]
    async with db.write() as tx:
        for notification in made:
            await notifications.insert(tx, notification)
        await receipts.mark_all_read(tx, acme.id, ann.id, TODAY)
        assert await notifications.purge(tx, YESTERDAY, 10) == 0
        assert await notifications.purge(tx, TODAY, 10) == 0
        assert await notifications.purge(tx, TOMORROW, 2) == 2
        left = await notifications.inbox(tx, acme.id, ann.id, cursor=None, limit=10)
        assert [notification.id for notification in left.items] == [made[2].id]
        assert await notifications.purge(tx, TOMORROW, 2) == 1


async def test_jobs(db: Database) -> None:
    """Only what is over; a child outlives its parent if it ended later."""
    _, (ann,) = await settle(db)
    old = a_job(ann, status=JobStatus.SUCCEEDED, finished_at=TODAY)
    child = a_job(ann, parent_id=old.job.id)
    waiting, older = a_job(ann), a_job(ann, status=JobStatus.FAILED, finished_at=TODAY)
    async with db.write() as tx:
        await jobs.insert(tx, [old, child, waiting, older])
        assert await jobs.purge(tx, YESTERDAY, 10) == []
        assert await jobs.purge(tx, TOMORROW, 1) == [old.job.id]
        assert await jobs.purge(tx, TOMORROW, 10) == [older.job.id]
        orphan = await jobs.get_any(tx, child.job.id)
        assert orphan is not None
        assert orphan.job.parent_id is None
        assert await jobs.get_any(tx, waiting.job.id) == waiting


async def test_security_events(db: Database) -> None:
    """ "Stored for the console with a retention": lines of before, the oldest first."""
    line = SecurityEvent(SecurityEventType.ROOM_JOIN, TODAY, "r", "n")
    async with db.write() as tx:
        await audit.insert(tx, [replace(line, request_id=str(number)) for number in range(3)])
        assert await audit.purge(tx, TODAY, 10) == 0
        assert await audit.purge(tx, TOMORROW, 2) == 2
        left = await audit.page_of_all(tx, Filter(), cursor=None, limit=10)
    assert [one.request_id for one in left.items] == ["2"]


async def test_what_expires(db: Database) -> None:
    """Answers, tickets and revocations go when their time is over."""
    acme, (ann,) = await settle(db)
    async with db.write() as tx:
        for second in (1, 2, 3):
            until = from_start(second)
            scope = Scope(acme.id, ann.id, "POST /jobs", str(second))
            await idempotency.remember(tx, scope, Answer("h", 202, b"", until), from_start(0))
            await revocations.put(tx, Revocation(new_id(), acme.id, f"jti-{second}", None, None, until))
            digest = bytes([second])
            ticket = StoredTicket(digest, acme.id, ann.id, "/", None, {}, from_start(9), until)
            await tickets.insert(tx, ticket)
        for now, limit, gone in ((0.5, 9, 0), (2.5, 1, 1), (2.5, 9, 1), (9, 9, 1)):
            assert await idempotency.purge(tx, from_start(now), limit) == gone
            assert await revocations.purge(tx, from_start(now), limit) == gone
            assert await tickets.purge(tx, from_start(now), limit) == gone
