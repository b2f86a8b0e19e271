"""One attempt while it runs, as its worker sees it, and the form it takes for async kinds: a task.

Whether a job should stop, and what is written about it, is the worker's to decide.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel

from tidings.artifacts.base import Source
from tidings.domain.job import Job
from tidings.jobs import containment
from tidings.jobs.children import NOTHING, Memory
from tidings.jobs.context import JobContext, Stop
from tidings.jobs.kinds import Kind
from tidings.jobs.outcome import Failed, Outcome, Stopped, done, fallen


class Desk(Protocol):
    """Where running code's reports arrive, on the event loop."""

    def report(self, fraction: float, message: str | None, stage: str | None) -> None:
        """It is so far."""

    async def attach(self, name: str, source: Source, media_type: str) -> None:
        """It has made a file, to be stored.

        Raises:
            JobFailed: that cannot be.
            JobStopped: the job is no longer ours.
        """


class Execution(Protocol):
    @property
    def outcome(self) -> asyncio.Future[Outcome]:
        """How it ended, once it has. Never raises, is never cancelled."""

    def ask(self, why: Stop) -> None:
        """Let it know that it should end: it hears of it when it next reports."""

    def kill(self) -> None:
        """End it now. It has been asked."""


@dataclass(slots=True)
class _Link:
    """``Link`` on the event loop itself."""

    desk: Desk
    why: Stop | None = None

    def report(self, fraction: float, message: str | None, stage: str | None) -> None:
        self.desk.report(fraction, message, stage)

    def attach(self, name: str, source: Source, media_type: str) -> Awaitable[None]:
        return self.desk.attach(name, source, media_type)

    def stop(self) -> Stop | None:
        return self.why


class TaskExecution:
    """An async kind. It can be killed only where it awaits, as everything on an event loop."""

    def __init__(
        self, kind: Kind, job: Job, payload: BaseModel, desk: Desk, memory: Memory = NOTHING
    ) -> None:
        self._link = _Link(desk)
        self._begun = self._killed = False
        context = JobContext(job.id, job.kind, job.attempt, self._link, memory)
        self.outcome: asyncio.Task[Outcome] = asyncio.create_task(
            self._run(kind, context, payload), name=f"job {job.id}"
        )

    def ask(self, why: Stop) -> None:
        self._link.why = why

    def kill(self) -> None:
        self._killed = True
        if self._begun:  # a task cancelled before its first step would have no outcome
            self.outcome.cancel()

    async def _run(self, kind: Kind, context: JobContext, payload: BaseModel) -> Outcome:
        self._begun = True
        containment.enter()
        if self._killed:
            return Stopped()
        try:
            return done(await kind.function(context, payload))
        except asyncio.CancelledError:
            return Stopped() if self._killed else Failed(detail="the job's code was cancelled from within")
        except BaseException as fault:  # noqa: BLE001 - whatever ends a job's code ends the job alone
            return fallen(fault)
