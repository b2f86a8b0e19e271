"""The worker: claims jobs, runs them, and writes down how they ended, for as long as it runs.

All its writing is done in turns, a transaction each: what has ended is settled, what is held is renewed, what
can begin is claimed. So one commit serves many jobs when there are many, and nothing of the worker's races
with itself. Running code is ``attempt``'s, the rules of the queue are ``queue``'s.
"""

import asyncio
import heapq
import math
import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import NamedTuple

import structlog
from prometheus_client import Histogram

from tidings import metrics
from tidings.artifacts.base import Source
from tidings.delivery import progress
from tidings.delivery.relay import Relay
from tidings.domain.job import Job, JobEventType, JobStatus, event_of
from tidings.jobs import family, queue
from tidings.jobs.artifacts import Artifacts
from tidings.jobs.attempt import Attempt, Patience
from tidings.jobs.children import Memory
from tidings.jobs.containment import contain
from tidings.jobs.context import Stop
from tidings.jobs.execution import Execution, TaskExecution
from tidings.jobs.kinds import Registry
from tidings.jobs.pace import Pace
from tidings.jobs.pipe import Run
from tidings.jobs.pool import Pool
from tidings.jobs.queue import Ended
from tidings.jobs.register import Register
from tidings.store import jobs as job_rows
from tidings.store import lease
from tidings.store.database import Database
from tidings.store.job_rows import StoredJob
from tidings.store.lease import Lease

POLL_SECONDS = 1.0
"""How long a job can wait that nobody told of."""
NOTE_SECONDS = 1.0
"""How old the progress may be that is stored for those who ask later."""
PROCESSES = 4
"""How many are started beforehand, or one a processor; more come as they are needed, and stay."""
RETRY_SECONDS = 0.5
"""How long to wait after the database failed us."""
BITE = 128
"""The most jobs that one turn claims: while it writes, those of the turn before it run."""
CLEAR_UP_SECONDS = 1.0
"""How long async code that ends with its worker may take for it."""
HAND_BACK_SECONDS = 3.0
"""How long it may take, at the end of a drain, to end what still runs and hand it back."""

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("tidings.jobs")


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


class Worker:
    """Runs the registry's kinds. ``worker_id`` is its own, never used by a worker before it.

    ``due`` is called when jobs were queued that any worker may run.
    """

    def __init__(
        self,
        database: Database,
        relay: Relay,
        registry: Registry,
        artifacts: Artifacts,
        worker_id: str,
        limits: Limits,
        *,
        due: Callable[[], None],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._relay = relay
        self._registry = registry
        self._register = Register(registry)
        self._id = worker_id
        self._limits = limits
        self._artifacts = artifacts
        self._due = due
        self._chance = chance
        self._patience = Patience(limits.timeout, limits.grace)
        self._log = _log.bind(workerId=worker_id)
        self._pool = Pool(
            min(limits.concurrency, max(PROCESSES, os.cpu_count() or 1)),
            [kind.module for kind in registry if kind.plain],
        )
        self._wanted = asyncio.Event()
        self._stopped = asyncio.Event()
        self._stopped.set()
        self._draining = self._handing_back = False
        self._unsure = False  # whether a transaction failed since, of which something may be committed
        self._attempts: dict[str, Attempt] = {}  # all that is held: begun, or ended and not settled
        self._slots: set[asyncio.Task[None]] = set()  # all whose code still runs
        self._ended: list[Ended] = []
        self._news: set[Attempt] = set()
        self._alarms: list[float] = []  # when a job that failed is due again; a heap of the loop's times
        self._pace = Pace(registry)
        self._paced_until = math.inf  # when a kind whose rate is used up may start a job again
        self._measured: dict[str, _Gauges] = {}
        self._held_from = 0.0  # since when, at least, every lease is counted

    async def run(self) -> None:
        """Run jobs until drained; or until cancelled, which ends what runs and leaves it to other workers.

        Raises:
            TidingsError: UNAVAILABLE at the start; later it waits for the database to come back.
        """
        self._stopped.clear()
        contain(asyncio.get_running_loop())
        try:
            async with self._database.write() as tx:
                await queue.register(tx, self._registry, queue.utc_now())
            if any(kind.plain for kind in self._registry):
                await self._pool.start()
            self._wanted.set()
            while self._attempts or not self._draining:
                await self._wait()
                await self._turn()
        finally:
            await self._clear_up()
            self._stopped.set()

    def wake(self) -> None:
        """There may be a job to run."""
        self._wanted.set()

    def cancel_hint(self, job_id: str) -> None:
        """A cancellation was asked for and committed. Others than this worker's own learn of it by themselves."""
        attempt = self._attempts.get(job_id)
        if attempt is not None:
            attempt.ask(Stop.CANCELLED)

    async def drain(self, seconds: float) -> None:
        """Begin nothing more, give what runs so long to end, and hand back the rest. Then ``run`` returns."""
        self._draining = True
        self.wake()
        if await self._stops_within(seconds):
            return
        self._handing_back = True
        for attempt in self._attempts.values():
            attempt.ask(Stop.HANDED_BACK)
        if not await self._stops_within(HAND_BACK_SECONDS):
            self._log.error("drain incomplete, other workers take over when the leases end")

    async def _stops_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        return self._stopped.is_set()

    async def _wait(self) -> None:
        """Until it is time for a turn."""
        times = [_time() + POLL_SECONDS, self._paced_until, *self._alarms[:1]]
        if self._attempts:
            times.append(self._keep_at())
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(times)):
                await self._wanted.wait()
        self._wanted.clear()

    async def _turn(self) -> None:
        try:
            if self._unsure or (self._attempts and _time() >= self._keep_at()):
                await self._keep()
            await self._serve()
        except Exception as fault:  # noqa: BLE001 - whatever it is, what has ended must be settled in the end
            if not self._unsure:
                self._log.warning("the queue cannot be written, trying again", exc_info=fault)
            self._unsure = True
            await asyncio.sleep(RETRY_SECONDS)
            self.wake()

    async def _serve(self) -> None:
        """Settle what has ended, and claim what can begin."""
        now, time = queue.utc_now(), _time()
        while self._alarms and self._alarms[0] <= time:
            heapq.heappop(self._alarms)
        ended = tuple(self._ended)
        free = 0 if self._draining else min(BITE, self._limits.concurrency - len(self._slots))
        if not ended and free <= 0:
            return
        settled: Sequence[tuple[Ended, Job]] = ()
        due = False
        if not ended and not self._pace.paced:
            claimed = await self._claim(free, now)
        else:
            async with self._database.write() as tx:
                room = await self._pace.room(tx, self._room(free) if free > 0 else {}, now)
                settled, due = await family.settle(tx, self._id, self._register, ended, now)
                claimed = await queue.claim(tx, self._id, room, free, now, self._limits.lease)
                await self._pace.note(tx, claimed, now)
                claimed = await family.follow(tx, claimed, now)
        self._paced_until = math.inf if self._pace.wait is None else time + self._pace.wait
        if settled or claimed or due:
            self._relay.kick()
        if due:
            self._due()
        del self._ended[: len(ended)]
        for one in ended:
            self._drop(one.job)
        self._note(settled, time)
        if not self._attempts:
            self._held_from = time
        for stored in claimed:
            self._start(stored)
        if len(claimed) == BITE:
            self.wake()  # there may be more, and room for it

    async def _claim(self, free: int, now: datetime) -> list[StoredJob]:
        """Claim by as few trips to the database as can be: an idle worker's next job waits for each of them.

        What follows on claims has its own transaction. If that fails they are strays, which ``_keep`` takes up.
        """
        async with self._database.stroke() as tx:
            claimed = await queue.claim(tx, self._id, self._room(free), free, now, self._limits.lease)
        if family.concerns(claimed):
            async with self._database.write() as tx:
                claimed = await family.follow(tx, claimed, now)
        return claimed

    def _note(self, settled: Sequence[tuple[Ended, Job]], time: float) -> None:
        """Count what was settled, log it, and remember when it is due again."""
        queue.count(settled)
        for one, job in settled:
            queue.say(self._log, one, job)
            if job.status is JobStatus.QUEUED:
                heapq.heappush(self._alarms, time + one.wait)

    async def _keep(self) -> None:
        """Hold on to what runs, store how far it is, and learn what should run no more."""
        time = _time()
        news, self._news = self._news, set()
        async with self._database.write() as tx:
            renewed = await lease.renew(tx, self._id, queue.utc_now(), self._limits.lease)
            await lease.note(tx, self._id, map(_progress_of, news))
            children = [(one.job, one.message) for one in news if one.job.parent_id is not None]
            lifted = bool(children) and await family.lift(tx, children, queue.utc_now())
            # A claim whose commit was not answered: nobody else will run these.
            strays = [
                await job_rows.get_any(tx, job_id) for job_id in renewed.held.keys() - self._attempts.keys()
            ]
            found = await family.remember(tx, [stored for stored in strays if stored is not None])
        if lifted:
            self._relay.kick()
        if self._unsure:
            self._log.info("the queue can be written again")
        self._held_from, self._unsure = time, False
        for attempt in tuple(self._attempts.values()):
            if renewed.held.get(attempt.job.id) != attempt.job.attempt:
                attempt.ask(Stop.LOST)
            elif attempt.job.id in renewed.cancelled:
                attempt.ask(Stop.CANCELLED)
        for stored in found:
            self._start(stored)

    def _keep_at(self) -> float:
        """When the leases are to be renewed, or the progress stored."""
        third = self._held_from + self._limits.lease / 3
        return min(third, self._held_from + NOTE_SECONDS) if self._news else third

    def _room(self, free: int) -> dict[str, int]:
        """How many of each kind may be claimed."""
        busy = Counter(attempt.kind.name for attempt in self._attempts.values() if not attempt.over)
        return {
            kind.name: room
            for kind in self._registry
            if (room := free if kind.concurrency is None else kind.concurrency - busy[kind.name]) > 0
        }

    def _start(self, stored: StoredJob) -> None:
        job, kind = stored.job, self._registry.get(stored.job.kind)
        assert kind is not None, "only kinds of the registry are claimed"
        memory = family.memory_of(stored)
        begin = partial(self._begin, memory)
        attempt = Attempt(job, kind, self._patience, begin, self._progressed, self._store)
        if self._handing_back:
            attempt.ask(Stop.HANDED_BACK)
        self._attempts[job.id] = attempt
        task = asyncio.create_task(self._attend(attempt))
        self._slots.add(task)
        metrics.jobs_running.inc()
        task.add_done_callback(self._vacate)
        if job.started_at is not None and stored.run_at is not None and stored.waiting_since is None:
            waited = (job.started_at - stored.run_at).total_seconds()
            self._gauges(job.kind).wait.observe(max(0.0, waited))

    def _gauges(self, kind: str) -> _Gauges:
        found = self._measured.get(kind)
        if found is None:
            wait, run = metrics.job_wait_seconds.labels(kind), metrics.job_run_seconds.labels(kind)
            found = self._measured[kind] = _Gauges(wait, run)
        return found

    def _vacate(self, slot: asyncio.Task[None]) -> None:
        self._slots.discard(slot)
        metrics.jobs_running.dec()
        self.wake()

    async def _attend(self, attempt: Attempt) -> None:
        """Run one attempt, and put what became of it where the next turn finds it."""
        job = attempt.job
        begun = _time()
        verdict = await attempt.run()
        self._gauges(job.kind).run.observe(_time() - begun)
        if verdict is None:
            self._log.warning("job lost to another worker", jobId=job.id, kind=job.kind, attempt=job.attempt)
            self._drop(job)
        else:
            if attempt.reported:
                await self._relay.told(job.channel)
            wait = queue.backoff(job.attempt, self._chance)
            self._ended.append(Ended(attempt.job, verdict, wait))
        if attempt.lingers:
            self._log.error("job killed, but its code goes on", jobId=job.id, kind=job.kind)
            self.wake()
            await attempt.gone()

    async def _begin(self, memory: Memory, attempt: Attempt) -> Execution:
        job, kind = attempt.job, attempt.kind
        payload = kind.parse(job.payload)
        if kind.plain:
            run = Run(job.id, job.kind, job.attempt, kind.target, job.payload, memory.to_json())
            return await self._pool.begin(run, attempt)
        return TaskExecution(kind, job, payload, attempt, memory)

    async def _store(self, job: Job, name: str, source: Source, media_type: str) -> None:
        await self._artifacts.attach(self._id, job, name, source, media_type)

    def _progressed(self, attempt: Attempt) -> None:
        """Tell of a report, as long as the job is certainly still ours."""
        if _time() < self._held_from + self._limits.lease:
            event = event_of(attempt.job, JobEventType.PROGRESS, queue.utc_now(), attempt.message)
            progress.report(self._relay, attempt.job, event)
            self._news.add(attempt)

    def _drop(self, job: Job) -> None:
        """Hold an attempt no more, unless by now another one at the same job is held."""
        held = self._attempts.get(job.id)
        if held is not None and held.job.attempt == job.attempt:
            del self._attempts[job.id]
            self._news.discard(held)

    async def _clear_up(self) -> None:
        """End whatever still runs, and every process."""
        for attempt in self._attempts.values():
            attempt.ask(Stop.LOST)
        await self._pool.close()
        if self._slots:
            await asyncio.wait(self._slots, timeout=CLEAR_UP_SECONDS)
        for slot in self._slots:  # code that cannot be ended is left to itself
            slot.cancel()
        self._attempts.clear()
        self._news.clear()
        self._ended.clear()


def _time() -> float:
    return asyncio.get_running_loop().time()


def _progress_of(attempt: Attempt) -> lease.Progress:
    job = attempt.job
    return lease.Progress(Lease(job.id, job.attempt), job.stage, job.progress, attempt.message)
