"""Jobs as their owners and reporters meet them, on both databases."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.support.store_rig import a_job, after, migrated, settle
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.event import Event, EventClass
from tidings.domain.job import Artifact, JobError, JobPriority, JobStatus
from tidings.store import claims, jobs, lease, outbox
from tidings.store.database import Database
from tidings.store.job_rows import StoredJob
from tidings.store.jobs import Report
from tidings.store.lease import Lease, Outcome


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as database:
        yield database


async def put(db: Database, *stored: StoredJob) -> None:
    async with db.write() as tx:
        await jobs.insert(tx, stored)


async def claimed(db: Database, *, at: float = 1) -> StoredJob:
    async with db.write() as tx:
        (one,) = await claims.in_turn(tx, "worker", ["demo.steps"], 1, after(at), 30)
    return one


async def ended(db: Database, one: StoredJob, status: JobStatus) -> None:
    outcome = Outcome(Lease(one.job.id, one.job.attempt), status, error=JobError("E", "no"))
    async with db.write() as tx:
        assert await lease.finish(tx, "worker", [outcome], after(9))


async def test_kept(db: Database) -> None:
    """A job comes back as it was stored, all of it."""
    acme, (ann,) = await settle(db)
    parent = a_job(ann)
    full = a_job(
        ann,
        status=JobStatus.FAILED,
        stage="mix",
        progress=0.25,
        attempt=2,
        priority=JobPriority.PRO,
        payload={"text": "日本 \0", "number": 2**53, "nested": [{}]},
        result=[1, "a", None],
        error=JobError("TIMEOUT", "It took too long."),
        parent_id=parent.job.id,
        artifacts=(Artifact("a.wav", "audio/wav", 2**40),),
        started_at=after(1.5),
        finished_at=after(2.001),
        message="step 2 of 3",
        run_at=after(5),
        timeout_seconds=60,
        lease_owner="worker",
        lease_expires_at=after(20),
        cancel_requested=True,
        reporter_token_hash="abc",
        report_sequence=7,
    )
    await put(db, parent, full)
    async with db.read() as tx:
        assert await jobs.get(tx, acme.id, ann.id, full.job.id) == full
        assert await jobs.get_any(tx, full.job.id) == full
        assert await jobs.children(tx, acme.id, parent.job.id) == [full]
        assert await jobs.get_any(tx, "no such") is None


async def test_someone_elses(db: Database) -> None:
    """ "A job belongs to the user who made it; an ADMIN is a stranger to it"."""
    acme, (ann, bob) = await settle(db, "acme", "ann", "bob")
    globex, (eve,) = await settle(db, "globex", "eve")
    stored = a_job(ann)
    await put(db, stored, a_job(ann, parent_id=stored.job.id))
    async with db.write() as tx:
        for tenant, user in ((acme.id, bob.id), (globex.id, ann.id), (globex.id, eve.id)):
            assert await jobs.get(tx, tenant, user, stored.job.id) is None
            assert (await jobs.page(tx, tenant, user, cursor=None, limit=9)).items == ()
            of_parent = await jobs.page(tx, tenant, user, cursor=None, limit=9, parent=stored.job.id)
            assert of_parent.items == ()
            assert await jobs.cancel(tx, tenant, user, stored.job.id, after(1)) is None
            assert await jobs.retry(tx, tenant, user, stored.job.id, 3, after(1)) is None
        assert await jobs.children(tx, globex.id, stored.job.id) == []
        assert await jobs.cancel_below(tx, globex.id, stored.job.id, after(1)) == []
        assert await jobs.get(tx, acme.id, ann.id, stored.job.id) == stored


async def test_pages(db: Database) -> None:
    """``GET /jobs?cursor=&status=&kind=``: one's own, the newest first, none moved by what comes meanwhile.

    ``parentId`` gives the children of one job, and not theirs.
    """
    acme, (ann, bob) = await settle(db, "acme", "ann", "bob")
    made = [a_job(ann, kind=("demo.steps", "report.build")[n % 2]) for n in range(6)]
    await put(db, *made, a_job(bob))
    ids = [stored.job.id for stored in made]
    async with db.write() as tx:
        first = await jobs.page(tx, acme.id, ann.id, cursor=None, limit=4)
        await jobs.insert(tx, [a_job(ann)])
        second = await jobs.page(tx, acme.id, ann.id, cursor=first.next_cursor, limit=4)
        assert await jobs.cancel(tx, acme.id, ann.id, ids[2], after(1))
        reports = await jobs.page(tx, acme.id, ann.id, cursor=None, limit=9, kind="report.build")
        ended = await jobs.page(tx, acme.id, ann.id, cursor=None, limit=9, status=JobStatus.CANCELLED)
    assert [job.id for job in (*first.items, *second.items)] == ids[::-1]
    assert second.next_cursor is None
    assert [job.id for job in reports.items] == [ids[5], ids[3], ids[1]]
    assert [job.id for job in ended.items] == [ids[2]]
    born = [a_job(ann, parent_id=ids[0]) for _ in range(3)]
    await put(db, *born, a_job(ann, parent_id=ids[1]))
    await put(db, a_job(ann, parent_id=born[0].job.id))
    async with db.read() as tx:
        newest = await jobs.page(tx, acme.id, ann.id, cursor=None, limit=2, parent=ids[0])
        oldest = await jobs.page(tx, acme.id, ann.id, cursor=newest.next_cursor, limit=2, parent=ids[0])
    assert [*newest.items, *oldest.items] == [one.job for one in reversed(born)]
    assert oldest.next_cursor is None


async def test_one_key_one_child(db: Database) -> None:
    """A parent has one child of a key; another parent may use the same word."""
    _, (ann,) = await settle(db)
    one, two = a_job(ann), a_job(ann)
    await put(db, one, two)
    await put(db, *(a_job(ann, parent_id=parent.job.id, child_key="k") for parent in (one, two)))
    with pytest.raises(TidingsError) as caught:
        await put(db, a_job(ann, parent_id=one.job.id, child_key="k"))
    assert caught.value.code is ErrorCode.CONFLICT


async def test_told_together(db: Database) -> None:
    """A job is accepted in one transaction with its event: there is none of them without the other."""
    _, (ann,) = await settle(db)
    parent = a_job(ann)
    await put(db, parent)
    first, second = (a_job(ann, parent_id=parent.job.id, child_key="k") for _ in range(2))

    async def submit(stored: StoredJob) -> None:
        told = Event("job:event", b'{"type":"queued"}', EventClass.STATE, stored.job.id)
        async with db.stroke() as tx:
            await jobs.insert(tx, [stored], [(stored.job.channel, told)])

    await submit(first)
    with pytest.raises(TidingsError):
        await submit(second)
    async with db.read() as tx:
        assert [one.channel for one in await outbox.pending(tx, 10)] == [first.job.channel]
        assert await jobs.get_any(tx, second.job.id) is None


async def test_cancel_queued(db: Database) -> None:
    """What nobody holds is cancelled at once, and never claimed."""
    acme, (ann,) = await settle(db)
    stored = a_job(ann)
    await put(db, stored)
    async with db.write() as tx:
        gone = await jobs.cancel(tx, acme.id, ann.id, stored.job.id, after(1))
        assert await jobs.cancel(tx, acme.id, ann.id, stored.job.id, after(2)) is None
        assert await claims.in_turn(tx, "worker", ["demo.steps"], 9, after(3), 30) == []
    assert gone is not None
    assert (gone.job.status, gone.job.finished_at) == (JobStatus.CANCELLED, after(1))


async def test_cancel_running(db: Database) -> None:
    """ "cancel from anywhere (running code sees it at its next progress report)": its worker is asked."""
    acme, (ann,) = await settle(db)
    await put(db, a_job(ann))
    held = await claimed(db)
    async with db.write() as tx:
        asked = await jobs.cancel(tx, acme.id, ann.id, held.job.id, after(2))
        assert asked == replace(held, cancel_requested=True)
        assert (await lease.renew(tx, "worker", after(3), 30)).cancelled == {held.job.id}
    await ended(db, held, JobStatus.CANCELLED)
    async with db.write() as tx:
        assert await jobs.cancel(tx, acme.id, ann.id, held.job.id, after(20)) is None


async def test_cancel_external(db: Database) -> None:
    """ "A cancelled external job refuses reports with 409", running or not."""
    acme, (ann,) = await settle(db)
    stored = a_job(ann, kind="external", run_at=None, timeout_seconds=60, lease_expires_at=after(60))
    await put(db, stored)
    async with db.write() as tx:
        assert await jobs.report(tx, acme.id, stored.job.id, Report(1, JobStatus.RUNNING), after(1))
        gone = await jobs.cancel(tx, acme.id, ann.id, stored.job.id, after(2))
        assert gone is not None
        assert (gone.job.status, gone.lease_expires_at) == (JobStatus.CANCELLED, None)
        assert await jobs.report(tx, acme.id, stored.job.id, Report(2, JobStatus.RUNNING), after(3)) is None


async def test_cancel_below(db: Database) -> None:
    """ "parents and children (a cancelled or failed parent ends its children)", and theirs."""
    acme, (ann,) = await settle(db)
    await put(db, a_job(ann))
    running = await claimed(db)
    parent = a_job(ann)
    child = a_job(ann, parent_id=parent.job.id)
    grandchild = a_job(ann, parent_id=child.job.id)
    done = a_job(ann, parent_id=parent.job.id, status=JobStatus.SUCCEEDED, finished_at=after(1))
    other = a_job(ann, parent_id=running.job.id)
    await put(db, parent, child, grandchild, done, other)
    async with db.write() as tx:
        gone = await jobs.cancel_below(tx, acme.id, parent.job.id, after(2))
        assert await jobs.cancel_below(tx, acme.id, parent.job.id, after(3)) == []
        assert await jobs.get_any(tx, done.job.id) == done
        assert await jobs.get_any(tx, parent.job.id) == parent
        assert await jobs.get_any(tx, other.job.id) == other
    assert [one.job.id for one in gone] == [child.job.id, grandchild.job.id]
    assert {one.job.status for one in gone} == {JobStatus.CANCELLED}


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
async def test_retry(db: Database, status: JobStatus) -> None:
    """ "``retry`` ... keeps the id, goes on counting attempts and grants the kind's attempts again"."""
    acme, (ann,) = await settle(db)
    await put(db, a_job(ann, max_attempts=1))
    held = await claimed(db)
    await ended(db, held, status)
    async with db.write() as tx:
        again = await jobs.retry(tx, acme.id, ann.id, held.job.id, 3, after(10))
        assert again is not None
        assert await jobs.retry(tx, acme.id, ann.id, held.job.id, 3, after(11)) is None
    job = again.job
    assert (job.status, job.attempt, job.max_attempts) == (JobStatus.QUEUED, 1, 4)
    assert (job.error, job.finished_at, job.progress, again.cancel_requested) == (None, None, 0.0, False)
    assert (await claimed(db, at=10)).job.attempt == 2


async def test_no_retry(db: Database) -> None:
    """ "``retry`` of others ... 409": not of what is queued, running or succeeded."""
    acme, (ann,) = await settle(db)
    await put(db, a_job(ann))
    held = await claimed(db)
    async with db.write() as tx:
        assert await jobs.retry(tx, acme.id, ann.id, held.job.id, 3, after(10)) is None
    await ended(db, held, JobStatus.SUCCEEDED)
    async with db.write() as tx:
        assert await jobs.retry(tx, acme.id, ann.id, held.job.id, 3, after(10)) is None


async def test_reports(db: Database) -> None:
    """ "a repeated ``sequence`` answers the same and does nothing; after the end 409"."""
    acme, (ann,) = await settle(db)
    globex, _ = await settle(db, "globex", "eve")
    stored = a_job(ann, kind="external", run_at=None, timeout_seconds=60, lease_expires_at=after(60))
    await put(db, stored)
    name = stored.job.id
    step = Report(5, JobStatus.RUNNING, stage="mix", progress=0.5, message="half", deadline=after(70))
    end = Report(6, JobStatus.SUCCEEDED, progress=1.0, result={"url": "x"})
    async with db.write() as tx:
        assert await jobs.report(tx, globex.id, name, step, after(10)) is None
        running = await jobs.report(tx, acme.id, name, step, after(10))
        assert running is not None
        assert await jobs.report(tx, acme.id, name, replace(step, progress=0.1), after(11)) is None
        beat = Report(7, JobStatus.RUNNING, deadline=after(80))
        alive = await jobs.report(tx, acme.id, name, beat, after(20))
        over = await jobs.report(tx, acme.id, name, replace(end, sequence=8), after(30))
        assert await jobs.report(tx, acme.id, name, replace(end, sequence=9), after(31)) is None
    job = running.job
    assert (job.status, job.stage, job.progress, job.attempt) == (JobStatus.RUNNING, "mix", 0.5, 1)
    assert (job.started_at, running.lease_expires_at) == (after(10), after(70))
    assert alive is not None
    assert (alive.job.stage, alive.job.progress, alive.job.attempt) == ("mix", 0.5, 1)
    assert (alive.message, alive.lease_expires_at) == ("half", after(80))
    assert over is not None
    assert (over.job.status, over.job.finished_at) == (JobStatus.SUCCEEDED, after(30))
    assert (over.job.result, over.lease_expires_at, over.report_sequence) == ({"url": "x"}, None, 8)


async def test_only_external_jobs_are_reported_on(db: Database) -> None:
    """A report does nothing to a job that a worker of ours runs."""
    acme, (ann,) = await settle(db)
    stored = a_job(ann)
    await put(db, stored)
    async with db.write() as tx:
        assert await jobs.report(tx, acme.id, stored.job.id, Report(1, JobStatus.RUNNING), after(1)) is None


async def test_retry_external(db: Database) -> None:
    """An external job that is retried waits for its first report as long as for any other."""
    acme, (ann,) = await settle(db)
    stored = a_job(ann, kind="external", run_at=None, timeout_seconds=60, lease_expires_at=after(60))
    await put(db, stored)
    async with db.write() as tx:
        failed = Report(1, JobStatus.FAILED, error=JobError("E", "no"))
        assert await jobs.report(tx, acme.id, stored.job.id, failed, after(5))
        again = await jobs.retry(tx, acme.id, ann.id, stored.job.id, 1, after(10))
        assert again is not None
        assert (again.run_at, again.lease_expires_at) == (None, after(70))
        assert await jobs.report(tx, acme.id, stored.job.id, Report(2, JobStatus.RUNNING), after(11))
