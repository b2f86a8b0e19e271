"""Leases: who may run a job and write of it, what becomes of a dead worker's jobs, and drains. On both databases."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from tests.support import job_kinds
from tests.support.job_kinds import Nothing
from tests.support.job_rig import QUICK, FlakyDatabase, JobRig, job_rig
from tidings.domain.ids import new_id
from tidings.domain.job import Job, JobError, JobPriority, JobStatus
from tidings.jobs import queue
from tidings.jobs.context import JobContext
from tidings.jobs.executor import Limits
from tidings.jobs.kinds import Registry
from tidings.jobs.outcome import Cancelled, Done, Failed, HandedBack, Verdict
from tidings.jobs.queue import Ended, utc_now
from tidings.jobs.reaper import Reaper
from tidings.store import jobs as job_rows
from tidings.store.job_rows import StoredJob

LEASE, DEAD = 10.0, 0.0
"""Seconds for which a job is held: by a worker that lives, and by one that is dead already."""


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[JobRig]:
    async with job_rig(database_url) as rig:
        yield rig


async def claim(rig: JobRig, worker: str, lease_seconds: float = LEASE) -> list[Job]:
    async with rig.database.write() as tx:
        claimed = await queue.claim(tx, worker, {"test.noop": 1}, 1, utc_now(), lease_seconds)
    rig.relay.kick()
    return [stored.job for stored in claimed]


async def settle(rig: JobRig, worker: str, job: Job, verdict: Verdict, wait: float = 0.0) -> list[Job]:
    async with rig.database.write() as tx:
        settled = await queue.settle(tx, worker, [Ended(job, verdict, wait)], utc_now())
    rig.relay.kick()
    return [now for _, now in settled]


def reaper(rig: JobRig) -> Reaper:
    return Reaper(rig.database, rig.relay, rig.wake)


async def test_a_dead_workers_job_runs_again(rig: JobRig) -> None:
    """A worker killed with SIGKILL loses no job; it runs again on another worker."""
    job = await rig.submit("test.noop")
    assert await claim(rig, "dead", DEAD)
    rig.start_worker()
    sweeping = asyncio.create_task(reaper(rig).run())
    done = await rig.finished(job)
    sweeping.cancel()
    assert (done.status, done.attempt) == (JobStatus.SUCCEEDED, 2)
    assert rig.types(job) == ["queued", "started", "queued", "started", "completed"]


async def test_a_live_workers_job_is_left_alone(rig: JobRig) -> None:
    """Leases are renewed: a job that takes longer than its lease is not taken from a living worker."""
    rig.start_worker(Limits(concurrency=1, lease=0.3))
    job = await rig.submit("test.listen")
    await rig.told(job, "progress")
    started = asyncio.get_running_loop().time()
    sweeper = reaper(rig)
    while asyncio.get_running_loop().time() < started + 1.0:
        assert await sweeper.sweep() == 0
        await rig.told(job, "progress")
        await asyncio.sleep(0)
    await rig.jobs.cancel(rig.principal, job.id)
    assert (await rig.finished(job)).attempt == 1


async def test_the_last_attempt_is_lost(rig: JobRig) -> None:
    """Every accepted job gets a terminal event, even if its worker dies, time and again."""
    job = await rig.submit("test.noop")
    for _ in range(3):
        assert await claim(rig, new_id(), DEAD)
        assert await reaper(rig).sweep() == 1
    done = await rig.finished(job)
    assert (done.status, done.attempt) == (JobStatus.FAILED, 3)
    assert done.error == JobError("WORKER_LOST", "The worker that ran the job was lost")
    assert rig.types(job)[-2:] == ["started", "failed"]


async def test_a_dead_workers_job_was_cancelled(rig: JobRig) -> None:
    """A cancel that its worker did not live to see is not forgotten."""
    job = await rig.submit("test.noop")
    await claim(rig, "dead", DEAD)
    await rig.jobs.cancel(rig.principal, job.id)
    assert await reaper(rig).sweep() == 1
    assert (await rig.finished(job)).status is JobStatus.CANCELLED
    assert rig.types(job) == ["queued", "started", "cancelled"]


async def test_nothing_is_taken_back_early(rig: JobRig) -> None:
    """A lease that has not run out is nobody's business."""
    await rig.submit("test.noop")
    await claim(rig, "alive")
    assert await reaper(rig).sweep() == 0


async def test_two_reapers(rig: JobRig) -> None:
    """Every process has a reaper; a job that both find is taken back once."""
    job = await rig.submit("test.noop")
    await claim(rig, "dead", DEAD)
    await asyncio.gather(*(reaper(rig).sweep() for _ in range(4)))
    await rig.relay.flushed()
    assert rig.types(job) == ["queued", "started", "queued"]


async def test_a_silent_external_job(rig: JobRig) -> None:
    """An external job that is silent for `timeoutSeconds` fails with `TIMEOUT`."""
    now = utc_now()
    template = await rig.submit("test.noop")
    external = replace(template, id=new_id(), status=JobStatus.RUNNING, attempt=1)
    async with rig.database.write() as tx:
        await job_rows.insert(tx, [StoredJob(external, lease_expires_at=now)])
    await rig.broker.subscribe([external.channel])
    assert await reaper(rig).sweep() == 1
    done = await rig.finished(external)
    assert done.error == JobError("TIMEOUT", "The job was silent for too long")


@pytest.mark.parametrize(
    "verdict", [Done("late"), Failed(), Failed("NO", "no", retry=False), Cancelled(), HandedBack()]
)
async def test_the_old_attempt_is_fenced(rig: JobRig, verdict: Verdict) -> None:
    """What a worker that lost its lease has to say of the job changes nothing and is told to nobody."""
    job = await rig.submit("test.noop")
    [old] = await claim(rig, "old", DEAD)
    await reaper(rig).sweep()
    [new] = await claim(rig, "new")
    assert (old.attempt, new.attempt) == (1, 2)
    assert await settle(rig, "old", old, verdict) == []
    assert await settle(rig, "new", old, verdict) == []
    assert (await rig.jobs.get(rig.principal, job.id)).status is JobStatus.RUNNING
    [done] = await settle(rig, "new", new, Done("right"))
    assert await rig.finished(job) == done
    assert rig.types(job) == ["queued", "started", "queued", "started", "completed"]


async def test_it_is_settled_once(rig: JobRig) -> None:
    """A commit whose answer was lost is repeated; the second time nothing happens."""
    job = await rig.submit("test.noop")
    [claimed] = await claim(rig, "worker")
    assert len(await settle(rig, "worker", claimed, Done(1))) == 1
    assert await settle(rig, "worker", claimed, Done(2)) == []
    assert (await rig.finished(job)).result == 1


async def test_the_wait_before_the_next_attempt(rig: JobRig) -> None:
    """A job that failed is not due before its backoff has passed."""
    await rig.submit("test.noop")
    [claimed] = await claim(rig, "worker")
    [queued] = await settle(rig, "worker", claimed, Failed(), wait=60.0)
    assert queued.status is JobStatus.QUEUED
    assert await claim(rig, "worker") == []


async def test_a_worker_that_lost_its_job_ends_it(rig: JobRig, database_url: str) -> None:
    """A worker that was cut off for too long finds that its job is another's, and ends the code for it."""
    async with FlakyDatabase(database_url) as flaky:
        cut_off = rig.start_worker(Limits(concurrency=1, lease=0.2, grace=600.0), flaky)
        job = await rig.submit("test.sleep")
        await rig.told(job, "progress")
        flaky.reachable = False
        sweeping = asyncio.create_task(reaper(rig).run())
        await rig.told(job, "queued", attempt=1)
        sweeping.cancel()
        rig.start_worker()
        await rig.told(job, "progress", attempt=2)
        with capture_logs() as lines:
            flaky.reachable = True
            await cut_off.drain(20)
        await rig.stop_worker(cut_off)
    assert ("job lost to another worker", job.id) in [(line["event"], line.get("jobId")) for line in lines]
    await rig.jobs.cancel(rig.principal, job.id)
    assert (await rig.finished(job)).attempt == 2
    assert [each for each in rig.types(job) if each != "progress"] == [
        "queued",
        "started",
        "queued",
        "started",
        "cancelled",
    ]


async def test_a_claim_that_was_not_answered(
    rig: JobRig, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose claim was committed without its knowing finds the job at its next renewal, and runs it."""
    monkeypatch.setattr("tidings.jobs.worker.RETRY_SECONDS", 0.01)
    async with FlakyDatabase(database_url) as flaky:
        worker = rig.start_worker(database=flaky)
        await rig.finished(await rig.submit("test.noop"))
        flaky.answers = False
        job = await rig.submit("test.noop")
        await rig.told(job, "started")
        flaky.answers = True
        done = await rig.finished(job)
        await rig.stop_worker(worker)
    assert (done.status, done.attempt) == (JobStatus.SUCCEEDED, 1)
    assert rig.types(job) == ["queued", "started", "completed"]


async def test_the_database_goes_away(
    rig: JobRig, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker outlives its database: what ended meanwhile is written down when it is back."""
    monkeypatch.setattr("tidings.jobs.worker.RETRY_SECONDS", 0.01)
    job_kinds.RELEASE.clear()
    async with FlakyDatabase(database_url) as flaky:
        worker = rig.start_worker(database=flaky)
        job = await rig.submit("test.wait")
        await rig.told(job, "started")
        flaky.reachable = False
        job_kinds.RELEASE.set()
        await flaky.refused_again()
        await flaky.refused_again()
        flaky.reachable = True
        done = await rig.finished(job)
        await rig.stop_worker(worker)
    assert done.status is JobStatus.SUCCEEDED
    assert rig.types(job) == ["queued", "started", "completed"]


async def test_a_drain_lets_jobs_end(rig: JobRig) -> None:
    """On SIGTERM accepted work is finished: what ends in time ends here, and nothing more begins."""
    worker = rig.start_worker()
    job_kinds.RELEASE.clear()
    job = await rig.submit("test.wait")
    await rig.told(job, "started")
    draining = asyncio.create_task(worker.drain(20))
    await asyncio.sleep(0)
    late = await rig.submit("test.noop")
    job_kinds.RELEASE.set()
    await draining
    assert (await rig.finished(job)).status is JobStatus.SUCCEEDED
    assert (await rig.jobs.get(rig.principal, late.id)).status is JobStatus.QUEUED
    assert rig.tasks[0].done()


@pytest.mark.parametrize("kind", ["test.sleep", "test.deaf-plain"])
async def test_a_drain_hands_back(rig: JobRig, kind: str) -> None:
    """Accepted work is finished or handed back: another worker takes it at once, at no cost to its attempts."""
    worker = rig.start_worker(Limits(lease=600.0))
    job = await rig.submit(kind)
    await rig.told(job, "progress")
    await worker.drain(0)
    assert rig.tasks[0].done()
    queued = await rig.jobs.get(rig.principal, job.id)
    assert (queued.status, queued.attempt, queued.max_attempts) == (JobStatus.QUEUED, 1, 4)
    rig.start_worker(QUICK)
    await rig.told(job, "started", attempt=2)
    await rig.jobs.cancel(rig.principal, job.id)
    await rig.finished(job)


async def test_a_cancelled_job_is_not_handed_back(rig: JobRig) -> None:
    """A job that is being cancelled when its worker goes is cancelled."""
    worker = rig.start_worker(Limits(grace=600.0))
    job = await rig.submit("test.sleep")
    await rig.told(job, "progress")
    await rig.jobs.cancel(rig.principal, job.id)
    await worker.drain(0)
    assert (await rig.finished(job)).status is JobStatus.CANCELLED


async def test_no_attempt_runs_twice(database_url: str) -> None:
    """Several workers at one queue run every job once: no attempt is ever given to two of them."""
    begun: Counter[tuple[str, int]] = Counter()
    registry = Registry()

    @registry.job("test.noop")
    async def note(ctx: JobContext, payload: Nothing) -> None:
        begun[ctx.job_id, ctx.attempt] += 1
        await asyncio.sleep(0)

    async with job_rig(database_url, registry) as rig:
        for _ in range(4):
            rig.start_worker(Limits(concurrency=5))
        jobs = [await rig.submit("test.noop", priority=list(JobPriority)[n % 2]) for n in range(100)]
        for job in jobs:
            assert (await rig.finished(job)).status is JobStatus.SUCCEEDED
            assert rig.types(job) == ["queued", "started", "completed"]
    assert begun == Counter((job.id, 1) for job in jobs)
