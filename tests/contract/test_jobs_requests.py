"""What users may ask for of jobs, and that others' jobs do not exist. On both databases."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.support.job_kinds import Nothing, Times
from tests.support.job_rig import JobRig, job_rig
from tidings.domain.errors import ErrorCode, FieldError, TidingsError
from tidings.domain.ids import new_id
from tidings.domain.job import Job, JobPriority, JobStatus
from tidings.domain.people import Principal
from tidings.jobs import queue
from tidings.jobs.context import JobContext, JobFailed
from tidings.jobs.kinds import Registry
from tidings.jobs.queue import utc_now
from tidings.jobs.requests import Jobs

Ask = Callable[[Jobs, Principal, str], Awaitable[Job]]
MISSING = "01a2016f-2b97-76fe-9a7e-afae85f119ff"
ASKS: list[Ask] = [Jobs.get, Jobs.cancel, Jobs.retry]


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[JobRig]:
    async with job_rig(database_url) as rig:
        yield rig


async def refused(asked: Awaitable[object]) -> ErrorCode:
    with pytest.raises(TidingsError) as caught:
        await asked
    return caught.value.code


async def test_a_job_as_it_is_stored(rig: JobRig) -> None:
    """`POST /jobs` answers the job; `GET /jobs/{id}` answers the same."""
    job = await rig.submit("test.count", {"count": 3}, priority=JobPriority.PRO)
    assert await rig.jobs.get(rig.principal, job.id) == job
    assert job.to_json() == {
        "id": job.id,
        "kind": "test.count",
        "status": "queued",
        "stage": None,
        "progress": 0.0,
        "attempt": 0,
        "maxAttempts": 3,
        "priority": "pro",
        "payload": {"count": 3},
        "result": None,
        "error": None,
        "parentId": None,
        "artifacts": [],
        "createdAt": job.to_json()["createdAt"],
        "startedAt": None,
        "finishedAt": None,
    }


async def test_a_job_and_its_event_are_one(rig: JobRig) -> None:
    """A job is stored with its `queued` event in one transaction: rolled back, there is neither."""

    async def fail_after_submit() -> None:
        async with rig.database.write() as tx:
            await rig.jobs.submit(tx, rig.principal, kind="test.noop", payload={})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_after_submit()
    rig.jobs.committed(new_id())
    await rig.relay.flushed()
    assert rig.heard == []
    assert (await rig.jobs.page(rig.principal, cursor=None, limit=10)).items == ()


async def test_payloads_are_checked(rig: JobRig) -> None:
    """422 VALIDATION_FAILED before anything is stored."""
    assert await refused(rig.submit("test.count", {"count": "many"})) is ErrorCode.VALIDATION_FAILED
    assert await refused(rig.submit("test.noop", {"more": 1})) is ErrorCode.VALIDATION_FAILED
    assert (await rig.jobs.page(rig.principal, cursor=None, limit=10)).items == ()


async def test_a_kind_of_another_process(rig: JobRig) -> None:
    """ "Workers register their kinds and the JSON Schema of each payload in the database": attempts and payload
    are theirs, though their code is not here.
    """
    other = Registry()

    @other.job("other.kind", attempts=7)
    async def other_kind(ctx: JobContext, payload: Times) -> None: ...

    assert await refused(rig.submit("other.kind")) is ErrorCode.UNKNOWN_KIND
    async with rig.database.write() as tx:
        await queue.register(tx, other, utc_now())
    assert (await rig.submit("other.kind", {"count": 1})).max_attempts == 7
    for payload in ({"count": "hunter2"}, {"count": "hunter2" * 1000}):
        with pytest.raises(TidingsError) as caught:
            await rig.submit("other.kind", payload)
        assert caught.value.code is ErrorCode.VALIDATION_FAILED
        assert caught.value.fields == (FieldError("payload.count", "Input should be a valid integer"),)
    assert len((await rig.jobs.page(rig.principal, cursor=None, limit=10)).items) == 1


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("job_id", ["", "x", "../..", "a" * 10_000, "\0", MISSING, MISSING.upper()])
async def test_what_does_not_exist(rig: JobRig, ask: Ask, job_id: str) -> None:
    """Missing or malformed: NOT_FOUND, whatever is asked."""
    assert await refused(ask(rig.jobs, rig.principal, job_id)) is ErrorCode.NOT_FOUND


@pytest.mark.parametrize("ask", ASKS)
async def test_somebody_elses(rig: JobRig, ask: Ask) -> None:
    """A job belongs to the user who made it; an ADMIN is a stranger to it."""
    job = await rig.submit("test.noop")
    assert await refused(ask(rig.jobs, rig.stranger, job.id)) is ErrorCode.NOT_FOUND
    assert await rig.jobs.get(rig.principal, job.id) == job
    assert (await rig.jobs.page(rig.stranger, cursor=None, limit=10)).items == ()


async def test_pages(rig: JobRig) -> None:
    """`GET /jobs?cursor=&status=&kind=`: the newest first, by status and kind."""
    noops = [await rig.submit("test.noop") for _ in range(3)]
    count = await rig.submit("test.count", {"count": 1})
    cancelled = await rig.jobs.cancel(rig.principal, noops[0].id)
    first = await rig.jobs.page(rig.principal, cursor=None, limit=3)
    assert first.items == (count, noops[2], noops[1])
    rest = await rig.jobs.page(rig.principal, cursor=first.next_cursor, limit=3)
    assert (rest.items, rest.next_cursor) == ((cancelled,), None)
    by_status = await rig.jobs.page(rig.principal, cursor=None, limit=9, status=JobStatus.CANCELLED)
    assert by_status.items == (cancelled,)
    by_kind = await rig.jobs.page(rig.principal, cursor=None, limit=9, kind="test.count")
    assert by_kind.items == (count,)
    nothing = await rig.jobs.page(rig.principal, cursor=None, limit=9, kind="\0")
    assert nothing.items == ()


async def test_cancel_is_not_for_the_finished(rig: JobRig) -> None:
    """`cancel` of a finished job is 409."""
    rig.start_worker()
    job = await rig.submit("test.noop")
    await rig.finished(job)
    assert await refused(rig.jobs.cancel(rig.principal, job.id)) is ErrorCode.CONFLICT
    assert rig.types(job) == ["queued", "started", "completed"]


async def test_cancel_may_be_repeated(rig: JobRig) -> None:
    """Asking again while it is being cancelled is no error and tells nothing twice."""
    rig.start_worker()
    job = await rig.submit("test.listen")
    await rig.told(job, "progress")
    await rig.jobs.cancel(rig.principal, job.id)
    await rig.jobs.cancel(rig.principal, job.id)
    await rig.finished(job)
    assert rig.types(job).count("cancelled") == 1


async def test_retry_of_a_cancelled_job(rig: JobRig) -> None:
    """`retry` keeps the id and goes on counting attempts."""
    job = await rig.submit("test.noop")
    await rig.jobs.cancel(rig.principal, job.id)
    again = await rig.jobs.retry(rig.principal, job.id)
    assert (again.id, again.status, again.attempt, again.max_attempts) == (job.id, JobStatus.QUEUED, 0, 3)
    assert (again.error, again.finished_at) == (None, None)
    rig.start_worker()
    await rig.told(job, "completed")
    assert rig.types(job) == ["queued", "cancelled", "queued", "started", "completed"]


async def test_retry_grants_the_kinds_attempts_again(database_url: str) -> None:
    """`retry` is for failed jobs: goes on counting attempts and grants the kind's attempts again."""
    registry, attempts = Registry(), list[int]()

    @registry.job("test.twice", attempts=2)
    async def twice(ctx: JobContext, payload: Nothing) -> None:
        attempts.append(ctx.attempt)
        raise JobFailed("NO", "no")

    async with job_rig(database_url, registry) as rig:
        rig.start_worker()
        job = await rig.submit("test.twice")
        assert (await rig.finished(job)).attempt == 2
        again = await rig.jobs.retry(rig.principal, job.id)
        assert (again.attempt, again.max_attempts, again.error, again.progress) == (2, 4, None, 0.0)
        await rig.told(job, "failed", attempt=4)
        assert attempts == [1, 2, 3, 4]


@pytest.mark.parametrize("status", ["queued", "running", "succeeded"])
async def test_retry_of_others(rig: JobRig, status: str) -> None:
    """`retry` of others is 409."""
    if status == "queued":
        job = await rig.submit("test.noop")
    else:
        rig.start_worker()
        job = await rig.submit("test.listen" if status == "running" else "test.noop")
        await rig.told(job, "progress" if status == "running" else "completed")
    assert await refused(rig.jobs.retry(rig.principal, job.id)) is ErrorCode.CONFLICT
