"""From the outbox table to the broker: what was committed is published, in order, once in effect.

A row is published with its key, so that a crash before it is deleted repeats nothing. ``kick`` after a commit
makes it happen at once; a sweep finds what a crash or an absent broker left. How rows are taken, and how
several processes share the work, is ``line``'s. Progress, which is not stored, goes through here too, so that
it keeps its place among the stored states of its job: behind the start that was kicked before it, and before
the end, which a worker stores only when it has been ``told``.
"""

import asyncio
import contextlib
from collections import deque
from datetime import UTC, datetime

import structlog

from tidings import metrics
from tidings.broker.base import Broker, BrokerUnavailable
from tidings.delivery.line import line
from tidings.domain.channel import Channel
from tidings.domain.errors import TidingsError
from tidings.domain.event import Event, EventClass
from tidings.store.database import Database

BATCH = 500
PROGRESS_MAX = 10_000
"""Progress events that may wait. Beyond them the oldest go: they are news the least."""
TOLD_SECONDS = 1.0
TIDY_SECONDS = 0.05
"""How long published rows wait to be deleted once there is nothing more to publish."""

_log = structlog.stdlib.get_logger("tidings.relay")


class Relay:
    """``sweep_seconds`` is how long a row can wait that nobody kicked; ``retry_seconds`` how soon after a fault."""

    def __init__(
        self, database: Database, broker: Broker, *, sweep_seconds: float = 1.0, retry_seconds: float = 0.25
    ) -> None:
        self._line = line(database)
        self._broker = broker
        self._sweep_seconds = sweep_seconds
        self._retry_seconds = retry_seconds
        self._wanted = asyncio.Event()
        self._rows_wait = True
        self._progress: deque[tuple[Channel, Event]] = deque(maxlen=PROGRESS_MAX)
        # What was asked for and what has been done are counted, so that one can wait for the one to be the other.
        self._asked = 0
        self._done = 0
        self._turned = asyncio.Condition()

    def kick(self, within: float = 0.0) -> None:
        """Something was committed: publish it at once, or in so many seconds, with what else there is by then."""
        self._rows_wait = True
        if within > 0:
            self._asked += 1
            asyncio.get_running_loop().call_later(within, self._wanted.set)
        else:
            self._ask()

    def progress(self, channel: Channel, event: Event) -> None:
        """Publish progress soon, after every stored state that was kicked before it."""
        if len(self._progress) == PROGRESS_MAX:
            self._give_up(1, "backlog")
        self._progress.append((channel, event))
        self._ask()

    async def flushed(self, seconds: float = TOLD_SECONDS) -> bool:
        """Wait until all that was asked for before has been published; False: it was not, in that time."""
        target = self._asked
        try:
            async with asyncio.timeout(seconds), self._turned:
                await self._turned.wait_for(lambda: self._done >= target)
        except TimeoutError:
            return False
        return True

    async def told(self, channel: Channel) -> None:
        """Wait until a job's progress has been published, so that its end can be stored behind it.

        Progress that cannot be published in a second is given up: no job waits longer to be over.
        """
        if self._done < self._asked and not await self.flushed():
            kept = [waiting for waiting in self._progress if waiting[0] != channel]
            self._give_up(len(self._progress) - len(kept), "job ended")
            self._progress = deque(kept, maxlen=PROGRESS_MAX)

    async def run(self) -> None:
        """Relay until cancelled; what was published by then is deleted."""
        try:
            while True:
                await self._step()
        finally:
            with contextlib.suppress(TidingsError):
                await self._line.clear()

    async def _step(self) -> None:
        littered = self._line.littered
        quiet = not await self._wanted_within(TIDY_SECONDS if littered else self._sweep_seconds)
        try:
            if quiet and littered:
                await self._line.clear()
            else:
                self._rows_wait |= quiet
                await self._turn()
        except (BrokerUnavailable, TidingsError) as fault:
            _log.warning("relay waits", reason=type(fault).__name__, retryAfter=self._retry_seconds)
            await asyncio.sleep(self._retry_seconds)
            self._wanted.set()

    async def measure(self) -> float:
        """Set the gauges of what waits; for how many seconds the oldest row has, 0 for none.

        Raises:
            TidingsError: UNAVAILABLE.
        """
        lag = await self._line.lag()
        age = 0.0 if lag.since is None else (datetime.now(UTC) - lag.since).total_seconds()
        metrics.relay_pending.set(lag.count)
        metrics.relay_lag_seconds.set(max(0.0, age))
        return max(0.0, age)

    async def _wanted_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wanted.wait()
        wanted = self._wanted.is_set()
        self._wanted.clear()
        return wanted

    def _give_up(self, count: int, reason: str) -> None:
        """Progress is not stored: what cannot be published now is lost, and said to be."""
        if count:
            metrics.progress_dropped.labels(reason).inc(count)
            _log.debug("progress given up", count=count, reason=reason)

    def _ask(self) -> None:
        self._asked += 1
        self._wanted.set()

    async def _turn(self) -> None:
        """Publish the rows, then the progress that had been reported when the turn began."""
        asked = self._asked
        progress, self._progress = self._progress, deque(maxlen=PROGRESS_MAX)
        try:
            over = await self._publish_rows() if self._rows_wait else frozenset()
            news = [(channel, event) for channel, event in progress if channel not in over]
            self._give_up(len(progress) - len(news), "job ended")
            if news:
                await self._broker.publish(news)
        except (BrokerUnavailable, TidingsError):
            self._give_up(len(progress), "unavailable")
            raise
        async with self._turned:
            self._done = asked
            self._turned.notify_all()

    async def _publish_rows(self) -> frozenset[Channel]:
        """Publish all that waits; the channels that are over by it."""
        over: set[Channel] = set()
        while self._rows_wait:
            self._rows_wait = False
            try:
                async with self._line.take(BATCH) as rows:
                    await self._broker.publish([(row.channel, row.event) for row in rows])
            except BaseException:
                self._rows_wait = True
                raise
            metrics.relay_rows.inc(len(rows))
            over.update(row.channel for row in rows if row.event.klass is EventClass.FINAL)
            self._rows_wait |= len(rows) >= BATCH
        return frozenset(over)
