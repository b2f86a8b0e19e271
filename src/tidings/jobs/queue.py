"""The queue's rules: every step of a job is written together with the event that tells of it.

The SQL is ``store.claims``' and ``store.lease``'s, where every write is fenced by worker and attempt. Here is what follows on
what: an attempt that failed is followed by another after a while, until the attempts are spent. All functions
work on a transaction of the caller's, who kicks the relay after the commit.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings import metrics
from tidings.delivery.progress import as_event
from tidings.domain import strictjson
from tidings.domain.channel import Channel
from tidings.domain.clock import milliseconds
from tidings.domain.event import Event
from tidings.domain.job import TERMINAL_TYPE, Job, JobError, JobEvent, JobEventType, JobStatus, event_of
from tidings.jobs.kinds import Registry
from tidings.jobs.outcome import Done, Failed, HandedBack, Verdict
from tidings.store import beginnings, claims, lease, outbox
from tidings.store import jobs as job_rows
from tidings.store import kinds as kind_rows
from tidings.store.job_rows import StoredJob
from tidings.store.lease import Lease
from tidings.store.stroke import Statements

BACKOFF_BASE = 1.0
BACKOFF_CAP = 30.0
"""Seconds. The wait before an attempt is random, up to the base doubled with each attempt, up to the cap."""

CANCELLED_MESSAGE = "The job was cancelled"

Clock = Callable[[], datetime]
Told = tuple[Job, JobEventType, str | None]
"""A job as it stands now, what is to be told of it, and the message."""


def utc_now() -> datetime:
    return milliseconds(datetime.now(UTC))


def backoff(attempt: int, random: Callable[[], float]) -> float:
    """Seconds to wait after the ``attempt``-th attempt has failed: exponential, with full jitter.

    ``random`` gives 0 to 1. Jobs that failed together are so spread over the whole wait.
    """
    return random() * min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** min(attempt - 1, 30))


@dataclass(frozen=True)
class Ended:
    """An attempt that is over: the job as it last was, and what has become of it.

    ``wait`` is in seconds, before the next attempt if there is one.
    """

    job: Job
    verdict: Verdict
    wait: float = 0.0

    @cached_property
    def lease(self) -> Lease:
        return Lease(self.job.id, self.job.attempt)

    @property
    def again(self) -> bool:
        """Whether it failed and there is an attempt left."""
        return (
            isinstance(self.verdict, Failed)
            and self.verdict.retry
            and self.job.attempt < self.job.max_attempts
        )


async def register(tx: AsyncConnection, registry: Registry, now: datetime) -> None:
    """Make the registry's kinds known to every process."""
    await kind_rows.register(tx, {kind.name: kind.schema() for kind in registry}, now)


async def tell(tx: AsyncConnection, told: Iterable[Told], now: datetime) -> None:
    """Store events beside the changes that they tell of."""
    await outbox.append(tx, events_of(told, now), now)


def events_of(told: Iterable[Told], now: datetime) -> list[tuple[Channel, Event]]:
    return [(job.channel, as_event(event_of(job, kind, now, message))) for job, kind, message in told]


async def accept(tx: Statements, stored: Sequence[StoredJob], now: datetime) -> None:
    """Store jobs that were made now and are queued. On PostgreSQL this is one statement, event and all.

    Raises:
        TidingsError: CONFLICT, as ``jobs.insert``.
    """
    await job_rows.insert(
        tx, stored, events_of(((one.job, JobEventType.QUEUED, None) for one in stored), now)
    )


async def claim(
    tx: Statements,
    worker: str,
    room: Mapping[str, int],
    free: int,
    now: datetime,
    lease_seconds: float,
) -> list[StoredJob]:
    """Start as many jobs as are free, of each kind as many as there is room for, as the worker's.

    Kinds with little room are claimed in small bites, so that the order between kinds is the queue's.
    """
    left, pattern = dict(room), _started(now)
    claimed: list[StoredJob] = []
    while left and free > 0:
        bite = min(free, *left.values())
        taken = await claims.in_turn(tx, worker, left.keys(), bite, now, lease_seconds, pattern)
        for stored in taken:
            left[stored.job.kind] -= 1
        left = {kind: count for kind, count in left.items() if count > 0}
        free -= len(taken)
        claimed += taken
        if len(taken) < bite:
            break
    return claimed


async def claim_these(
    tx: Statements,
    worker: str,
    job_ids: Collection[str],
    kinds: Collection[str],
    now: datetime,
    lease_seconds: float,
) -> list[StoredJob]:
    """Start those of these jobs that are due and of these kinds, as the worker's, whoever else waits."""
    return await claims.named(tx, worker, job_ids, kinds, now, lease_seconds, _started(now))


async def settle(
    tx: AsyncConnection, worker: str | None, ended: Sequence[Ended], now: datetime
) -> list[tuple[Ended, Job]]:
    """Write down what has become of the worker's attempts; those for which it took, with their jobs.

    What is missing was lost before: another worker has it, or it is over. Whoever's cancellation was asked for
    meanwhile is cancelled, not queued again. ``worker`` is None for external jobs.
    """
    if not ended:
        return []
    await _note_progress(tx, worker, ended)
    by_lease = {one.lease: one for one in ended}
    queued = await _queue_again(tx, worker, ended, now)
    jobs = {key: _queued(by_lease[key]) for key in queued}
    outcomes = [_outcome(one) for key, one in by_lease.items() if key not in queued]
    final = {one.lease: one for one in outcomes}
    for key in await lease.finish(tx, worker, outcomes, now):
        jobs[key] = _finished(by_lease[key].job, final[key], now)
    taken = [(one, jobs[one.lease]) for one in ended if one.lease in jobs]
    await tell(tx, (_told(one, job) for one, job in taken), now)
    return taken


def _started(now: datetime) -> Event:
    """The event of attempts that begin now, but for job and attempt."""
    event = JobEvent(beginnings.JOB, JobEventType.STARTED, JobStatus.RUNNING, None, 0.0, 0, None, now)
    data = strictjson.dumps({**event.to_json(), "attempt": beginnings.ATTEMPT.strip('"')})
    return replace(as_event(event), data=data)


def count(taken: Iterable[tuple[Ended, Job]]) -> None:
    """Count what ``settle`` did, once it is committed."""
    taken = list(taken)
    ends = Counter((job.kind, job.status.value) for _, job in taken if job.status.finished)
    for labels, number in ends.items():
        metrics.jobs_finished.labels(*labels).inc(number)
    for one, job in taken:
        if not job.status.finished and isinstance(one.verdict, Failed):
            metrics.jobs_retried.labels(job.kind, one.verdict.code).inc()


def say(log: structlog.stdlib.BoundLogger, one: Ended, job: Job) -> None:
    """Log what ``settle`` did for one of them, once it is committed."""
    if job.status is JobStatus.SUCCEEDED:
        return  # its end is counted, and told to its user; a line for each would cost as much as the job
    log = log.bind(jobId=job.id, kind=job.kind, attempt=job.attempt)
    verdict = one.verdict
    if isinstance(verdict, Failed):
        log = log.bind(code=verdict.code, reason=verdict.message, exception=verdict.detail)
    if job.status is JobStatus.FAILED:
        log.error("job failed")
    elif job.status is not JobStatus.QUEUED:
        log.debug("job ended", status=job.status.value)
    elif isinstance(verdict, Failed):
        log.warning("job failed, trying again", seconds=round(one.wait, 3))
    else:
        log.info("job handed back")


async def _note_progress(tx: AsyncConnection, worker: str | None, ended: Sequence[Ended]) -> None:
    """A job that ends here keeps how far it came."""
    news = [
        lease.Progress(one.lease, one.job.stage, one.job.progress)
        for one in ended
        if one.job.stage is not None or one.job.progress > 0
    ]
    if worker is not None:
        await lease.note(tx, worker, news)


async def _queue_again(
    tx: AsyncConnection, worker: str | None, ended: Sequence[Ended], now: datetime
) -> set[Lease]:
    """Queue what is to run again; the leases for which that took."""
    if worker is None:
        return set()
    retries = [
        lease.Retry(one.lease, milliseconds(now + timedelta(seconds=one.wait)), _message(one))
        for one in ended
        if one.again
    ]
    returns = [one.lease for one in ended if isinstance(one.verdict, HandedBack)]
    queued = await lease.retry_later(tx, worker, retries) if retries else set()
    return queued | (await lease.release(tx, worker, returns) if returns else set())


def _outcome(one: Ended) -> lease.Outcome:
    """How it ends for good. What was to be queued again and could not be is to be cancelled."""
    verdict = one.verdict
    if isinstance(verdict, Done):
        return lease.Outcome(one.lease, JobStatus.SUCCEEDED, result=verdict.result)
    if isinstance(verdict, Failed) and not one.again:
        error = JobError(verdict.code, verdict.message)
        return lease.Outcome(one.lease, JobStatus.FAILED, error=error, message=error.message)
    return lease.Outcome(one.lease, JobStatus.CANCELLED, message=CANCELLED_MESSAGE)


def _finished(job: Job, outcome: lease.Outcome, now: datetime) -> Job:
    return replace(
        job,
        status=outcome.status,
        progress=1.0 if outcome.status is JobStatus.SUCCEEDED else job.progress,
        result=outcome.result,
        error=outcome.error,
        finished_at=now,
    )


def _queued(one: Ended) -> Job:
    returned = isinstance(one.verdict, HandedBack)
    attempts = one.job.max_attempts + 1 if returned else one.job.max_attempts
    return replace(one.job, status=JobStatus.QUEUED, stage=None, progress=0.0, max_attempts=attempts)


def _told(one: Ended, job: Job) -> Told:
    kind = TERMINAL_TYPE.get(job.status, JobEventType.QUEUED)
    return job, kind, CANCELLED_MESSAGE if job.status is JobStatus.CANCELLED else _message(one)


def _message(one: Ended) -> str | None:
    return one.verdict.message if isinstance(one.verdict, Failed) else None
