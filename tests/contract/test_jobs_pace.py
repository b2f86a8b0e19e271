"""Rates, on both databases: "per-kind attempts, timeout, concurrency and rate", counted over all workers."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.support.job_kinds import Nothing
from tests.support.job_rig import JobRig, job_rig
from tidings.domain.job import JobStatus
from tidings.jobs import queue
from tidings.jobs.context import JobContext
from tidings.jobs.executor import Limits
from tidings.jobs.kinds import Registry
from tidings.jobs.pace import Pace
from tidings.jobs.queue import utc_now

RATED = Registry()


@RATED.job("test.rated", rate=(3, 60.0))
async def rated(ctx: JobContext, payload: Nothing) -> None:
    """Does nothing, three times a minute."""


@RATED.job("test.brisk", rate=(2, 0.25))
async def brisk(ctx: JobContext, payload: Nothing) -> None:
    """Does nothing, eight times a second."""


@RATED.job("test.noop")
async def noop(ctx: JobContext, payload: Nothing) -> None:
    """Does nothing, as often as one likes."""


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[JobRig]:
    async with job_rig(database_url, RATED) as rig:
        yield rig


async def claim(rig: JobRig, pace: Pace, worker: str, seconds: float, room: int = 9) -> int:
    """How many of the rated kind a worker gets so many seconds from now."""
    now = utc_now() + timedelta(seconds=seconds)
    async with rig.database.write() as tx:
        allowed = await pace.room(tx, {"test.rated": room}, now)
        claimed = await queue.claim(tx, worker, allowed, room, now, 600)
        await pace.note(tx, claimed, now)
    return len(claimed)


async def test_all_workers_together(rig: JobRig) -> None:
    """What one worker has started counts for every other."""
    for _ in range(9):
        await rig.submit("test.rated")
    one, other = Pace(RATED), Pace(RATED)
    assert await claim(rig, one, "w1", 1, room=2) == 2
    assert one.wait is None
    assert await claim(rig, other, "w2", 2) == 1
    assert await claim(rig, one, "w1", 3) == 0


async def test_any_stretch_of_time(rig: JobRig) -> None:
    """The rate holds for every minute, wherever it begins; what is used up says when it frees a start."""
    for _ in range(9):
        await rig.submit("test.rated")
    pace = Pace(RATED)
    taken = [await claim(rig, pace, "w1", at, room=2) for at in (0, 50, 55)]
    assert taken == [2, 1, 0]
    assert pace.wait == pytest.approx(5, abs=0.5)
    assert [await claim(rig, pace, "w1", at) for at in (59, 61, 100, 112)] == [0, 2, 0, 1]


async def test_workers_that_claim_at_once(rig: JobRig) -> None:
    """No race gives more than the rate."""
    for _ in range(9):
        await rig.submit("test.rated")
    taken = await asyncio.gather(*(claim(rig, Pace(RATED), f"w{number}", 1) for number in range(5)))
    assert sum(taken) == 3


async def test_other_kinds_go_on(rig: JobRig) -> None:
    """A kind whose rate is used up keeps no other waiting."""
    waiting = [await rig.submit("test.rated") for _ in range(4)]
    others = [await rig.submit("test.noop") for _ in range(4)]
    rig.start_worker(Limits(concurrency=1))
    for job in (*waiting[:3], *others):
        assert (await rig.finished(job)).status is JobStatus.SUCCEEDED
    assert rig.types(waiting[3]) == ["queued"]


async def test_it_goes_on_by_itself(rig: JobRig) -> None:
    """Jobs that had to wait for their kind's rate are run as soon as it lets them, and not before."""
    jobs = [await rig.submit("test.brisk") for _ in range(5)]
    rig.start_worker()
    done = [await rig.finished(job) for job in jobs]
    begun = sorted(job.started_at for job in done if job.started_at is not None)
    assert len(begun) == 5
    assert all(later - one >= timedelta(seconds=0.25) for one, later in zip(begun, begun[2:], strict=False))
