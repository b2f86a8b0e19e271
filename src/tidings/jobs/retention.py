"""Jobs that have been over for long are deleted, with what they have made: a little at a time.

Every process sweeps; two that do so at once share the work, since what one has deleted the other does not find.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import structlog

from tidings.domain.errors import TidingsError
from tidings.jobs import queue
from tidings.jobs.kinds import RATE_MAX_SECONDS
from tidings.jobs.queue import Clock
from tidings.store import jobs, starts
from tidings.store.database import Database

EVERY_SECONDS = 600.0
AT_ONCE = 200

Deleted = Callable[[Sequence[str]], Awaitable[None]]
"""Told of jobs, by their ids, once they are deleted and that is committed."""

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("tidings.jobs")


class Retention:
    """Keeps jobs for ``days`` after their end, then deletes them and tells each of ``deleted``."""

    def __init__(
        self, database: Database, days: int, deleted: Sequence[Deleted] = (), *, clock: Clock = queue.utc_now
    ) -> None:
        self._database = database
        self._kept = timedelta(days=days)
        self._deleted = deleted
        self._clock = clock

    async def run(self) -> None:
        """Sweep every ten minutes until cancelled."""
        while True:
            try:
                while await self.sweep() == AT_ONCE:
                    pass
            except TidingsError as fault:
                _log.warning("retention waits for the database", reason=fault.detail)
            await asyncio.sleep(EVERY_SECONDS)

    async def sweep(self) -> int:
        """Delete some of what has had its time; how many jobs that were, ``AT_ONCE`` if there may be more.

        Raises:
            TidingsError: UNAVAILABLE.
        """
        now = self._clock()
        async with self._database.write() as tx:
            gone = await jobs.purge(tx, now - self._kept, AT_ONCE)
            await starts.purge(tx, now - timedelta(seconds=RATE_MAX_SECONDS))
        if gone:
            _log.info("jobs deleted", count=len(gone))
            for tell in self._deleted:
                await tell(gone)
        return len(gone)
