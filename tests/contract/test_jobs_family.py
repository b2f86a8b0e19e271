"""Parents and children, on both databases: fan-out, fan-in, and that nothing is forgotten in between."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import family_kinds  # the kinds of this file
from tests.support.job_rig import JobRig, job_rig
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.job import Job, JobError, JobStatus
from tidings.jobs import queue
from tidings.jobs.context import JobContext
from tidings.jobs.executor import Limits
from tidings.jobs.family import Families
from tidings.jobs.kinds import Registry
from tidings.jobs.queue import utc_now
from tidings.store import jobs as job_rows
from tidings.store import kinds, lease

assert family_kinds.WHIMS == []


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[JobRig]:
    async with job_rig(database_url) as rig:
        yield rig


def families(rig: JobRig) -> Families:
    return Families(rig.database, rig.relay, rig.wake, rig.cancel_hint)


async def children(rig: JobRig, parent: Job) -> list[Job]:
    """All that stand in the user's list as the parent's, the oldest first."""
    page = await rig.jobs.page(rig.principal, cursor=None, limit=100)
    return [job for job in reversed(page.items) if job.parent_id == parent.id]


async def until_children(rig: JobRig, parent: Job, status: JobStatus, count: int) -> list[Job]:
    """The parent's children, once so many have that status."""
    async with asyncio.timeout(20):
        while True:
            found = [job for job in await children(rig, parent) if job.status is status]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.01)


def progress_of(rig: JobRig, job: Job) -> list[tuple[str | None, float]]:
    return [(event["stage"], event["progress"]) for event in rig.events(job) if event["type"] == "progress"]


@pytest.mark.parametrize("payload", [{"numbers": [1, 2, 3]}, {"numbers": [1, 2, 3], "plain": True}])
async def test_fan_out_and_fan_in(rig: JobRig, payload: dict[str, Any]) -> None:
    """The parent gets what its children return, in order, in one attempt, however often it has waited."""
    rig.start_worker()
    job = await rig.submit("test.sum", payload)
    done = await rig.finished(job)
    assert done.result == {"total": 14, "again": 196, "attempt": 1}
    assert (done.attempt, done.max_attempts, done.progress) == (1, 3, 1.0)
    born = await children(rig, job)
    assert [child.status for child in born] == [JobStatus.SUCCEEDED] * 4
    assert {(child.user_id, child.tenant_id, child.priority) for child in born} == {
        (job.user_id, job.tenant_id, job.priority)
    }
    assert rig.types(job) == ["queued", "started", "progress", "completed"]


async def test_a_plain_function_waits_too(rig: JobRig) -> None:
    """A process is free while its job waits; the job goes on in whichever is."""
    rig.start_worker(Limits(concurrency=1))
    assert (await rig.finished(await rig.submit("test.sum-plain", {"numbers": [3, 4]}))).result == 25


async def test_no_worker_waits_in_between(rig: JobRig) -> None:
    """With one slot for all, parents, children and grandchildren come to their end."""
    rig.start_worker(Limits(concurrency=1))
    jobs = [await rig.submit("test.sum", {"numbers": [1, 2], "deeper": 2}) for _ in range(3)]
    for job in jobs:
        assert (await rig.finished(job)).result["total"] == 5


async def test_the_parents_stream_shows_its_children(rig: JobRig) -> None:
    """Its progress is the weighted progress of its children, and the stage is the child's name."""
    rig.start_worker(Limits(concurrency=1))
    job = await rig.submit("test.sum", {"numbers": [1, 2]})
    await rig.finished(job)
    told = progress_of(rig, job)
    assert told[0] == ("asking", 0.2)
    assert [progress for _, progress in told] == sorted(progress for _, progress in told)
    assert {"square 1", "square 2", "test.square"} <= {stage for stage, _ in told}
    assert ("square 1", 0.4) in [(stage, round(progress, 6)) for stage, progress in told]
    assert ("square 2", 0.6) in [(stage, round(progress, 6)) for stage, progress in told]


async def test_a_waiting_parent_is_running_to_its_user(rig: JobRig) -> None:
    """While it waits nobody holds it, and its status is `running`; it is found under that."""
    worker = rig.start_worker(Limits(concurrency=1))
    job = await rig.submit("test.brood", {"kinds": ["test.sleep"]})
    (child,) = await until_children(rig, job, JobStatus.RUNNING, 1)
    await rig.told(job, "progress")
    assert (await rig.jobs.get(rig.principal, job.id)).status is JobStatus.RUNNING
    page = await rig.jobs.page(rig.principal, cursor=None, limit=10, status=JobStatus.RUNNING)
    assert {one.id for one in page.items} == {job.id, child.id}
    await rig.stop_worker(worker)


async def test_a_cancelled_parent_ends_its_children(rig: JobRig) -> None:
    """ "a cancelled or failed parent ends its children", and theirs, those that run and those that wait."""
    rig.start_worker(Limits(concurrency=1, grace=0.1))
    job = await rig.submit("test.brood", {"kinds": ["test.listen", "test.listen"]})
    await until_children(rig, job, JobStatus.RUNNING, 1)
    cancelled = await rig.jobs.cancel(rig.principal, job.id)
    assert cancelled.status is JobStatus.CANCELLED
    await until_children(rig, job, JobStatus.CANCELLED, 2)
    assert rig.types(job)[-1] == "cancelled"


async def test_a_failed_child(rig: JobRig) -> None:
    """It fails its parent, at once for good: the child has had its attempts."""
    rig.start_worker()
    job = await rig.submit("test.brood", {"kinds": ["test.refuse", "test.noop"]})
    done = await rig.finished(job)
    assert (done.status, done.attempt) == (JobStatus.FAILED, 1)
    assert done.error == JobError("CHILD_FAILED", "test.refuse: Not with me")


async def test_a_failed_child_that_is_put_up_with(rig: JobRig) -> None:
    """A parent may see for itself how its children ended."""
    rig.start_worker()
    job = await rig.submit("test.brood", {"kinds": ["test.refuse", "test.noop"], "failures": True})
    assert (await rig.finished(job)).result == ["REFUSED", "done"]


async def test_a_cancelled_child(rig: JobRig) -> None:
    """A child is a job of the user's like any other: cancelled, it lets its parent go on."""
    job = await rig.submit("test.brood", {"kinds": ["test.sleep", "test.noop"], "failures": True})
    worker = rig.start_worker(Limits(concurrency=2, grace=0.1))
    await until_children(rig, job, JobStatus.SUCCEEDED, 1)
    (sleeper,) = await until_children(rig, job, JobStatus.RUNNING, 1)
    await rig.jobs.cancel(rig.principal, sleeper.id)
    assert (await rig.finished(job)).result == ["CANCELLED", "done"]
    await rig.stop_worker(worker)


async def test_a_child_cancelled_in_the_queue(rig: JobRig) -> None:
    """The last child may be one that never ran: here, of a kind that another worker has."""
    async with rig.database.write() as tx:
        await kinds.register(tx, {"test.elsewhere": {}}, utc_now())
    rig.start_worker()
    job = await rig.submit("test.brood", {"kinds": ["test.elsewhere"] * 2, "failures": True})
    for child in await until_children(rig, job, JobStatus.QUEUED, 2):
        await rig.jobs.cancel(rig.principal, child.id)
    assert (await rig.finished(job)).result == ["CANCELLED", "CANCELLED"]


async def test_a_new_attempt_keeps_what_succeeded(rig: JobRig, tmp_path: Path) -> None:
    """Of the children of an attempt that failed, those that succeeded are not run again; the others are."""
    rig.start_worker()
    marks = tmp_path / "marks"
    job = await rig.submit("test.picky", {"path": str(marks)})
    done = await rig.finished(job)
    assert (done.result, done.attempt) == (2, 2)
    assert marks.read_bytes() == b"."
    statuses = [child.status for child in await children(rig, job)]
    assert statuses == [JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.SUCCEEDED]


async def test_a_retried_parent_keeps_what_succeeded(rig: JobRig) -> None:
    """`retry` by hand is a new attempt like any other."""
    rig.start_worker()
    job = await rig.submit("test.brood", {"kinds": ["test.noop", "test.refuse"]})
    await rig.finished(job)
    await rig.jobs.retry(rig.principal, job.id)
    await rig.told(job, "failed", attempt=2)
    kinds = [child.kind for child in await children(rig, job)]
    assert sorted(kinds) == ["test.noop", "test.refuse", "test.refuse"]


async def test_a_child_that_is_retried_by_itself(rig: JobRig) -> None:
    """Of a parent that is over, it runs for itself, and the sweep lets it."""
    rig.start_worker()
    job = await rig.submit("test.brood", {"kinds": ["test.refuse"]})
    await rig.finished(job)
    (child,) = await children(rig, job)
    await rig.stop_worker(rig.workers[0])
    await rig.jobs.retry(rig.principal, child.id)
    assert await families(rig).sweep() == 0
    rig.start_worker()
    await until_children(rig, job, JobStatus.FAILED, 1)
    assert (await rig.jobs.get(rig.principal, job.id)).status is JobStatus.FAILED


async def test_a_fickle_parent(rig: JobRig) -> None:
    """A parent that asks for other children after the wait has failed, and the log says why."""
    rig.start_worker()
    done = await rig.finished(await rig.submit("test.fickle"))
    assert done.status is JobStatus.FAILED


async def test_too_deep(rig: JobRig) -> None:
    """Five generations below the job that a user made, and no more."""
    rig.start_worker()
    fine = await rig.submit("test.square", {"value": 2, "deeper": 5})
    assert (await rig.finished(fine)).result == 4
    deep = await rig.submit("test.square", {"value": 2, "deeper": 6})
    assert (await rig.finished(deep)).status is JobStatus.FAILED


@pytest.mark.parametrize("kind", ["nobody.knows", "external"])
async def test_a_child_of_no_known_kind(rig: JobRig, kind: str) -> None:
    """It fails its parent for good, and none of its siblings is made."""
    rig.start_worker()
    job = await rig.submit("test.brood", {"kinds": ["test.noop", kind]})
    done = await rig.finished(job)
    assert done.error is not None
    assert (done.error.code, done.attempt) == ("UNKNOWN_KIND", 1)
    assert await children(rig, job) == []


@pytest.mark.parametrize("kind", ["test.square", "other.square"])
async def test_a_child_with_a_wrong_payload(rig: JobRig, kind: str) -> None:
    """It fails its parent for good, and no child is made, whether its kind is the worker's own or another's."""
    other = Registry()

    @other.job("other.square")
    async def other_square(ctx: JobContext, payload: family_kinds.Number) -> None: ...

    async with rig.database.write() as tx:
        await queue.register(tx, other, utc_now())
    rig.start_worker()
    job = await rig.submit("test.brood", {"kinds": ["test.noop", kind]})
    done = await rig.finished(job)
    assert done.error is not None
    assert (done.error.code, done.attempt) == ("VALIDATION_FAILED", 1)
    assert await children(rig, job) == []


async def test_killed_after_the_wait(rig: JobRig, tmp_path: Path) -> None:
    """A parent whose process dies in the middle runs again, as a new attempt, with its children's results."""
    rig.start_worker()
    job = await rig.submit("test.die-waiting", {"path": str(tmp_path / "died")})
    done = await rig.finished(job)
    assert (done.result, done.attempt) == ("alive", 2)
    assert len(await children(rig, job)) == 1


async def test_a_parent_that_was_forgotten(rig: JobRig) -> None:
    """A child that is over, and its parent not woken: the sweep finds it."""
    worker = rig.start_worker(Limits(concurrency=1))
    job = await rig.submit("test.brood", {"kinds": ["test.sleep"]})
    (child,) = await until_children(rig, job, JobStatus.RUNNING, 1)
    await rig.stop_worker(worker)
    async with rig.database.write() as tx:
        stored = await job_rows.get_any(tx, child.id)
        assert stored is not None
        assert stored.lease_owner is not None
        ended = lease.Outcome(lease.Lease(child.id, 1), JobStatus.SUCCEEDED)
        assert await lease.finish(tx, stored.lease_owner, [ended], utc_now())
    assert await families(rig).sweep() == 1
    assert await families(rig).sweep() == 0
    rig.start_worker()
    assert (await rig.finished(job)).result == ["done"]


async def test_children_that_were_forgotten(rig: JobRig) -> None:
    """A parent that is over, and its children not ended: the sweep ends them, and theirs."""
    job = await rig.submit("test.noop")
    other = await rig.submit("test.noop")
    grandchild = await rig.submit("test.noop")
    async with rig.database.write() as tx:
        for child, parent in ((other, job), (grandchild, other)):
            await tx.exec_driver_sql(
                f"UPDATE jobs SET parent_id = '{parent.id}', child_key = 'a:b' WHERE id = '{child.id}'"
            )
        await job_rows.cancel(tx, job.tenant_id, job.user_id, job.id, utc_now())
    assert await families(rig).sweep() == 1
    for child in (other, grandchild):
        assert (await rig.jobs.get(rig.principal, child.id)).status is JobStatus.CANCELLED
        await rig.told(child, "cancelled")
    assert await families(rig).sweep() == 0


async def test_many_children_on_many_workers(rig: JobRig) -> None:
    """Children that end at the same moment on different workers: the parent goes on once, and soon."""
    for _ in range(2):
        rig.start_worker(Limits(concurrency=4))
    jobs = [await rig.submit("test.sum", {"numbers": list(range(8))}) for _ in range(3)]
    for job in jobs:
        assert (await rig.finished(job)).result["total"] == sum(number**2 for number in range(8))
        assert rig.types(job).count("started") == 1


async def test_a_child_is_its_users_alone(rig: JobRig) -> None:
    """A child belongs to the user of its parent."""
    rig.start_worker()
    job = await rig.submit("test.brood", {"kinds": ["test.noop"]})
    await rig.finished(job)
    (child,) = await children(rig, job)
    with pytest.raises(TidingsError) as refused:
        await rig.jobs.get(rig.stranger, child.id)
    assert refused.value.code is ErrorCode.NOT_FOUND
