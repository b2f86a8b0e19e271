"""What a process has to look after again and again: deadlines, revocations, the broker, old rows.

A page of the composition root: like ``app`` it may import everything, and only ``app`` imports it.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import structlog

from tidings import metrics
from tidings.delivery import retention
from tidings.delivery.enforcement import Enforcement
from tidings.delivery.relay import Relay
from tidings.delivery.status import CAUGHT_UP_SECONDS, EVENT, Status
from tidings.domain.errors import TidingsError
from tidings.hub.hub import Hub
from tidings.hub.wheel import Wheel
from tidings.settings import Settings
from tidings.sharing import Sharing
from tidings.store.database import Database

TICK_SECONDS = 0.05
_TIDY_SECONDS = 1.0
PAUSE_SECONDS = (0.5, 30.0)
"""How long a loop that has failed rests before it begins anew: at first, and at most."""
_WATCH_SECONDS = 0.25

_log = structlog.stdlib.get_logger("tidings")


Loop = Callable[[], Coroutine[Any, Any, None]]


class Upkeep:
    """Each of ``loops`` has to run for as long as the process serves."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        shared: Sharing,
        hub: Hub,
        relay: Relay,
        enforcement: Enforcement,
        wheel: Wheel,
        status: Status,
    ) -> None:
        self._settings = settings
        self._database = database
        self._shared = shared
        self._hub = hub
        self._relay = relay
        self._enforcement = enforcement
        self._wheel = wheel
        self._status = status
        self._healthy = True
        self._waiting_since: float | None = None

    def loops(self) -> Iterator[Loop]:
        yield from (self._tick, self._tidy, self._watch, self._retain)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._wheel.advance(time.monotonic())

    async def _tidy(self) -> None:
        """What has to be looked after once a second."""
        while True:
            await asyncio.sleep(_TIDY_SECONDS)
            try:
                await self._hub.tidy()
                await self._measure()
                # Orders tell of revocations at once; this finds those that somebody wrote down without one.
                await self._enforcement.end_revoked()
            except TidingsError as fault:
                _log.warning("the database does not answer", reason=str(fault))

    async def _measure(self) -> None:
        """Learn since when an event waits for long. While the database does not say, it is taken to wait on."""
        age = await self._relay.measure()
        self._waiting_since = time.monotonic() - age if age > CAUGHT_UP_SECONDS else None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            await self._watch_broker()
            self._tell_status(time.monotonic())

    async def _watch_broker(self) -> None:
        healthy = self._shared.broker.healthy()
        metrics.broker_healthy.set(healthy)
        self._shared.measure()
        if healthy is self._healthy:
            return
        self._healthy = healthy
        _log.warning("broker", healthy=healthy)
        if healthy:
            await self._shared.returned()
            self._relay.kick()

    def _tell_status(self, now: float) -> None:
        """Tell clients when events are late, and when they come in time again."""
        lag = 0.0 if self._waiting_since is None else now - self._waiting_since
        if not self._status.see(now, healthy=self._healthy, lag=lag):
            return
        degraded = self._status.degraded
        metrics.degraded.set(degraded)
        _log.warning("degraded" if degraded else "caught up", broker=self._healthy, lagSeconds=round(lag, 1))
        for session in self._hub.sessions():
            session.wire.tell(EVENT, self._status.told())

    async def _retain(self) -> None:
        while True:
            try:
                await retention.sweep(self._database, self._settings.audit_days)
            except TidingsError as fault:
                _log.warning("retention waits for the database", reason=str(fault))
            await asyncio.sleep(retention.EVERY_SECONDS)


@contextlib.asynccontextmanager
async def kept_running(loop: Loop) -> AsyncIterator[None]:
    """A loop that lives as long as the block. After a fault, which is ours, it begins anew; what it knows it
    keeps elsewhere.
    """
    task = asyncio.create_task(_again(loop))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _again(loop: Loop) -> None:
    """Run a loop until it returns."""
    task, name = asyncio.current_task(), getattr(loop, "__qualname__", "loop")
    first, longest = PAUSE_SECONDS
    pause = first
    while True:
        begun = time.monotonic()
        try:
            return await loop()
        except Exception:
            if task is None or task.cancelling():
                raise
            metrics.loop_failures.labels(name).inc()
            _log.critical("a loop has failed and begins anew", loop=name, seconds=pause, exc_info=True)
        await asyncio.sleep(pause)
        pause = first if time.monotonic() - begun > longest else min(2 * pause, longest)
