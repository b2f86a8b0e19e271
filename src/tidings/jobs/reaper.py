"""The reaper: finds jobs whose worker has let its lease run out, and sees to it that each still gets an end.

Every process has one, whether or not it runs jobs; which of them comes first does not matter.
"""

import asyncio
from collections.abc import Callable
from itertools import groupby

import structlog

from tidings.delivery.relay import Relay
from tidings.domain.errors import TidingsError
from tidings.domain.job import Job, JobStatus
from tidings.jobs import queue
from tidings.jobs.outcome import WORKER_LOST, Cancelled, Failed, Verdict
from tidings.jobs.queue import Clock, Ended
from tidings.store import lease
from tidings.store.database import Database
from tidings.store.job_rows import StoredJob

EVERY_SECONDS = 1.0
_BATCH = 100
_SILENT = Failed("TIMEOUT", "The job was silent for too long", retry=False)

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("tidings.jobs")


class Reaper:
    """``wake`` is called when jobs were queued again."""

    def __init__(
        self, database: Database, relay: Relay, wake: Callable[[], None], *, clock: Clock = queue.utc_now
    ) -> None:
        self._database = database
        self._relay = relay
        self._wake = wake
        self._clock = clock

    async def run(self) -> None:
        """Sweep every second until cancelled."""
        away = False
        while True:
            try:
                while await self.sweep() == _BATCH:
                    pass
                away = False
            except TidingsError as fault:
                if not away:
                    _log.warning("the reaper waits for the database", reason=fault.detail)
                away = True
            await asyncio.sleep(EVERY_SECONDS)

    async def sweep(self) -> int:
        """Take back what was held for too long; how many jobs that was.

        A job whose worker died runs again at once, if it has attempts left: it waited for its lease already.

        Raises:
            TidingsError: UNAVAILABLE.
        """
        now = self._clock()
        async with self._database.read() as tx:
            if not await lease.expired(tx, now, 1):
                return 0
        settled: list[tuple[Ended, Job]] = []
        async with self._database.write() as tx:
            expired = sorted(await lease.expired(tx, now, _BATCH), key=_owner)
            for owner, group in groupby(expired, key=_owner):
                ended = [Ended(stored.job, _verdict(stored)) for stored in group]
                settled += await queue.settle(tx, owner or None, ended, now)
        self._relay.kick()
        queue.count(settled)
        for _, job in settled:
            _log.warning(
                "job taken back", jobId=job.id, kind=job.kind, attempt=job.attempt, status=job.status
            )
        if any(job.status is JobStatus.QUEUED for _, job in settled):
            self._wake()
        return len(expired)


def _owner(stored: StoredJob) -> str:
    """The worker that held it; none for an external job, which merely fell silent."""
    return stored.lease_owner or ""


def _verdict(stored: StoredJob) -> Verdict:
    if stored.cancel_requested:
        return Cancelled()
    return WORKER_LOST if stored.lease_owner else _SILENT
