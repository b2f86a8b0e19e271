"""All that runs in one worker: attempts on the event loop and in the process pool, from their start to their verdict.

It begins what the worker has claimed, lets reports through, and collects what has ended. What is written of any
of it, and when, is the worker's; how a single attempt ends is ``attempt``'s.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

import structlog
from prometheus_client import Histogram

from tidings import metrics
from tidings.artifacts.base import Source
from tidings.delivery import progress
from tidings.delivery.relay import Relay
from tidings.domain.job import Job, JobEventType, event_of
from tidings.jobs import family, queue
from tidings.jobs.attempt import Attempt, Patience
from tidings.jobs.context import Stop
from tidings.jobs.execution import Execution, TaskExecution
from tidings.jobs.kinds import Registry
from tidings.jobs.outcome import Verdict
from tidings.jobs.pipe import Run
from tidings.jobs.pool import Pool
from tidings.jobs.queue import Ended
from tidings.store.job_rows import StoredJob

PROCESSES = 4
"""How many are started beforehand, or one a processor; more come as they are needed, and stay."""
CLEAR_UP_SECONDS = 1.0
"""How long async code that ends with its worker may take for it."""

Store = Callable[[Job, str, Source, str], Awaitable[None]]
"""Stores a job's artifact: its name, bytes and media type. Raises as ``Desk.attach``."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``concurrency`` jobs at once. In seconds: how long a job is held without renewal, how long an attempt
    may run whose kind does not say, and how long one that is asked to end may take.
    """

    concurrency: int = 4
    lease: float = 10.0
    timeout: float = 3600.0
    grace: float = 5.0


class _Gauges(NamedTuple):
    """What is measured of a kind's jobs. Finding it by its label takes longer than measuring."""

    wait: Histogram
    run: Histogram


class Executor:
    """``attempts`` are all that are held, by job: begun, or ended and not settled; ``ended`` those to settle;
    ``news`` those whose progress is not stored yet.

    ``wake`` is called when there is something to settle or room for more. What is reported is told only while
    ``certain`` says that the jobs are still this worker's.
    """

    def __init__(
        self,
        registry: Registry,
        relay: Relay,
        store: Store,
        limits: Limits,
        wake: Callable[[], None],
        certain: Callable[[], bool],
        chance: Callable[[], float],
    ) -> None:
        self.attempts: dict[str, Attempt] = {}
        self.ended: list[Ended] = []
        self.news: set[Attempt] = set()
        self._registry = registry
        self._relay = relay
        self._store = store
        self._limits = limits
        self._wake = wake
        self._certain = certain
        self._chance = chance
        self._patience = Patience(limits.timeout, limits.grace)
        self._running: set[Attempt] = set()  # whose code has not ended
        self._telling: set[asyncio.Task[None]] = set()
        self._measured: dict[str, _Gauges] = {}
        self._log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("tidings.jobs")
        self._pool = Pool(
            min(limits.concurrency, max(PROCESSES, os.cpu_count() or 1)),
            [kind.module for kind in registry if kind.plain],
        )

    @property
    def free(self) -> int:
        """How many more may run."""
        return self._limits.concurrency - len(self._running)

    def start(self) -> None:
        """Start processes, if there are kinds for them.

        Raises:
            OSError: none can be started.
        """
        if any(kind.plain for kind in self._registry):
            self._pool.start()

    def room(self, free: int) -> dict[str, int]:
        """How many of each kind may be claimed."""
        busy = Counter(attempt.kind.name for attempt in self.attempts.values() if not attempt.over)
        return {
            kind.name: room
            for kind in self._registry
            if (room := free if kind.concurrency is None else kind.concurrency - busy[kind.name]) > 0
        }

    def run(self, stored: StoredJob, why_not: Stop | None = None) -> None:
        """Run an attempt that was claimed; ``why_not`` is asked of it right away."""
        job, kind = stored.job, self._registry.get(stored.job.kind)
        assert kind is not None, "only kinds of the registry are claimed"
        if job.started_at is not None and stored.run_at is not None and stored.waiting_since is None:
            waited = (job.started_at - stored.run_at).total_seconds()
            self._gauges(job.kind).wait.observe(max(0.0, waited))
        attempt = Attempt(job, kind, self._patience, self, family.memory_of(stored))
        if why_not is not None:
            attempt.ask(why_not)
        self.attempts[job.id] = attempt
        self._running.add(attempt)
        metrics.jobs_running.inc()
        attempt.begin()

    def drop(self, job: Job) -> None:
        """Hold an attempt no more, unless by now another one at the same job is held."""
        held = self.attempts.get(job.id)
        if held is not None and held.job.attempt == job.attempt:
            del self.attempts[job.id]
            self.news.discard(held)

    async def close(self) -> None:
        """End whatever still runs, and every process. Code that cannot be ended is left to itself."""
        for attempt in tuple(self.attempts.values()):
            attempt.ask(Stop.LOST)
        await self._pool.close()
        codes = [attempt.code for attempt in self._running if attempt.code is not None]
        if codes:
            await asyncio.wait(codes, timeout=CLEAR_UP_SECONDS)
        for telling in self._telling:
            telling.cancel()
        self.attempts.clear()
        self.news.clear()
        self.ended.clear()

    # What attempts ask of their keeper.

    def execute(self, attempt: Attempt) -> Execution:
        job, kind = attempt.job, attempt.kind
        payload = kind.parse(job.payload)
        if kind.plain:
            run = Run(job.id, job.kind, job.attempt, kind.target, job.payload, attempt.memory.to_json())
            return self._pool.begin(run, attempt)
        return TaskExecution(kind, job, payload, attempt, attempt.memory)

    async def store(self, job: Job, name: str, source: Source, media_type: str) -> None:
        await self._store(job, name, source, media_type)

    def progressed(self, attempt: Attempt) -> None:
        if self._certain():
            event = event_of(attempt.job, JobEventType.PROGRESS, queue.utc_now(), attempt.message)
            progress.report(self._relay, attempt.job, event)
            self.news.add(attempt)

    def over(self, attempt: Attempt, verdict: Verdict | None) -> None:
        job = attempt.job
        self._gauges(job.kind).run.observe(attempt.seconds)
        if verdict is None:
            self._log.warning("job lost to another worker", jobId=job.id, kind=job.kind, attempt=job.attempt)
            self.drop(job)
        elif attempt.reported:
            telling = asyncio.create_task(self._end_when_told(attempt, verdict))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)
        else:
            self._end(attempt, verdict)
        if attempt.lingers:
            self._log.error("job killed, but its code goes on", jobId=job.id, kind=job.kind)

    def gone(self, attempt: Attempt) -> None:
        self._running.discard(attempt)
        metrics.jobs_running.dec()
        self._wake()

    async def _end_when_told(self, attempt: Attempt, verdict: Verdict) -> None:
        """A job's end goes behind what it has reported."""
        await self._relay.told(attempt.job.channel)
        self._end(attempt, verdict)

    def _end(self, attempt: Attempt, verdict: Verdict) -> None:
        wait = queue.backoff(attempt.job.attempt, self._chance)
        self.ended.append(Ended(attempt.job, verdict, wait))
        self._wake()

    def _gauges(self, kind: str) -> _Gauges:
        found = self._measured.get(kind)
        if found is None:
            wait, run = metrics.job_wait_seconds.labels(kind), metrics.job_run_seconds.labels(kind)
            found = self._measured[kind] = _Gauges(wait, run)
        return found
