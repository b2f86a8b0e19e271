"""Jobs that run in somebody else's queue, from their submission to their end. On both databases."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.support.job_rig import JobRig, job_rig
from tidings.delivery.forms import ReportJob, fill
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.ids import new_id
from tidings.domain.job import Job, JobError, JobPriority, JobStatus
from tidings.domain.people import TenantStatus
from tidings.jobs.external import External
from tidings.jobs.queue import utc_now
from tidings.jobs.reaper import Reaper
from tidings.store import jobs as job_rows
from tidings.store import tenants, users


class Elsewhere:
    """Somebody else's queue: hands a job in and reports on it."""

    def __init__(self, rig: JobRig) -> None:
        self.rig = rig
        self.external = External(rig.database, rig.relay)

    async def submit(self, **payload: object) -> tuple[Job, str]:
        """A job, whose events are listened to, and its token."""
        rig = self.rig
        async with rig.database.write() as tx:
            job, token = await self.external.submit(
                tx, rig.principal, payload=payload, priority=JobPriority.STANDARD
            )
        await rig.broker.subscribe([job.channel])
        self.external.committed()
        return job, token

    async def report(self, job: Job, sequence: int, type_: str, **more: object) -> None:
        form = fill(ReportJob, {"sequence": sequence, "type": type_, **more})
        await self.external.report(job.id, form)

    async def refused(self, job: Job, sequence: int, type_: str, **more: object) -> bool:
        """Whether the report is answered 409."""
        try:
            await self.report(job, sequence, type_, **more)
        except TidingsError as error:
            return error.code is ErrorCode.CONFLICT
        return False

    async def told(self, job: Job) -> list[tuple[Any, ...]]:
        """What was told of the job: type, status, progress, stage, message."""
        await self.rig.relay.flushed()
        fields = ("type", "status", "progress", "stage", "message")
        return [tuple(event[name] for name in fields) for event in self.rig.events(job)]


@pytest.fixture
async def elsewhere(database_url: str) -> AsyncIterator[Elsewhere]:
    async with job_rig(database_url) as rig:
        made = Elsewhere(rig)
        await made.external.start()
        yield made


async def now_is(elsewhere: Elsewhere, job: Job) -> Job:
    return await elsewhere.rig.jobs.get(elsewhere.rig.principal, job.id)


async def test_the_whole_story(elsewhere: Elsewhere) -> None:
    """`queued` until its first report, then `running`, and in the end as it was reported."""
    job, _ = await elsewhere.submit(name="Nightly import", timeoutSeconds=60)
    assert (job.kind, job.status, job.attempt, job.max_attempts) == ("external", JobStatus.QUEUED, 0, 1)
    await elsewhere.report(job, 1, "progress", progress=0.25, stage="fetch", message="1 of 4")
    running = await now_is(elsewhere, job)
    assert (running.status, running.progress, running.stage) == (JobStatus.RUNNING, 0.25, "fetch")
    assert (running.attempt, running.started_at is not None) == (1, True)
    await elsewhere.report(job, 2, "heartbeat")
    await elsewhere.report(job, 3, "progress", progress=0.5)
    await elsewhere.report(job, 4, "completed", message="All in", result={"rows": 4})
    done = await now_is(elsewhere, job)
    assert (done.status, done.progress, done.result) == (JobStatus.SUCCEEDED, 1.0, {"rows": 4})
    assert done.finished_at is not None
    assert await elsewhere.told(job) == [
        ("queued", "queued", 0.0, None, None),
        ("started", "running", 0.0, None, None),
        ("progress", "running", 0.25, "fetch", "1 of 4"),
        ("progress", "running", 0.5, "fetch", None),
        ("completed", "succeeded", 1.0, "fetch", "All in"),
    ]


async def test_a_first_report_that_is_the_last(elsewhere: Elsewhere) -> None:
    """A job that is told of once is started and ended by that."""
    job, _ = await elsewhere.submit()
    await elsewhere.report(job, 0, "completed")
    types = [type_ for type_, *_ in await elsewhere.told(job)]
    assert types == ["queued", "started", "completed"]


@pytest.mark.parametrize(
    ("report", "error"),
    [
        ({"error": {"code": "OUT_OF_DISK", "message": "No room"}}, JobError("OUT_OF_DISK", "No room")),
        ({"message": "It broke"}, JobError("JOB_FAILED", "It broke")),
        ({}, JobError("JOB_FAILED", "The job failed")),
    ],
)
async def test_failed_is_terminal(elsewhere: Elsewhere, report: dict[str, Any], error: JobError) -> None:
    """ "An external job's ``failed`` is terminal": nobody tries it again by itself."""
    job, _ = await elsewhere.submit()
    await elsewhere.report(job, 1, "failed", **report)
    failed = await now_is(elsewhere, job)
    assert (failed.status, failed.error) == (JobStatus.FAILED, error)
    assert (await elsewhere.told(job))[-1][-1] == error.message


async def test_a_report_that_is_repeated(elsewhere: Elsewhere) -> None:
    """ "a repeated ``sequence`` answers the same and does nothing"; one that comes late is out of date."""
    job, _ = await elsewhere.submit()
    await elsewhere.report(job, 5, "progress", progress=0.5)
    before = await elsewhere.told(job)
    await elsewhere.report(job, 5, "progress", progress=0.5)
    await elsewhere.report(job, 5, "failed")
    await elsewhere.report(job, 4, "progress", progress=0.4)
    assert await elsewhere.told(job) == before
    assert (await now_is(elsewhere, job)).progress == 0.5


async def test_after_the_end(elsewhere: Elsewhere) -> None:
    """ "a repeated terminal ``sequence`` gets the same answer, anything new 409"."""
    job, _ = await elsewhere.submit()
    await elsewhere.report(job, 2, "completed", result=1)
    assert not await elsewhere.refused(job, 2, "completed", result=1)
    for type_ in ("progress", "heartbeat", "completed", "failed"):
        assert await elsewhere.refused(job, 3, type_)
    assert (await now_is(elsewhere, job)).result == 1
    assert len(await elsewhere.told(job)) == 3


async def test_cancelled(elsewhere: Elsewhere) -> None:
    """ "A cancelled external job refuses reports with 409": at once, running or not, repeated ones too."""
    waiting, _ = await elsewhere.submit()
    running, _ = await elsewhere.submit()
    await elsewhere.report(running, 1, "progress", progress=0.5)
    for job in (waiting, running):
        cancelled = await elsewhere.rig.jobs.cancel(elsewhere.rig.principal, job.id)
        assert cancelled.status is JobStatus.CANCELLED
        assert await elsewhere.refused(job, 1, "progress")
        assert await elsewhere.refused(job, 2, "completed")
        assert (await elsewhere.told(job))[-1][0] == "cancelled"


async def test_tried_again(elsewhere: Elsewhere) -> None:
    """``retry`` "keeps the id, goes on counting attempts": the token stays good, the sequence goes on."""
    job, token = await elsewhere.submit(timeoutSeconds=60)
    await elsewhere.report(job, 1, "failed")
    again = await elsewhere.rig.jobs.retry(elsewhere.rig.principal, job.id)
    assert (again.status, again.attempt, again.max_attempts) == (JobStatus.QUEUED, 1, 2)
    assert await elsewhere.external.knows(job.id, token)
    await elsewhere.report(job, 2, "completed")
    done = await now_is(elsewhere, job)
    assert (done.status, done.attempt, done.error) == (JobStatus.SUCCEEDED, 2, None)
    types = [type_ for type_, *_ in await elsewhere.told(job)]
    assert types == ["queued", "started", "failed", "queued", "started", "completed"]


@pytest.mark.parametrize("begun", [True, False])
async def test_silence(elsewhere: Elsewhere, *, begun: bool) -> None:
    """ "one silent for ``timeoutSeconds`` (3,600 if left out) fails with ``TIMEOUT``", whether or not it began."""
    rig = elsewhere.rig
    brief, _ = await elsewhere.submit(timeoutSeconds=60)
    usual, _ = await elsewhere.submit()
    if begun:
        await elsewhere.report(brief, 1, "heartbeat")
        await elsewhere.report(usual, 1, "heartbeat")

    async def sweep(seconds: float) -> int:
        clock = utc_now() + timedelta(seconds=seconds)
        return await Reaper(rig.database, rig.relay, rig.wake, clock=lambda: clock).sweep()

    assert await sweep(50) == 0
    assert await sweep(70) == 1
    assert (await rig.finished(brief)).error == JobError("TIMEOUT", "The job was silent for too long")
    assert await elsewhere.refused(brief, 9, "heartbeat")
    assert await sweep(3500) == 0
    assert await sweep(3700) == 1


async def test_each_report_is_a_sign_of_life(elsewhere: Elsewhere) -> None:
    """The time of silence is counted from the last report; of a job that is over it is counted no more."""
    rig = elsewhere.rig
    job, _ = await elsewhere.submit(timeoutSeconds=60)
    later = utc_now() + timedelta(seconds=50)
    late = External(rig.database, rig.relay, clock=lambda: later)
    await late.report(job.id, fill(ReportJob, {"sequence": 1, "type": "heartbeat"}))
    clock = later + timedelta(seconds=50)
    reaper = Reaper(rig.database, rig.relay, rig.wake, clock=lambda: clock)
    assert await reaper.sweep() == 0
    await elsewhere.report(job, 2, "completed")
    clock += timedelta(days=1)
    assert await reaper.sweep() == 0


async def test_no_worker_takes_it(elsewhere: Elsewhere) -> None:
    """An external job is never claimed, however idle the workers are."""
    rig = elsewhere.rig
    rig.start_worker()
    job, _ = await elsewhere.submit()
    await rig.finished(await rig.submit("test.noop"))
    assert (await now_is(elsewhere, job)).status is JobStatus.QUEUED


async def test_whose_token_it_is(elsewhere: Elsewhere) -> None:
    """The token is good for that job alone; what is kept of it is a hash."""
    job, token = await elsewhere.submit()
    other, its_token = await elsewhere.submit()
    knows = elsewhere.external.knows
    assert await knows(job.id, token)
    assert token != its_token
    for name, given in (
        (job.id, its_token),
        (other.id, token),
        (job.id, ""),
        (job.id, token[:-1]),
        (new_id(), token),
        ("x", token),
    ):
        assert not await knows(name, given)
    ours = await elsewhere.rig.submit("test.noop")
    assert not await knows(ours.id, token)
    async with elsewhere.rig.database.read() as tx:
        stored = await job_rows.get_any(tx, job.id)
    assert stored is not None
    assert stored.reporter_token_hash is not None
    assert token not in repr(stored)


async def test_nobody_reports_to_who_may_not_come_in(elsewhere: Elsewhere) -> None:
    """While the user is deactivated or the tenant suspended the token is none; afterwards it is good again."""
    job, token = await elsewhere.submit()
    knows, rig = elsewhere.external.knows, elsewhere.rig
    tenant_id, user_id = job.tenant_id, job.user_id
    async with rig.database.read() as tx:
        user = await users.get(tx, tenant_id, user_id)
    assert user is not None

    async def make(status: TenantStatus, *, active: bool) -> None:
        async with rig.database.write() as tx:
            await tenants.change(tx, tenant_id, name="Acme", status=status)
            assert await users.change(tx, tenant_id, replace(user, active=active))

    await make(TenantStatus.SUSPENDED, active=True)
    assert not await knows(job.id, token)
    await make(TenantStatus.ACTIVE, active=False)
    assert not await knows(job.id, token)
    await make(TenantStatus.ACTIVE, active=True)
    assert await knows(job.id, token)


async def test_many_reports_at_once(elsewhere: Elsewhere) -> None:
    """Reports that come together are taken one by one: there is one start and one end, and order."""
    job, _ = await elsewhere.submit()
    reports = [elsewhere.report(job, n, "progress", progress=n / 20) for n in range(20)]
    await asyncio.gather(*reports, elsewhere.report(job, 20, "completed"), return_exceptions=True)
    told = await elsewhere.told(job)
    types = [type_ for type_, *_ in told]
    assert (types.count("started"), types.count("completed"), types[-1]) == (1, 1, "completed")
    steps = [progress for type_, _, progress, *_ in told if type_ == "progress"]
    assert steps == sorted(steps)


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"timeoutSeconds": 0}, "payload.timeoutSeconds"),
        ({"timeoutSeconds": 86_401}, "payload.timeoutSeconds"),
        ({"timeoutSeconds": "60"}, "payload.timeoutSeconds"),
        ({"name": 1}, "payload.name"),
        ({"queue": "celery"}, "payload.queue"),
    ],
)
async def test_payloads(elsewhere: Elsewhere, payload: dict[str, Any], field: str) -> None:
    """Payload ``{name?, timeoutSeconds <= 86400}`` and nothing else."""
    with pytest.raises(TidingsError) as caught:
        await elsewhere.submit(**payload)
    assert [fault.field for fault in caught.value.fields] == [field]


async def test_not_without_its_token(elsewhere: Elsewhere) -> None:
    """Through the way of all other kinds there is no external job: nobody could ever report on it."""
    with pytest.raises(TidingsError) as caught:
        await elsewhere.rig.submit("external")
    assert caught.value.code is ErrorCode.UNKNOWN_KIND
