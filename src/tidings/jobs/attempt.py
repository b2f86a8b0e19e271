"""One attempt at a job in this worker, from its beginning to the verdict: when it must end, and what that means.

It writes nothing: what is stored of it is the business of the worker that runs it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from tidings.artifacts.base import Source
from tidings.domain.errors import TidingsError
from tidings.domain.job import Job
from tidings.jobs.context import Stop
from tidings.jobs.execution import Execution
from tidings.jobs.kinds import Kind
from tidings.jobs.outcome import (
    TIMED_OUT,
    WORKER_LOST,
    Cancelled,
    Done,
    Failed,
    HandedBack,
    Lost,
    Outcome,
    Stopped,
    Verdict,
    Waits,
    fallen,
)
from tidings.jobs.throttle import Throttle

GIVE_UP_SECONDS = 5.0
"""How long code that was killed may go on before its job is settled without it. Only async code can."""

Store = Callable[[Job, str, Source, str], Awaitable[None]]
"""Stores a job's artifact: its name, bytes and media type. Raises as ``Desk.attach``."""

_AT_ONCE = frozenset({Stop.HANDED_BACK, Stop.LOST})


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: ``timeout`` for an attempt whose kind sets none, ``grace`` for code that is asked to end."""

    timeout: float
    grace: float


class Attempt:
    """``job`` and ``message`` are kept as they stand: with what was last reported.

    ``begin`` starts the job's code, whose ``Desk`` this is; ``on_progress`` is called after a report, as
    often as the throttle lets it, and in any case after the last.
    """

    def __init__(
        self,
        job: Job,
        kind: Kind,
        patience: Patience,
        begin: Callable[["Attempt"], Awaitable[Execution]],
        on_progress: Callable[["Attempt"], None],
        store: Store,
    ) -> None:
        self.job = job
        self.kind = kind
        self.message: str | None = None
        self.reported = self.over = False
        self._patience = patience
        self._begin = begin
        self._throttle = Throttle(lambda: on_progress(self))
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._why: Stop | None = None
        self._execution: Execution | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._given_up: asyncio.Future[Outcome] = self._loop.create_future()

    async def run(self) -> Verdict | None:
        """Run it to its end; None: the job is not ours any more, and nothing is to be written of it."""
        try:
            outcome = await self._outcome()
        except TidingsError:
            outcome = Failed("VALIDATION_FAILED", "The payload does not fit the kind", retry=False)
        except BaseException as fault:  # whatever went wrong, the job has to have an end
            if _ends_us(fault):
                self._throttle.drop()
                raise
            outcome = fallen(fault)
        finally:
            self.over = True
            if self._timer is not None:
                self._timer.cancel()
        self._throttle.flush()
        return self._verdict(outcome)

    @property
    def lingers(self) -> bool:
        """Whether the code itself goes on after ``run`` has given up on it."""
        return self._execution is not None and not self._execution.outcome.done()

    async def gone(self) -> None:
        """Return when it lingers no more."""
        if self._execution is not None:
            await asyncio.wait([self._execution.outcome])

    def ask(self, why: Stop) -> None:
        """End it: when it next reports, or after the grace; at once if it is to go on elsewhere."""
        if self.over or (self._why is not None and why not in _AT_ONCE):
            return  # too late, or it was asked before and its grace runs
        if self._why is None or why is Stop.LOST:
            self._why = why
        if why is Stop.LOST:
            self._throttle.drop()
        self._press(0 if why in _AT_ONCE else self._patience.grace)

    def report(self, fraction: float, message: str | None, stage: str | None) -> None:
        """Take up what the code reports, unless it is to say no more."""
        if self.over or self._why is not None:
            return
        self.job = replace(self.job, progress=fraction, stage=self.job.stage if stage is None else stage)
        self.message = message
        self.reported = True
        self._throttle.report()

    async def attach(self, name: str, source: Source, media_type: str) -> None:
        """Store what the code has made, unless it is to make no more."""
        if self._why is not None:
            raise self._why.exception()
        await self._store(self.job, name, source, media_type)

    async def _outcome(self) -> Outcome:
        self._execution = execution = await self._begin(self)
        if self._why is None:
            timeout = self._patience.timeout if self.kind.timeout is None else self.kind.timeout
            self._timer = self._loop.call_later(timeout, self.ask, Stop.TIMED_OUT)
        else:
            self._press(0)
        await asyncio.wait({execution.outcome, self._given_up}, return_when=asyncio.FIRST_COMPLETED)
        return execution.outcome.result() if execution.outcome.done() else self._given_up.result()

    def _press(self, grace: float) -> None:
        """Tell the code, and set the time after which it is told no more."""
        if self._execution is None or self._why is None:
            return
        self._execution.ask(self._why)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(grace, self._kill, self._execution)

    def _kill(self, execution: Execution) -> None:
        execution.kill()
        self._timer = self._loop.call_later(GIVE_UP_SECONDS, self._given_up.set_result, Stopped())

    def _verdict(self, outcome: Outcome) -> Verdict | None:
        """What was asked to end has ended as asked, whatever it made of that."""
        if self._why is Stop.CANCELLED:
            return Cancelled()
        if self._why is Stop.TIMED_OUT:
            return TIMED_OUT
        if self._why is Stop.LOST:
            return None
        if isinstance(outcome, Done | Waits):
            return outcome
        if self._why is Stop.HANDED_BACK:
            return HandedBack()
        if isinstance(outcome, Lost):
            return replace(WORKER_LOST, detail=outcome.detail)
        if isinstance(outcome, Stopped):
            return Failed(detail="the job's code stopped without having been asked to")
        return outcome


def _ends_us(fault: BaseException) -> bool:
    """Whether it is the worker's own task that is to end, rather than what it runs."""
    task = asyncio.current_task()
    cancelled = isinstance(fault, asyncio.CancelledError) and task is not None and task.cancelling() > 0
    return cancelled or isinstance(fault, GeneratorExit)
