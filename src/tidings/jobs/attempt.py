"""One attempt at a job in this worker, from its beginning to the verdict: when it must end, and what that means.

It writes nothing: what is stored of it is the business of the worker that runs it.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Protocol

from tidings.artifacts.base import Source
from tidings.domain.errors import TidingsError
from tidings.domain.job import Job
from tidings.jobs.children import NOTHING, Memory
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

_AT_ONCE = frozenset({Stop.HANDED_BACK, Stop.LOST})


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: ``timeout`` for an attempt whose kind sets none, ``grace`` for code that is asked to end."""

    timeout: float
    grace: float


class Keeper(Protocol):
    """Whoever has attempts run."""

    def execute(self, attempt: "Attempt") -> Execution:
        """Start the job's code, whose ``Desk`` the attempt is.

        Raises:
            TidingsError: the payload does not fit the kind any more.
        """

    async def store(self, job: Job, name: str, source: Source, media_type: str) -> None:
        """Store a job's artifact. Raises as ``Desk.attach``."""

    def progressed(self, attempt: "Attempt") -> None:
        """It has reported: called as often as the throttle lets it, and in any case after the last report."""

    def over(self, attempt: "Attempt", verdict: Verdict | None) -> None:
        """It has ended, once; None: the job is not ours any more, and nothing is to be written of it."""

    def gone(self, attempt: "Attempt") -> None:
        """Nothing of its code runs any more, once: after ``over``, mostly at the same moment."""


class Attempt:
    """``job`` and ``message`` are kept as they stand: with what was last reported. ``memory`` is the job's own."""

    def __init__(
        self, job: Job, kind: Kind, patience: Patience, keeper: Keeper, memory: Memory = NOTHING
    ) -> None:
        self.job = job
        self.kind = kind
        self.memory = memory
        self.message: str | None = None
        self.reported = self.over = False
        self._patience = patience
        self._keeper = keeper
        self._throttle = Throttle(lambda: keeper.progressed(self))
        self._loop = asyncio.get_running_loop()
        self._begun = self._loop.time()
        self._why: Stop | None = None
        self._execution: Execution | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Begin it. Whatever goes wrong, the job has to have an end."""
        try:
            self._execution = self._keeper.execute(self)
        except TidingsError:
            self._fail(Failed("VALIDATION_FAILED", "The payload does not fit the kind", retry=False))
        except BaseException as fault:  # noqa: BLE001  a payload is checked by the user's code, too
            self._fail(fallen(fault))
        else:
            self._execution.outcome.add_done_callback(self._ended)
            if self._why is None:
                timeout = self._patience.timeout if self.kind.timeout is None else self.kind.timeout
                self._timer = self._loop.call_later(timeout, self.ask, Stop.TIMED_OUT)
            else:
                self._press(0)

    @property
    def seconds(self) -> float:
        """How long it has been since it was begun."""
        return self._loop.time() - self._begun

    @property
    def code(self) -> asyncio.Future[Outcome] | None:
        """What its code comes to; None if none ever ran."""
        return None if self._execution is None else self._execution.outcome

    @property
    def lingers(self) -> bool:
        """Whether the code itself goes on after it was given up."""
        return self._execution is not None and not self._execution.outcome.done()

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
        await self._keeper.store(self.job, name, source, media_type)

    def _fail(self, outcome: Outcome) -> None:
        self._end(outcome)
        self._keeper.gone(self)

    def _ended(self, code: asyncio.Future[Outcome]) -> None:
        if not self.over:
            self._end(code.result())
        self._keeper.gone(self)

    def _end(self, outcome: Outcome) -> None:
        self.over = True
        if self._timer is not None:
            self._timer.cancel()
        self._throttle.flush()
        self._keeper.over(self, self._verdict(outcome))

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
        self._timer = self._loop.call_later(GIVE_UP_SECONDS, self._end, Stopped())

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
