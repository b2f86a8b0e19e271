"""Async kinds as tasks: how they end, and that nothing they do ends more than themselves."""

import asyncio
from typing import Any

import pytest

from tests.support.desks import FakeDesk
from tests.support.job_kinds import KINDS, Nothing
from tests.support.job_records import a_job
from tests.support.odd_kinds import ENDS
from tidings.jobs.containment import contain
from tidings.jobs.context import JobContext, Stop
from tidings.jobs.execution import TaskExecution
from tidings.jobs.kinds import Kind
from tidings.jobs.outcome import Done, Failed, Outcome, Stopped


def begin(name: str, payload: dict[str, Any] | None = None, desk: FakeDesk | None = None) -> TaskExecution:
    kind = KINDS.get(name)
    assert kind is not None
    job = a_job(name, payload)
    return TaskExecution(kind, job, kind.parse(job.payload), desk or FakeDesk())


async def test_it_ends_with_its_result() -> None:
    """What the function returns is the outcome; what it reports is heard."""
    desk = FakeDesk()
    assert await begin("test.count", {"count": 2}, desk).outcome == Done(None)
    assert desk.fractions == [0.5, 1.0]


async def test_asked_it_hears_of_it_at_its_next_report() -> None:
    """Cancel reaches running code at `ctx.progress()`."""
    execution = begin("test.listen")
    await asyncio.sleep(0)
    execution.ask(Stop.CANCELLED)
    assert await execution.outcome == Stopped()


@pytest.mark.parametrize("turns", range(3))
async def test_killed_it_ends_where_it_waits(turns: int) -> None:
    """One that does not report is cancelled as a task, from before its first step on, and still has an outcome."""
    execution = begin("test.sleep")
    for _ in range(turns):
        await asyncio.sleep(0)
    execution.ask(Stop.CANCELLED)
    execution.kill()
    assert await execution.outcome == Stopped()


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("name", ["odd.raise", "odd.raise-below"])
async def test_whatever_is_raised_ends_the_job_alone(name: str, how: str) -> None:
    """A job that calls `sys.exit`, itself or in a task of its own, does not take the server with it."""
    contain(asyncio.get_running_loop())
    outcome = await begin(name, {"how": how}).outcome
    assert isinstance(outcome, Failed)
    assert outcome.code == ("REFUSED" if how == "refusal" else "JOB_FAILED")


async def test_cancelled_from_within() -> None:
    """A job whose own code cancels it has failed: nobody asked for it."""

    async def cancel_oneself(ctx: JobContext, payload: Nothing) -> None:
        raise asyncio.CancelledError

    kind = Kind("test.self", cancel_oneself, Nothing)
    outcome: Outcome = await TaskExecution(kind, a_job("test.self"), Nothing(), FakeDesk()).outcome
    assert isinstance(outcome, Failed)
    assert "from within" in (outcome.detail or "")
