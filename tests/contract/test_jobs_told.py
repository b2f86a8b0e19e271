"""A worker that is told of a job claims that one; what it is not told of it finds all the same, in turn."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable

import pytest
from structlog.testing import capture_logs

from tests.support.job_kinds import Nothing
from tests.support.job_rig import JobRig, job_rig
from tidings.domain.channel import Channel
from tidings.domain.ids import new_id
from tidings.domain.job import Job, JobPriority
from tidings.jobs import worker as worker_module
from tidings.jobs.context import JobContext
from tidings.jobs.executor import Limits
from tidings.jobs.kinds import Registry
from tidings.jobs.worker import Worker

RATE_SECONDS = 0.05


class Gates(Registry):
    """``quick`` does nothing; ``gated`` and ``single`` wait at a gate, ``single`` one at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()

        async def wait(ctx: JobContext, payload: Nothing) -> None:
            await self.open.wait()

        self.job("single", concurrency=1)(wait)
        self.job("gated")(wait)
        self.job("quick")(pass_by)


async def pass_by(ctx: JobContext, payload: Nothing) -> None:
    """Nothing keeps it."""


@pytest.fixture
def gates() -> Gates:
    return Gates()


@pytest.fixture
async def rig(database_url: str, gates: Gates) -> AsyncIterator[JobRig]:
    async with job_rig(database_url, gates) as rig:
        yield rig


@pytest.fixture
def no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "POLL_SECONDS", 600.0)


async def until(condition: Callable[[], bool]) -> None:
    """What a worker is at is told to nobody."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def at_rest(rig: JobRig, concurrency: int) -> Worker:
    """A worker that has found nothing to do."""
    worker = rig.start_worker(Limits(concurrency=concurrency))
    await rig.finished(await rig.submit("quick"))
    await until(lambda: not worker._anything and not worker._executor.attempts)
    return worker


async def unannounced(rig: JobRig, kind: str, priority: JobPriority = JobPriority.STANDARD) -> Job:
    async with rig.database.write() as tx:
        job = await rig.jobs.submit(tx, rig.principal, kind=kind, payload={}, priority=priority)
    await rig.broker.subscribe([job.channel])
    return job


def starts(rig: JobRig) -> list[Channel]:
    """Of the jobs that have begun, in that order, but for the one that ``at_rest`` needed."""
    return [each.channel for each in rig.heard if b'"started"' in each.event.data][1:]


@pytest.mark.usefixtures("no_poll")
async def test_the_rest_is_found_when_a_job_ends(rig: JobRig) -> None:
    """The one it was told of begins at once; what it was not told of, when that ends."""
    await at_rest(rig, 2)
    untold = await unannounced(rig, "quick")
    told = await rig.submit("quick")
    await rig.finished(untold)
    assert starts(rig) == [told.channel, untold.channel]


async def test_the_rest_is_found_by_the_poll(rig: JobRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found in time, however often a worker is told of jobs that are not for it."""
    monkeypatch.setattr(worker_module, "POLL_SECONDS", 0.2)
    worker = await at_rest(rig, 2)
    untold = await unannounced(rig, "quick")

    def nagged() -> bool:
        worker.wake(new_id())
        return untold.channel in starts(rig)

    await until(nagged)


@pytest.mark.usefixtures("no_poll")
@pytest.mark.parametrize(("kind", "concurrency"), [("quick", 1), ("single", 4)])
async def test_more_than_there_is_room_for(rig: JobRig, gates: Gates, kind: str, concurrency: int) -> None:
    """Told of more than it may run, a worker takes those whose turn it is."""
    gates.open.set()
    worker = await at_rest(rig, concurrency)
    standard = [await unannounced(rig, kind) for _ in range(2)]
    pro = await unannounced(rig, kind, JobPriority.PRO)
    for job in (*standard, pro):
        worker.wake(job.id)
    await rig.finished(standard[-1])
    assert starts(rig) == [job.channel for job in (pro, *standard)]


@pytest.mark.usefixtures("no_poll")
@pytest.mark.parametrize("only", [False, True], ids=["one of several", "the only kind"])
async def test_a_kind_with_no_room(rig: JobRig, gates: Gates, *, only: bool) -> None:
    """A job of a kind that may not run now waits for one of it to end, and disturbs nobody meanwhile."""
    worker = await at_rest(rig, 4)
    for name in ("gated", "quick") if only else ():
        gates._kinds.pop(name)
    with capture_logs() as lines:
        first = await rig.submit("single")
        await rig.told(first, "started")
        second = await rig.submit("single")
        await until(lambda: not worker._told)
        gates.open.set()
        await rig.finished(second)
    assert starts(rig) == [first.channel, second.channel]
    assert [line for line in lines if line["log_level"] != "debug"] == []


@pytest.mark.usefixtures("no_poll")
async def test_no_room_at_all(rig: JobRig, gates: Gates) -> None:
    """A worker whose slots are taken does not wait for a kind's rate, of which it could begin nothing."""
    gates.job("rated", rate=(1, RATE_SECONDS))(pass_by)
    worker = await at_rest(rig, 1)
    await rig.finished(await rig.submit("rated"))
    busy = await rig.submit("gated")
    await rig.told(busy, "started")
    rated = await rig.submit("rated")
    await until(lambda: not worker._told and worker._paced_until == math.inf)
    gates.open.set()
    await rig.finished(rated)
