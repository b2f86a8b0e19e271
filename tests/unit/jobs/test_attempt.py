"""One attempt: when it must end, and what that makes of the job."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.job_kinds import KINDS
from tests.support.job_records import a_job
from tidings.artifacts.base import Source
from tidings.domain.job import Job
from tidings.jobs import attempt as module
from tidings.jobs.attempt import Attempt, Patience
from tidings.jobs.context import Stop
from tidings.jobs.execution import Execution, TaskExecution
from tidings.jobs.outcome import (
    TIMED_OUT,
    Cancelled,
    Done,
    Failed,
    HandedBack,
    Lost,
    Outcome,
    Stopped,
    Verdict,
)

NEVER = 1000.0
AT_ONCE = Patience(timeout=NEVER, grace=0)


class Puppet:
    """An execution that ends when and how the test says."""

    def __init__(self, ends_when_killed: Outcome | None = None) -> None:
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.asked: list[Stop] = []
        self.kills = 0
        self._ends_when_killed = ends_when_killed

    def ask(self, why: Stop) -> None:
        self.asked.append(why)

    def kill(self) -> None:
        self.kills += 1
        if self._ends_when_killed is not None and not self.outcome.done():
            self.outcome.set_result(self._ends_when_killed)


class Kept:
    """Keeps one attempt, and what becomes of it."""

    def __init__(
        self,
        name: str,
        execute: Callable[[Attempt], Execution],
        patience: Patience = AT_ONCE,
        payload: dict[str, Any] | None = None,
    ) -> None:
        kind = KINDS.get(name)
        assert kind is not None
        self.execute = execute
        self.verdict: asyncio.Future[Verdict | None] = asyncio.get_running_loop().create_future()
        self.left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.attempt = Attempt(a_job(name, payload), kind, patience, self)

    async def run(self) -> Verdict | None:
        self.attempt.begin()
        return await self.verdict

    async def store(self, job: Job, name: str, source: Source, media_type: str) -> None:
        """Take everything."""

    def progressed(self, attempt: Attempt) -> None:
        """Let it report."""

    def over(self, attempt: Attempt, verdict: Verdict | None) -> None:
        assert attempt is self.attempt
        self.verdict.set_result(verdict)

    def gone(self, attempt: Attempt) -> None:
        assert self.verdict.done()
        self.left.set_result(None)


def as_task(name: str, payload: dict[str, Any] | None = None, patience: Patience = AT_ONCE) -> Kept:
    def execute(attempt: Attempt) -> Execution:
        return TaskExecution(attempt.kind, attempt.job, attempt.kind.parse(attempt.job.payload), attempt)

    return Kept(name, execute, patience, payload)


def with_puppet(puppet: Puppet, patience: Patience = AT_ONCE) -> Kept:
    """It has begun."""
    kept = Kept("test.noop", lambda _: puppet, patience)
    kept.attempt.begin()
    return kept


def failing(fault: BaseException) -> Kept:
    def execute(_: Attempt) -> Execution:
        raise fault

    return Kept("test.noop", execute)


async def test_it_keeps_what_was_reported() -> None:
    """The job is as it was last reported: its progress, its stage, which stays, and the message."""
    kept = as_task("test.count", {"count": 4})
    assert await kept.run() == Done(None)
    attempt = kept.attempt
    assert (attempt.job.progress, attempt.job.stage, attempt.message) == (1.0, "counting", "step 4")
    assert not attempt.lingers


async def test_nothing_is_reported_after_the_end() -> None:
    """Code that left something running behind is not heard any more."""
    kept = as_task("test.noop")
    await kept.run()
    attempt = kept.attempt
    attempt.report(0.5, "late", None)
    assert attempt.job.progress == 0.0


async def test_a_payload_that_no_longer_fits() -> None:
    """A job whose kind changed under it fails for good, without having run."""
    verdict = await as_task("test.count", {"count": "many"}).run()
    assert isinstance(verdict, Failed)
    assert (verdict.code, verdict.retry) == ("VALIDATION_FAILED", False)


async def test_a_fault_of_ours_still_ends_the_job() -> None:
    """Every accepted job gets an end, whatever goes wrong around it."""
    kept = failing(OSError("no process left"))
    verdict = await kept.run()
    assert kept.left.done()
    assert isinstance(verdict, Failed)
    assert "no process left" in (verdict.detail or "")


@pytest.mark.parametrize(
    "fault",
    [
        BaseException("x"),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
        BaseExceptionGroup("x", [SystemExit()]),
    ],
)
async def test_a_model_that_fails_oddly(fault: BaseException) -> None:
    """The payload is checked by code of the user's, too: whatever that raises ends the attempt."""
    assert isinstance(await failing(fault).run(), Failed)


@pytest.mark.parametrize("outcome", [Done("result"), Stopped(), Failed("CODE", "message"), Lost("killed")])
async def test_cancelled_is_cancelled(outcome: Outcome) -> None:
    """Whatever code makes of its cancellation, once cancelled the job has been cancelled."""
    puppet = Puppet(outcome)
    kept = with_puppet(puppet)
    kept.attempt.ask(Stop.CANCELLED)
    assert await kept.verdict == Cancelled()
    assert puppet.asked == [Stop.CANCELLED]


async def test_there_is_a_grace() -> None:
    """Code that is asked is not killed before the grace has passed; what it reports is not told any more."""
    puppet = Puppet()
    kept = with_puppet(puppet, Patience(NEVER, NEVER))
    kept.attempt.ask(Stop.CANCELLED)
    kept.attempt.report(0.5, None, None)
    await asyncio.sleep(0)
    puppet.outcome.set_result(Stopped())
    assert await kept.verdict == Cancelled()
    assert (puppet.kills, kept.attempt.job.progress) == (0, 0.0)


async def test_asking_twice_does_not_prolong_it() -> None:
    """Who is impatient changes nothing: the first grace runs."""
    puppet = Puppet(Stopped())
    kept = with_puppet(puppet, Patience(NEVER, 0.01))
    kept.attempt.ask(Stop.CANCELLED)
    kept.attempt.ask(Stop.CANCELLED)
    assert await kept.verdict == Cancelled()
    assert puppet.asked == [Stop.CANCELLED]


async def test_out_of_time() -> None:
    """A per-job timeout: code that runs too long is asked, then killed, and the attempt has failed."""
    puppet = Puppet(Done("too late"))
    assert await with_puppet(puppet, Patience(timeout=0, grace=0)).verdict == TIMED_OUT
    assert (puppet.asked, puppet.kills) == ([Stop.TIMED_OUT], 1)


async def test_the_kinds_own_timeout() -> None:
    """A kind's timeout goes before the worker's."""
    assert await as_task("test.limited", patience=Patience(NEVER, NEVER)).run() == TIMED_OUT


async def test_handed_back() -> None:
    """A drain ends code at once, and the job begins anew elsewhere; even one that was just being begun."""
    puppet = Puppet(Lost("killed"))
    kept = Kept("test.noop", lambda _: puppet, Patience(NEVER, NEVER))
    kept.attempt.ask(Stop.HANDED_BACK)
    assert await kept.run() == HandedBack()


async def test_done_in_the_last_moment() -> None:
    """What came to its end while it was being handed back need not run again."""
    puppet = Puppet(Done("result"))
    kept = with_puppet(puppet)
    kept.attempt.ask(Stop.HANDED_BACK)
    assert await kept.verdict == Done("result")


async def test_cancelled_and_handed_back() -> None:
    """A drain cuts the grace of what is being cancelled short; it is cancelled all the same."""
    puppet = Puppet(Stopped())
    kept = with_puppet(puppet, Patience(NEVER, NEVER))
    kept.attempt.ask(Stop.CANCELLED)
    kept.attempt.ask(Stop.HANDED_BACK)
    assert await kept.verdict == Cancelled()


async def test_lost_there_is_no_verdict() -> None:
    """Of a job that another worker has, nothing is said, whatever it was to become here."""
    puppet = Puppet(Done("result"))
    kept = with_puppet(puppet)
    kept.attempt.ask(Stop.CANCELLED)
    kept.attempt.ask(Stop.LOST)
    assert await kept.verdict is None


async def test_a_lost_process() -> None:
    """A child that dies fails the attempt as WORKER_LOST; how it died is for the log."""
    puppet = Puppet()
    kept = with_puppet(puppet)
    puppet.outcome.set_result(Lost("exit code -9"))
    verdict = await kept.verdict
    assert isinstance(verdict, Failed)
    assert (verdict.code, verdict.retry, verdict.detail) == ("WORKER_LOST", True, "exit code -9")
    assert "-9" not in verdict.message


async def test_stopped_without_being_asked() -> None:
    """Code that raises `JobCancelled` of its own accord has failed: its user cancelled nothing."""
    puppet = Puppet()
    kept = with_puppet(puppet)
    puppet.outcome.set_result(Stopped())
    assert isinstance(await kept.verdict, Failed)


async def test_code_that_cannot_be_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Async code that takes no cancellation keeps its slot, but not its job."""
    monkeypatch.setattr(module, "GIVE_UP_SECONDS", 0.0)
    puppet = Puppet()
    kept = with_puppet(puppet)
    kept.attempt.ask(Stop.CANCELLED)
    assert await kept.verdict == Cancelled()
    assert kept.attempt.lingers
    assert not kept.left.done()
    puppet.outcome.set_result(Done(None))
    await kept.left
    assert not kept.attempt.lingers
