"""The worker: claims jobs, runs them, and writes down how they ended, for as long as it runs.

All its writing is done in turns, a transaction each: what has ended is settled, what is held is renewed, what
can begin is claimed. So one commit serves many jobs when there are many, and nothing of the worker's races
with itself. Running code is ``attempt``'s, the rules of the queue are ``queue``'s.
"""

import asyncio
import heapq
import math
import random
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial

import structlog

from tidings.delivery.relay import Relay
from tidings.domain.job import Job, JobStatus
from tidings.jobs import family, queue
from tidings.jobs.artifacts import Artifacts
from tidings.jobs.attempt import Attempt
from tidings.jobs.containment import contain
from tidings.jobs.context import Stop
from tidings.jobs.executor import Executor, Limits
from tidings.jobs.kinds import Registry
from tidings.jobs.pace import Pace
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
RETRY_SECONDS = 0.5
"""How long to wait after the database failed us."""
HAND_BACK_SECONDS = 3.0
"""How long it may take, at the end of a drain, to end what still runs and hand it back."""

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("tidings.jobs")


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
        self._due = due
        self._log = _log.bind(workerId=worker_id)
        store = partial(artifacts.attach, worker_id)
        self._executor = Executor(registry, relay, store, limits, self.wake, self._certain, chance)
        self._wanted = asyncio.Event()
        self._anything = True  # whether there may be jobs to claim of which it was not told,
        self._look_at = 0.0  # and from when on it looks for them in any case
        self._told: set[str] = set()  # jobs of which it was told
        self._stopped = asyncio.Event()
        self._stopped.set()
        self._draining = self._handing_back = False
        self._unsure = False  # whether a transaction failed since, of which something may be committed
        self._alarms: list[float] = []  # when a job that failed is due again; a heap of the loop's times
        self._pace = Pace(registry)
        self._paced_until = math.inf  # when a kind whose rate is used up may start a job again
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
            self._executor.start()
            self._wanted.set()
            while self._executor.attempts or not self._draining:
                await self._wait()
                await self._turn()
        finally:
            await self._executor.close()
            self._stopped.set()

    def wake(self, job_id: str | None = None) -> None:
        """There may be a job to run: that one, or whichever."""
        if job_id is None:
            self._anything = True
        elif len(self._told) < self._limits.concurrency:
            self._told.add(job_id)
        else:
            self._anything = True
        self._wanted.set()

    def cancel_hint(self, job_id: str) -> None:
        """A cancellation was asked for and committed. Others than this worker's own learn of it by themselves."""
        attempt = self._executor.attempts.get(job_id)
        if attempt is not None:
            attempt.ask(Stop.CANCELLED)

    async def drain(self, seconds: float) -> None:
        """Begin nothing more, give what runs so long to end, and hand back the rest. Then ``run`` returns."""
        self._draining = True
        self.wake()
        if await self._stops_within(seconds):
            return
        self._handing_back = True
        for attempt in self._executor.attempts.values():
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
        times = [self._look_at, self._paced_until, *self._alarms[:1]]
        if self._executor.attempts:
            times.append(self._keep_at())
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(times)):
                await self._wanted.wait()
        self._wanted.clear()

    async def _turn(self) -> None:
        try:
            if self._unsure or (self._executor.attempts and _time() >= self._keep_at()):
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
        told = self._all_there_is(time)
        ended = tuple(self._executor.ended)
        free = 0 if self._draining else self._executor.free
        if not ended and free <= 0:
            self._paced_until = math.inf
            return
        settled: Sequence[tuple[Ended, Job]] = ()
        due = False
        if not ended and not self._pace.paced:
            claimed = await self._claim(free, now, told)
        else:
            async with self._database.write() as tx:
                room = await self._pace.room(tx, self._executor.room(free) if free > 0 else {}, now)
                settled, due = await family.settle(tx, self._id, self._register, ended, now)
                claimed = await queue.claim(tx, self._id, room, free, now, self._limits.lease)
                await self._pace.note(tx, claimed, now)
                claimed = await family.follow(tx, claimed, now)
        self._paced_until = math.inf if self._pace.wait is None else time + self._pace.wait
        del self._executor.ended[: len(ended)]
        for one in ended:
            self._executor.drop(one.job)
        if not self._executor.attempts:
            self._held_from = time
        self._start(claimed)  # before they are told of: the start is what their users wait for
        if settled or claimed or due:
            self._relay.kick()
        if due:
            self._due()
        self._note(settled, time)

    def _all_there_is(self, time: float) -> Collection[str]:
        """The jobs that are all there can be to claim; none: there may be any."""
        told, self._told = self._told, set()
        while self._alarms and self._alarms[0] <= time:
            heapq.heappop(self._alarms)
            self._anything = True
        if not self._anything and time < self._look_at:
            return told
        self._anything, self._look_at = False, time + POLL_SECONDS
        return ()

    async def _claim(self, free: int, now: datetime, told: Collection[str]) -> list[StoredJob]:
        """Claim by as little as can be, and in one trip to the database: an idle worker's next job waits for it.

        There need be no turns where all that are known of have room. What follows on claims has its own transaction.
        If that fails they are strays, which ``_keep`` takes up.
        """
        room, lease_seconds = self._executor.room(free), self._limits.lease
        if not room:
            return []
        async with self._database.stroke() as tx:
            if told and len(told) <= min(free, *room.values()):
                claimed = await queue.claim_these(tx, self._id, told, room, now, lease_seconds)
            else:
                claimed = await queue.claim(tx, self._id, room, free, now, lease_seconds)
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
        news, self._executor.news = self._executor.news, set()
        async with self._database.write() as tx:
            renewed = await lease.renew(tx, self._id, queue.utc_now(), self._limits.lease)
            await lease.note(tx, self._id, map(_progress_of, news))
            children = [(one.job, one.message) for one in news if one.job.parent_id is not None]
            lifted = bool(children) and await family.lift(tx, children, queue.utc_now())
            # A claim whose commit was not answered: nobody else will run these.
            strays = [
                await job_rows.get_any(tx, job_id)
                for job_id in renewed.held.keys() - self._executor.attempts.keys()
            ]
            found = await family.remember(tx, [stored for stored in strays if stored is not None])
        if lifted:
            self._relay.kick()
        if self._unsure:
            self._log.info("the queue can be written again")
        self._held_from, self._unsure = time, False
        for attempt in tuple(self._executor.attempts.values()):
            if renewed.held.get(attempt.job.id) != attempt.job.attempt:
                attempt.ask(Stop.LOST)
            elif attempt.job.id in renewed.cancelled:
                attempt.ask(Stop.CANCELLED)
        self._start(found)

    def _keep_at(self) -> float:
        """When the leases are to be renewed, or the progress stored."""
        third = self._held_from + self._limits.lease / 3
        return min(third, self._held_from + NOTE_SECONDS) if self._executor.news else third

    def _start(self, stored: Iterable[StoredJob]) -> None:
        for one in stored:
            self._executor.run(one, Stop.HANDED_BACK if self._handing_back else None)

    def _certain(self) -> bool:
        """Whether what runs here is still ours, whatever the database may say."""
        return _time() < self._held_from + self._limits.lease


def _time() -> float:
    return asyncio.get_running_loop().time()


def _progress_of(attempt: Attempt) -> lease.Progress:
    job = attempt.job
    return lease.Progress(Lease(job.id, job.attempt), job.stage, job.progress, attempt.message)
