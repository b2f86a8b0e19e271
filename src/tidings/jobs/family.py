"""Parents and children: fan-out and fan-in, without a worker that waits in between.

A parent that waits for children gives its place back, and its row says that it waits. The transaction that lets
it wait makes the children; the one that ends the last of them queues it again. A parent's code runs only while
none of its children does, so whatever ends a parent that runs has no children to end. A sweep finds what a crash
or a race has left: parents that wait for nobody, and children whose parent is over.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings import metrics
from tidings.delivery.relay import Relay
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.ids import new_id
from tidings.domain.job import Job, JobEventType, JobStatus
from tidings.jobs import queue
from tidings.jobs.children import DEEPEST, Known, Memory, Wish, label_of
from tidings.jobs.outcome import Failed, Waits
from tidings.jobs.queue import CANCELLED_MESSAGE, Clock, Ended, Told
from tidings.jobs.register import Register
from tidings.store import family, jobs, lease
from tidings.store.database import Database
from tidings.store.family import Standing
from tidings.store.job_rows import StoredJob
from tidings.store.lease import Lease

EVERY_SECONDS = 1.0
_BATCH = 100
_REFUSALS = {
    ErrorCode.UNKNOWN_KIND: "The job asked for a child of an unknown kind",
    ErrorCode.VALIDATION_FAILED: "The job asked for a child with a payload that its kind does not take",
}

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("tidings.jobs")


def concerns(claimed: Iterable[StoredJob]) -> bool:
    """Whether ``follow`` has anything to do for one of these."""
    return any(
        one.job.parent_id is not None or one.waiting_since is not None or one.job.attempt > 1
        for one in claimed
    )


async def follow(tx: AsyncConnection, claimed: Sequence[StoredJob], now: datetime) -> list[StoredJob]:
    """Jobs that were claimed now, with what they need to know of their children; their parents are told."""
    children = [(one.job, None) for one in claimed if one.job.parent_id is not None]
    if children:
        await lift(tx, children, now)
    return await remember(tx, claimed)


async def remember(tx: AsyncConnection, held: Sequence[StoredJob]) -> list[StoredJob]:
    """Jobs that are held with the children that their code may ask for again: of a new attempt, what succeeded."""
    anew = [one.job.id for one in held if one.waiting_since is None and one.job.attempt > 1]
    known = [*anew, *(one.job.id for one in held if one.waiting_since is not None)]
    if not known:
        return list(held)
    if anew:
        await family.disown(tx, anew)
    found = await family.children(tx, known)
    return [
        replace(one, children=tuple(child for child in found if child.job.parent_id == one.job.id))
        for one in held
    ]


def memory_of(stored: StoredJob) -> Memory:
    """What a claimed job's code knows from before."""
    return Memory(
        children=tuple(map(_known, stored.children)),
        resumed=stored.waiting_since is not None,
        progress=stored.job.progress,
        depth=stored.depth,
    )


async def hold(tx: AsyncConnection, members: Sequence[Job]) -> None:
    """Lock jobs that are going to end together with their parents, if they have any, in the order for all."""
    parents = {job.parent_id for job in members if job.parent_id is not None}
    if parents:
        await family.hold(tx, parents | {job.id for job in members})


async def settle(
    tx: AsyncConnection, worker: str, register: Register, ended: Sequence[Ended], now: datetime
) -> tuple[list[tuple[Ended, Job]], bool]:
    """As ``queue.settle``, but what waits is let wait; and whether by all that other jobs are to be run now."""
    await hold(tx, [one.job for one in ended])
    waits = {one.lease: one for one in ended if isinstance(one.verdict, Waits)}
    parted: set[Lease] = set()
    rest = ended
    if waits:
        parted, failed = await _part(tx, worker, register, waits, now)
        rest = [
            replace(one, verdict=failed.get(one.lease, one.verdict))
            for one in ended
            if one.lease not in parted
        ]
    settled = await queue.settle(tx, worker, rest, now)
    resumed = await over(tx, [job for _, job in settled if job.status.finished], now)
    return settled, bool(parted) or resumed


async def _part(
    tx: AsyncConnection, worker: str, register: Register, waits: Mapping[Lease, Ended], now: datetime
) -> tuple[set[Lease], dict[Lease, Failed]]:
    """Let jobs wait, and make the children that they wish for: those for which it took, and those that fail."""
    failed = {
        key: fault
        for key, one in waits.items()
        if (fault := await _refused(tx, register, _wishes(one))) is not None
    }
    jobs_so_far = [one.job for key, one in waits.items() if key not in failed]
    await lease.note(
        tx,
        worker,
        (lease.Progress(Lease(job.id, job.attempt), job.stage, job.progress) for job in jobs_so_far),
    )
    given = [lease.Wait(key, _until(one)) for key, one in waits.items() if key not in failed]
    taken = await lease.wait(tx, worker, given, now)
    made: list[StoredJob] = []
    for key in sorted(taken):
        parent = waits[key].job
        depth = await family.depth(tx, parent.id) + 1
        made += [
            _made(parent, wish, depth, await register.attempts(tx, wish.kind), now)
            for wish in _wishes(waits[key])
        ]
    if made:
        await queue.accept(tx, made, now)
    return taken, failed


async def lift(tx: AsyncConnection, news: Iterable[tuple[Job, str | None]], now: datetime) -> bool:
    """Let the parents that wait for these jobs, and theirs, be as far as their children; whether any does.

    They are told of through the outbox, so that nothing comes behind what ends them.
    """
    told: list[Told] = []
    level = {job.parent_id: (job, message) for job, message in news if job.parent_id is not None}
    for _ in range(DEEPEST):
        if not level:
            break
        parents = await family.waiting(tx, level.keys())
        means = await family.means(tx, [parent.job.id for parent in parents])
        keys = await family.keys(tx, [child.id for child, _ in level.values()])
        lifted = [_lifted(parent, means, keys, *level[parent.job.id]) for parent in parents]
        await family.note(tx, (Standing(job.id, job.progress, job.stage or "", text) for job, text in lifted))
        told += [(job, JobEventType.PROGRESS, message) for job, message in lifted]
        level = {job.parent_id: (job, text) for job, text in lifted if job.parent_id is not None}
    await queue.tell(tx, told, now)
    return bool(told)


async def over(tx: AsyncConnection, ended: Iterable[Job], now: datetime) -> bool:
    """These jobs are over: tell their parents, and queue those again for which they were the last; if any."""
    children = [job for job in ended if job.parent_id is not None]
    if not children:
        return False
    await lift(tx, ((job, job.status.value) for job in children), now)
    return bool(await family.resume(tx, {job.parent_id for job in children if job.parent_id is not None}))


async def end_below(tx: AsyncConnection, parent: Job, now: datetime) -> list[StoredJob]:
    """End everything below a job that is over; those that are to be ended by their workers are among them."""
    below = await jobs.cancel_below(tx, parent.tenant_id, parent.id, now)
    ended = [one.job for one in below if one.job.status.finished]
    await queue.tell(tx, ((job, JobEventType.CANCELLED, CANCELLED_MESSAGE) for job in ended), now)
    return below


async def cancelled(tx: AsyncConnection, job: Job, now: datetime) -> tuple[list[StoredJob], bool]:
    """A job was cancelled by its user. If it is over by that: what else is to end, and whether a job is due."""
    if not job.status.finished:
        return [], False
    below = await end_below(tx, job, now)
    return below, await over(tx, [job], now)


def count_cancelled(below: Iterable[StoredJob]) -> None:
    """Count what ``end_below`` ended, once it is committed."""
    for one in below:
        if one.job.status.finished:
            metrics.jobs_finished.labels(one.job.kind, one.job.status.value).inc()


class Families:
    """The sweep. ``due`` is called when jobs were queued, ``cancel_hint`` for each that its worker should end."""

    def __init__(
        self,
        database: Database,
        relay: Relay,
        due: Callable[[], None],
        cancel_hint: Callable[[str], None],
        *,
        clock: Clock = queue.utc_now,
    ) -> None:
        self._database = database
        self._relay = relay
        self._due = due
        self._cancel_hint = cancel_hint
        self._clock = clock

    async def run(self) -> None:
        """Sweep every second until cancelled."""
        while True:
            try:
                while await self.sweep() >= _BATCH:
                    pass
            except TidingsError as fault:
                _log.debug("families wait for the database", reason=fault.detail)
            await asyncio.sleep(EVERY_SECONDS)

    async def sweep(self) -> int:
        """Queue parents that wait for nobody, end children whose parent is over; how many families that was.

        Raises:
            TidingsError: UNAVAILABLE.
        """
        async with self._database.read() as tx:
            forgotten = await family.forgotten(tx, _BATCH)
            bereft = await family.bereft(tx, _BATCH)
        if not forgotten and not bereft:
            return 0
        now = self._clock()
        below: list[StoredJob] = []
        async with self._database.write() as tx:
            resumed = await family.resume(tx, forgotten)
            for tenant, job_id in bereft:
                parent = await jobs.get_any(tx, job_id)
                if parent is not None and parent.job.tenant_id == tenant and parent.job.status.finished:
                    below += await end_below(tx, parent.job, now)
        self._relay.kick()
        count_cancelled(below)
        if resumed:
            self._due()
        for one in below:
            if not one.job.status.finished:
                self._cancel_hint(one.job.id)
        return len(forgotten) + len(bereft)


def _known(child: StoredJob) -> Known:
    job = child.job
    return Known(
        key=child.child_key or "",
        job_id=job.id,
        over=job.status.finished,
        succeeded=job.status is JobStatus.SUCCEEDED,
        result=job.result,
        code=None if job.error is None else job.error.code,
        message=None if job.error is None else job.error.message,
    )


def _wishes(one: Ended) -> tuple[Wish, ...]:
    return one.verdict.wishes if isinstance(one.verdict, Waits) else ()


def _until(one: Ended) -> float:
    return one.verdict.until if isinstance(one.verdict, Waits) else 1.0


async def _refused(tx: AsyncConnection, register: Register, wishes: Iterable[Wish]) -> Failed | None:
    """The failure of a parent that asks for a child that nobody could run."""
    for wish in wishes:
        try:
            await register.check(tx, wish.kind, wish.payload)
        except TidingsError as fault:
            if fault.code not in _REFUSALS:
                raise
            what = ", ".join(f"{field.field}: {field.message}" for field in fault.fields)
            return Failed(fault.code.name, _REFUSALS[fault.code], retry=False, detail=f"{wish.kind}: {what}")
    return None


def _made(parent: Job, wish: Wish, depth: int, attempts: int, now: datetime) -> StoredJob:
    job = Job(
        id=new_id(),
        tenant_id=parent.tenant_id,
        user_id=parent.user_id,
        kind=wish.kind,
        status=JobStatus.QUEUED,
        stage=None,
        progress=0.0,
        attempt=0,
        max_attempts=attempts,
        priority=parent.priority,
        payload=wish.payload,
        result=None,
        error=None,
        parent_id=parent.id,
        artifacts=(),
        created_at=now,
        started_at=None,
        finished_at=None,
    )
    return StoredJob(job, run_at=now, child_key=wish.key, weight=wish.weight, depth=depth)


def _lifted(
    parent: StoredJob, means: Mapping[str, float], keys: Mapping[str, str], child: Job, message: str | None
) -> tuple[Job, str | None]:
    begin, end = parent.waiting_from or 0.0, parent.waiting_until or 0.0
    mean = means.get(parent.job.id)
    progress = parent.job.progress if mean is None else min(1.0, begin + max(0.0, end - begin) * mean)
    stage = label_of(keys[child.id], child.kind) if child.id in keys else child.kind
    return replace(parent.job, progress=progress, stage=stage), message
