"""What users ask for: to run a job, see theirs, cancel one, try one again.

A job belongs to the user who made it. To everyone else, whatever their role, it does not exist (contract,
section 3). Nothing is run here.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.delivery.relay import Relay
from tidings.domain.clock import milliseconds
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.ids import is_id, new_id
from tidings.domain.job import Job, JobEventType, JobPriority, JobStatus
from tidings.domain.people import Principal
from tidings.jobs import family, queue
from tidings.jobs.context import shown
from tidings.jobs.kinds import Registry
from tidings.jobs.queue import CANCELLED_MESSAGE, Clock
from tidings.jobs.register import Register
from tidings.store import jobs
from tidings.store.database import Database
from tidings.store.job_rows import StoredJob
from tidings.store.paging import Page
from tidings.store.stroke import Statements

NEWS_SECONDS = 0.01
"""How long the news that a job is queued may wait for the news that it has begun: to tell of both at once takes no
longer, and until then nothing is in the way of the start.
"""


class Jobs:
    """``registry`` holds the kinds whose code this process has; those of other processes are in the database.

    ``wake`` tells workers that a job is due: that one, or whichever; ``cancel_hint`` that theirs is cancelled.
    """

    def __init__(
        self,
        database: Database,
        relay: Relay,
        registry: Registry,
        wake: Callable[[str | None], None],
        cancel_hint: Callable[[str], None],
        *,
        clock: Clock = queue.utc_now,
    ) -> None:
        self._database = database
        self._relay = relay
        self._registry = registry
        self._register = Register(registry)
        self._wake = wake
        self._cancel_hint = cancel_hint
        self._clock = clock

    async def start(self) -> None:
        """Make this process's kinds known, before any worker runs.

        Raises:
            TidingsError: UNAVAILABLE.
        """
        async with self._database.write() as tx:
            await queue.register(tx, self._registry, self._clock())

    async def submit(
        self,
        tx: Statements,
        principal: Principal,
        *,
        kind: str,
        payload: dict[str, Any],
        priority: JobPriority = JobPriority.STANDARD,
        delay_seconds: float = 0.0,
    ) -> Job:
        """Store a job and its ``queued`` event in the caller's transaction; then ``committed``.

        It is not begun before ``delay_seconds`` are over. External jobs are ``External.submit``'s.

        Raises:
            TidingsError: UNKNOWN_KIND, nobody ever registered it; VALIDATION_FAILED.
        """
        await self._register.check(tx, kind, payload)
        attempts = await self._register.attempts(tx, kind)
        now = self._clock()
        job = new_job(principal, kind, payload, priority, attempts, now)
        due = milliseconds(now + timedelta(seconds=delay_seconds))
        await queue.accept(tx, [StoredJob(job, run_at=due)], now)
        return job

    def committed(self, job_id: str) -> None:
        """What was submitted is committed: have it begun at once, and told of."""
        self._wake(job_id)
        self._relay.kick(NEWS_SECONDS)

    async def get(self, principal: Principal, job_id: str) -> Job:
        """The user's own job.

        Raises:
            TidingsError: NOT_FOUND.
        """
        async with self._database.read() as tx:
            return await _own(tx, principal, job_id)

    async def page(
        self,
        principal: Principal,
        *,
        cursor: str | None,
        limit: int,
        status: JobStatus | None = None,
        kind: str | None = None,
        parent: str | None = None,
    ) -> Page[Job]:
        """The user's own jobs, the newest first; of a ``parent`` its own children.

        Raises:
            TidingsError: VALIDATION_FAILED, no cursor of ours.
        """
        async with self._database.read() as tx:
            return await jobs.page(
                tx,
                principal.tenant_id,
                principal.user_id,
                cursor=cursor,
                limit=limit,
                status=status,
                kind=None if kind is None else shown(kind),
                parent=parent,
            )

    async def cancel(self, principal: Principal, job_id: str) -> Job:
        """Cancel a job that waits; have one that runs end, which may take it the grace. Repeating it is fine.

        Raises:
            TidingsError: NOT_FOUND; CONFLICT, it is over.
        """
        now = self._clock()
        async with self._database.write() as tx:
            await family.hold(tx, [await _own(tx, principal, job_id)])
            stored = await jobs.cancel(tx, principal.tenant_id, principal.user_id, job_id, now)
            if stored is None:
                raise TidingsError(ErrorCode.CONFLICT, "The job is over")
            if stored.job.status.finished:
                await queue.tell(tx, [(stored.job, JobEventType.CANCELLED, CANCELLED_MESSAGE)], now)
            family_too, due = await family.cancelled(tx, stored.job, now)
        self._relay.kick()
        family.count_cancelled([stored, *family_too])
        for one in (stored, *family_too):
            if not one.job.status.finished:
                self._cancel_hint(one.job.id)
        if due:
            self._wake(None)
        return stored.job

    async def retry(self, principal: Principal, job_id: str) -> Job:
        """Queue a failed or cancelled job again, with as many attempts more as its kind has.

        Raises:
            TidingsError: NOT_FOUND; CONFLICT, it did not fail and was not cancelled.
        """
        now = self._clock()
        async with self._database.write() as tx:
            attempts = await self._register.attempts(tx, (await _own(tx, principal, job_id)).kind)
            tenant, user = principal.tenant_id, principal.user_id
            stored = await jobs.retry(tx, tenant, user, job_id, attempts, now)
            if stored is None:
                raise TidingsError(ErrorCode.CONFLICT, "Only a failed or cancelled job can be tried again")
            await queue.tell(tx, [(stored.job, JobEventType.QUEUED, None)], now)
        self.committed(job_id)
        return stored.job


async def _own(tx: AsyncConnection, principal: Principal, job_id: str) -> Job:
    """The principal's own job.

    Raises:
        TidingsError: NOT_FOUND, the same for what is missing, malformed or somebody else's.
    """
    stored = None
    if is_id(job_id):
        stored = await jobs.get(tx, principal.tenant_id, principal.user_id, job_id)
    if stored is None:
        raise TidingsError(ErrorCode.NOT_FOUND)
    return stored.job


def new_job(
    principal: Principal,
    kind: str,
    payload: dict[str, Any],
    priority: JobPriority,
    attempts: int,
    now: datetime,
) -> Job:
    """A job of the principal's, queued."""
    return Job(
        id=new_id(),
        tenant_id=principal.tenant_id,
        user_id=principal.user_id,
        kind=kind,
        status=JobStatus.QUEUED,
        stage=None,
        progress=0.0,
        attempt=0,
        max_attempts=attempts,
        priority=priority,
        payload=payload,
        result=None,
        error=None,
        parent_id=None,
        artifacts=(),
        created_at=now,
        started_at=None,
        finished_at=None,
    )
