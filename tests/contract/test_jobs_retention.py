"""Retention of jobs, on both databases: what has been over for long goes, and what it made is told of."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest

from tests.support.store_rig import a_job, migrated, settle
from tidings.domain.job import JobStatus
from tidings.jobs import retention
from tidings.jobs.queue import utc_now
from tidings.jobs.retention import Retention
from tidings.store import jobs
from tidings.store.database import Database


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as database:
        yield database


async def test_what_is_over_for_long(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finished jobs are deleted after their days, so many at once; those that wait or ended later stay."""
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    _, (ann,) = await settle(db)
    now = utc_now()
    old = [a_job(ann, status=JobStatus.SUCCEEDED, finished_at=now) for _ in range(3)]
    late = a_job(ann, status=JobStatus.FAILED, finished_at=now + timedelta(days=5))
    waiting = a_job(ann)
    async with db.write() as tx:
        await jobs.insert(tx, [*old, late, waiting])
    told: list[str] = []

    async def forget(job_ids: Sequence[str]) -> None:
        told.extend(job_ids)

    def clock(days: float) -> Retention:
        return Retention(db, 30, [forget], clock=lambda: now + timedelta(days=days))

    assert await clock(29.9).sweep() == 0
    assert [await clock(31).sweep() for _ in range(3)] == [2, 1, 0]
    assert sorted(told) == sorted(one.job.id for one in old)
    async with db.read() as tx:
        assert await jobs.get_any(tx, late.job.id) is not None
        assert await jobs.get_any(tx, waiting.job.id) is not None
