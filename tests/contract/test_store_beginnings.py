"""What is told of attempts that begin, on both databases: written by the database, with the claim."""

from collections.abc import AsyncIterator

import pytest

from tests.support.store_rig import a_job, after, migrated, settle
from tidings.domain.event import Event, EventClass
from tidings.store import claims, family, jobs, lease, outbox
from tidings.store.beginnings import ATTEMPT, JOB
from tidings.store.database import Database
from tidings.store.lease import Lease, Retry, Wait


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as database:
        yield database


async def test_attempts_are_told_of(db: Database) -> None:
    """Each new attempt is told of with the claim, by the pattern; one that goes on after a wait is none."""
    _, (ann,) = await settle(db)
    first, second = a_job(ann), a_job(ann)
    async with db.write() as tx:
        await jobs.insert(tx, [first, second])
    pattern = Event(
        "job:event",
        b'{"jobId":"' + JOB.encode() + b'","attempt":' + ATTEMPT.encode() + b"}",
        EventClass.STATE,
    )

    async def told(now: float) -> list[tuple[str, bytes]]:
        async with db.stroke() as tx:
            await claims.in_turn(tx, "w1", ["demo.steps"], 9, after(now), 10, pattern)
        async with db.write() as tx:
            lines = await outbox.pending(tx, 10)
            await outbox.delete(tx, lines[-1].seq if lines else 0)
        return [(one.channel.name, one.event.data) for one in lines]

    one, other = sorted((first.job.id, second.job.id))
    assert sorted(await told(0)) == [
        (job_id, f'{{"jobId":"{job_id}","attempt":1}}'.encode()) for job_id in (one, other)
    ]
    async with db.write() as tx:
        await lease.retry_later(tx, "w1", [Retry(Lease(one, 1), after(0))])
        await lease.wait(tx, "w1", [Wait(Lease(other, 1), 1.0)], after(0))
        assert await family.resume(tx, [other]) == [other]
    assert await told(1) == [(one, f'{{"jobId":"{one}","attempt":2}}'.encode())]
