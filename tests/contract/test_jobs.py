"""Jobs from submission to their end, on both databases, with real processes, broker and relay."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import job_kinds
from tests.support.job_rig import JobRig, job_rig
from tidings import metrics
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.job import Job, JobError, JobPriority, JobStatus
from tidings.jobs import attempt, demo
from tidings.jobs.executor import Limits
from tidings.jobs.kinds import Registry

RUN = ["queued", "started", "completed"]


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[JobRig]:
    async with job_rig(database_url) as rig:
        yield rig


def without_progress(types: list[str]) -> list[str]:
    return [each for each in types if each != "progress"]


@pytest.mark.parametrize("kind", ["test.noop", "test.plain"])
async def test_a_job_runs_to_its_end(rig: JobRig, kind: str) -> None:
    """Submitted, started, completed: async or plain, each told once, and stored with its result."""
    rig.start_worker()
    job = await rig.submit(kind)
    assert (job.status, job.attempt, job.max_attempts) == (JobStatus.QUEUED, 0, 3)
    done = await rig.finished(job)
    assert (done.status, done.progress, done.attempt, done.error) == (JobStatus.SUCCEEDED, 1.0, 1, None)
    assert done.result
    assert done.started_at is not None
    assert done.finished_at is not None
    assert job.created_at <= done.started_at <= done.finished_at
    assert rig.types(job) == RUN
    assert [event["status"] for event in rig.events(job)] == ["queued", "running", "succeeded"]


async def test_events_come_in_order(rig: JobRig) -> None:
    """Positions rise, progress comes after `started`, and nothing after the terminal event."""
    rig.start_worker()
    jobs = [await rig.submit("test.count", {"count": 50}) for _ in range(5)]
    for job in jobs:
        await rig.finished(job)
        types = rig.types(job)
        assert without_progress(types) == RUN
        assert types[:2] == ["queued", "started"]
        assert types[-1] == "completed"
        offsets = [each.position.offset for each in rig.heard if each.channel == job.channel]
        assert offsets == sorted(set(offsets))
        steps = [event["progress"] for event in rig.events(job) if event["type"] == "progress"]
        assert steps == sorted(steps)
        assert {event["stage"] for event in rig.events(job)} <= {None, "counting"}


async def test_an_idle_worker_is_woken(rig: JobRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle worker starts a job when it is submitted, not when it happens to look."""
    monkeypatch.setattr("tidings.jobs.worker.POLL_SECONDS", 1000.0)
    rig.start_worker()
    for _ in range(3):
        await rig.finished(await rig.submit("test.noop"))


async def test_a_worker_looks_for_itself(rig: JobRig) -> None:
    """A job that nobody told of, submitted through another process say, is found by the slow poll."""
    rig.start_worker()
    async with rig.database.write() as tx:
        job = await rig.jobs.submit(tx, rig.principal, kind="test.noop", payload={})
    await rig.broker.subscribe([job.channel])
    assert (await rig.finished(job)).status is JobStatus.SUCCEEDED


async def test_a_delayed_job(rig: JobRig) -> None:
    """A job with a delay is not begun before its time, while those behind it are."""
    rig.start_worker(Limits(concurrency=1))
    async with rig.database.write() as tx:
        delayed = await rig.jobs.submit(tx, rig.principal, kind="test.noop", payload={}, delay_seconds=1.0)
    await rig.broker.subscribe([delayed.channel])
    rig.jobs.committed(delayed.id)
    await rig.finished(await rig.submit("test.noop"))
    assert rig.types(delayed) == ["queued"]
    done = await rig.finished(delayed)
    assert done.started_at is not None
    assert (done.started_at - done.created_at).total_seconds() >= 1.0


async def test_a_failed_attempt_is_tried_again(rig: JobRig) -> None:
    """A failed attempt that will be retried is `queued` again with its attempt number, never `failed`."""
    rig.start_worker()
    job = await rig.submit("test.fail", {"count": 2})
    done = await rig.finished(job)
    assert (done.status, done.result, done.attempt, done.error) == (JobStatus.SUCCEEDED, "done", 3, None)
    assert rig.types(job) == ["queued", "started", "queued", "started", "queued", "started", "completed"]
    told = [(event["type"], event["attempt"], event["message"]) for event in rig.events(job)]
    assert told[2] == ("queued", 1, "attempt 1 was one too early")
    assert told[4] == ("queued", 2, "attempt 2 was one too early")


async def test_a_due_time_that_passes_while_all_slots_are_taken(rig: JobRig) -> None:
    """A busy worker is not kept awake by a job that it could not begin anyway; later it does."""
    worker = rig.start_worker(Limits(concurrency=1))
    job_kinds.RELEASE.clear()
    failing = await rig.submit("test.fail-later")
    await rig.told(failing, "started")
    busy = await rig.submit("test.listen", priority=JobPriority.PRO)
    job_kinds.RELEASE.set()
    await rig.told(busy, "progress")
    await rig.until(lambda: not worker._alarms)
    await rig.jobs.cancel(rig.principal, busy.id)
    assert (await rig.finished(failing)).attempt == 3


async def test_attempts_are_spent(rig: JobRig) -> None:
    """Default 3 attempts; then it has failed, with what was raised on purpose as its error."""
    rig.start_worker()
    job = await rig.submit("test.fail", {"count": 3})
    done = await rig.finished(job)
    assert (done.status, done.attempt) == (JobStatus.FAILED, 3)
    assert done.error == JobError("NOT_YET", "attempt 3 was one too early")
    assert rig.types(job).count("failed") == 1
    assert rig.events(job)[-1]["message"] == "attempt 3 was one too early"


async def test_a_failure_for_good(rig: JobRig) -> None:
    """A job that knows that trying again is no use says so."""
    rig.start_worker()
    done = await rig.finished(await rig.submit("test.refuse"))
    assert (done.status, done.attempt) == (JobStatus.FAILED, 1)
    assert done.error == JobError("REFUSED", "Not with me")


async def test_an_accident_is_not_shown(rig: JobRig) -> None:
    """No stack trace, path or library name ever reaches a client."""
    rig.start_worker()
    job = await rig.submit("test.crash")
    assert (await rig.finished(job)).error == JobError("JOB_FAILED", "The job failed")
    assert b"hunter2" not in b"".join(each.event.data for each in rig.heard)


async def test_cancel_what_waits(rig: JobRig) -> None:
    """A job that no worker has begun is cancelled on the spot."""
    job = await rig.submit("test.noop")
    cancelled = await rig.jobs.cancel(rig.principal, job.id)
    assert (cancelled.status, cancelled.attempt) == (JobStatus.CANCELLED, 0)
    assert await rig.finished(job) == cancelled
    rig.start_worker()
    await rig.finished(await rig.submit("test.noop"))
    assert rig.types(job) == ["queued", "cancelled"]


@pytest.mark.parametrize("kind", ["test.listen", "test.listen-plain", "test.sleep", "test.deaf-plain"])
async def test_cancel_what_runs(rig: JobRig, kind: str) -> None:
    """Running code sees a cancel at its next progress report or is killed after a grace."""
    rig.start_worker()
    job = await rig.submit(kind)
    await rig.told(job, "progress")
    assert (await rig.jobs.cancel(rig.principal, job.id)).status is JobStatus.RUNNING
    done = await rig.finished(job)
    assert (done.status, done.attempt, done.error) == (JobStatus.CANCELLED, 1, None)
    assert done.finished_at is not None
    assert without_progress(rig.types(job)) == ["queued", "started", "cancelled"]
    assert rig.types(job)[-1] == "cancelled"


async def test_cancel_from_anywhere(rig: JobRig) -> None:
    """Cancel from anywhere: a worker of another process hears of it when it renews its leases."""
    rig.start_worker(Limits(concurrency=1, lease=1.0, grace=0.1))
    job = await rig.submit("test.listen")
    await rig.told(job, "progress")
    rig.jobs._cancel_hint = lambda _: None
    await rig.jobs.cancel(rig.principal, job.id)
    assert (await rig.finished(job)).status is JobStatus.CANCELLED


async def test_a_cancelled_job_is_not_tried_again(rig: JobRig) -> None:
    """What fails after its cancellation was asked for is cancelled, not queued again."""
    rig.start_worker(Limits(concurrency=1, lease=600.0))
    job_kinds.RELEASE.clear()
    job = await rig.submit("test.fail-later")
    await rig.told(job, "started")
    rig.jobs._cancel_hint = lambda _: None
    await rig.jobs.cancel(rig.principal, job.id)
    job_kinds.RELEASE.set()
    assert (await rig.finished(job)).status is JobStatus.CANCELLED
    assert rig.types(job) == ["queued", "started", "cancelled"]


@pytest.mark.parametrize("kind", ["test.limited", "test.limited-plain"])
async def test_a_timeout(rig: JobRig, kind: str) -> None:
    """Per-job timeout: an attempt that takes too long has failed, whether it listens or not."""
    rig.start_worker()
    done = await rig.finished(await rig.submit(kind))
    assert done.status is JobStatus.FAILED
    assert done.error == JobError("TIMEOUT", "The job ran for too long")


async def test_code_that_cannot_be_ended(rig: JobRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even async code that takes no cancellation gets its job an end; its slot stays taken meanwhile."""
    monkeypatch.setattr(attempt, "GIVE_UP_SECONDS", 0.1)
    job_kinds.RELEASE.clear()
    rig.start_worker(Limits(concurrency=1, grace=0.05))
    job = await rig.submit("test.stubborn")
    await rig.told(job, "progress")
    await rig.jobs.cancel(rig.principal, job.id)
    assert (await rig.finished(job)).status is JobStatus.CANCELLED
    after = await rig.submit("test.noop")
    assert (await rig.jobs.get(rig.principal, after.id)).status is JobStatus.QUEUED
    job_kinds.RELEASE.set()
    assert (await rig.finished(after)).status is JobStatus.SUCCEEDED


async def test_a_killed_child(rig: JobRig) -> None:
    """A child that dies is an attempt lost: it runs again in another process."""
    rig.start_worker()
    job = await rig.submit("test.die", {"count": 1})
    done = await rig.finished(job)
    assert (done.status, done.attempt, done.result) == (JobStatus.SUCCEEDED, 2, 2)
    again = await rig.told(job, "queued", attempt=1)
    assert again["message"] == "The worker that ran the job was lost"


async def test_a_child_that_always_dies(rig: JobRig) -> None:
    """Every accepted job gets a terminal event, even if its worker dies, each time."""
    rig.start_worker()
    done = await rig.finished(await rig.submit("test.exit"))
    assert done.status is JobStatus.FAILED
    assert done.error is not None
    assert done.error.code == "WORKER_LOST"


async def test_pro_goes_first(rig: JobRig) -> None:
    """Priorities `pro` over `standard`."""
    standard = [await rig.submit("test.noop") for _ in range(3)]
    pro = await rig.submit("test.noop", priority=JobPriority.PRO)
    rig.start_worker(Limits(concurrency=1))
    for job in (*standard, pro):
        await rig.finished(job)
    started = [each.channel.name for each in rig.heard if b'"started"' in each.event.data]
    assert started == [pro.id, *(job.id for job in standard)]


async def test_a_kinds_concurrency(rig: JobRig) -> None:
    """A kind that may run once at a time does, and holds up no other kind."""
    job_kinds.PEAKS.clear()
    jobs = [await rig.submit("test.single") for _ in range(6)]
    jobs += [await rig.submit("test.noop") for _ in range(6)]
    rig.start_worker(Limits(concurrency=4))
    for job in jobs:
        assert (await rig.finished(job)).status is JobStatus.SUCCEEDED
    assert max(job_kinds.PEAKS) == 1
    assert len(job_kinds.PEAKS) == 6


async def test_progress_is_stored(rig: JobRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for a running job, instead of listening, sees how far it is."""
    monkeypatch.setattr("tidings.jobs.worker.NOTE_SECONDS", 0.01)
    rig.start_worker()
    job = await rig.submit("test.sleep")
    async with asyncio.timeout(20):
        while (await rig.jobs.get(rig.principal, job.id)).progress != 0.1:
            rig.wake()


async def test_demo_steps(database_url: str) -> None:
    """`demo.steps`: a progress event a step; kills its own process with SIGKILL at `exitAt`."""
    registry = Registry()
    demo.register(registry)
    async with job_rig(database_url, registry) as rig:
        rig.start_worker()
        whole = await rig.submit("demo.steps", {"steps": 3, "delayMs": 20})
        dying = await rig.submit("demo.steps", {"steps": 3, "delayMs": 20, "exitAt": 2})
        assert (await rig.finished(whole)).status is JobStatus.SUCCEEDED
        assert (await rig.finished(dying)).status is JobStatus.FAILED
        steps = [(1 / 3, "step 1 of 3"), (2 / 3, "step 2 of 3"), (1.0, "step 3 of 3")]
        assert progress_of(rig, whole) == steps
        assert progress_of(rig, dying) == 3 * steps[:1]


def progress_of(rig: JobRig, job: Job) -> list[tuple[float, str]]:
    return [(each["progress"], each["message"]) for each in rig.events(job) if each["type"] == "progress"]


async def test_unknown_kind(rig: JobRig) -> None:
    """A job of a kind nobody ever registered is 422 `UNKNOWN_KIND`, and nothing is stored."""
    with pytest.raises(TidingsError) as caught:
        await rig.submit("no.such.kind")
    assert caught.value.code is ErrorCode.UNKNOWN_KIND
    assert not (await rig.jobs.page(rig.principal, cursor=None, limit=10)).items


async def test_it_is_counted(rig: JobRig) -> None:
    """Jobs by kind and status, queue wait, run time."""
    labels = {"kind": "test.fail", "status": "succeeded"}
    read = metrics.REGISTRY.get_sample_value
    before = read("tidings_jobs_finished_total", labels) or 0.0
    retried = {"kind": "test.fail", "reason": "NOT_YET"}
    before_retried = read("tidings_jobs_retried_total", retried) or 0.0
    rig.start_worker()
    await rig.finished(await rig.submit("test.fail", {"count": 1}))
    assert read("tidings_jobs_finished_total", labels) == before + 1
    assert read("tidings_jobs_retried_total", retried) == before_retried + 1
    assert read("tidings_job_wait_seconds_count", {"kind": "test.fail"})
    assert read("tidings_job_run_seconds_count", {"kind": "test.fail"})
    assert read("tidings_jobs_running") == 0


async def test_nothing_is_left(database_url: str) -> None:
    """A worker that is stopped in the middle leaves no process, no task and no descriptor behind."""
    before, tasks = descriptors(), asyncio.all_tasks()
    async with job_rig(database_url) as rig:
        worker = rig.start_worker()
        deaf, asleep = await rig.submit("test.deaf-plain"), await rig.submit("test.sleep")
        pid = int((await rig.told(deaf, "progress"))["message"])
        await rig.told(asleep, "progress")
        await rig.stop_worker(worker)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert asyncio.all_tasks() == tasks
    assert descriptors() == before


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))
