"""From the outbox table to the broker: what was committed is published, in order, once in effect.

A row is published with its id as idempotency key and deleted afterwards, so a crash between the two repeats
nothing. ``kick`` after a commit makes it happen at once; a sweep finds what a crash or an absent broker left.
Progress, which is not stored, goes through here too, so that it never overtakes a stored state of its job.
"""

import asyncio
import contextlib
from datetime import UTC, datetime

import structlog

from tidings import metrics
from tidings.broker.base import Broker, BrokerUnavailable
from tidings.domain.channel import Channel
from tidings.domain.errors import TidingsError
from tidings.domain.event import Event
from tidings.store import outbox
from tidings.store.database import Database

BATCH = 500
_PROGRESS_LIMIT = 10_000

_log = structlog.stdlib.get_logger("tidings.relay")


class Relay:
    """``sweep_seconds`` is how long a row can wait that nobody kicked; ``retry_seconds`` how soon after a fault."""

    def __init__(
        self, database: Database, broker: Broker, *, sweep_seconds: float = 1.0, retry_seconds: float = 0.25
    ) -> None:
        self._database = database
        self._broker = broker
        self._sweep_seconds = sweep_seconds
        self._retry_seconds = retry_seconds
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._progress: dict[Channel, Event] = {}

    def kick(self) -> None:
        """Something was committed: publish it at once."""
        self._idle.clear()
        self._wanted.set()

    def progress(self, channel: Channel, event: Event) -> None:
        """Publish progress soon, after every stored state that was kicked before it; only the newest counts."""
        if channel in self._progress or len(self._progress) < _PROGRESS_LIMIT:
            self._progress[channel] = event
            self._wanted.set()

    def forget_progress(self, channel: Channel) -> None:
        """A newer state of this job is being stored: what it had reached before is not news any more."""
        self._progress.pop(channel, None)

    async def flushed(self) -> None:
        """Return when everything that was kicked has been published."""
        await self._idle.wait()

    async def run(self) -> None:
        """Relay until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), self._sweep_seconds)
            self._wanted.clear()
            try:
                await self._drain()
            except (BrokerUnavailable, TidingsError) as fault:
                _log.warning("relay waits", reason=type(fault).__name__, retryAfter=self._retry_seconds)
                await asyncio.sleep(self._retry_seconds)
                self._wanted.set()

    async def _drain(self) -> None:
        full = True
        while full:
            async with self._database.read() as tx:
                rows = await outbox.pending(tx, BATCH)
            full = len(rows) == BATCH
            if rows:
                await self._broker.publish([(row.channel, row.event) for row in rows])
                async with self._database.write() as tx:
                    await outbox.delete(tx, [row.seq for row in rows])
        progress, self._progress = self._progress, {}
        if progress:
            await self._broker.publish(list(progress.items()))
        if not self._wanted.is_set():
            self._idle.set()

    async def measure(self) -> None:
        """Set the gauges of what waits."""
        async with self._database.read() as tx:
            lag = await outbox.lag(tx)
        metrics.relay_pending.set(lag.count)
        age = 0.0 if lag.since is None else (datetime.now(UTC) - lag.since).total_seconds()
        metrics.relay_lag_seconds.set(max(0.0, age))
