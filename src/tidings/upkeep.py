"""What a process has to look after again and again: deadlines, revocations, the broker, old rows.

A page of the composition root: like ``app`` it may import everything, and only ``app`` imports it.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import structlog

from tidings import metrics
from tidings.delivery import retention
from tidings.delivery.relay import Relay
from tidings.delivery.revocations import Revocations
from tidings.domain import strictjson
from tidings.domain.errors import CloseReason, TidingsError
from tidings.hub.hub import Hub
from tidings.hub.wheel import Wheel
from tidings.settings import Settings
from tidings.sharing import Sharing
from tidings.store.database import Database

TICK_SECONDS = 0.05
_TIDY_SECONDS = 1.0

_log = structlog.stdlib.get_logger("tidings")


class Upkeep:
    """Each of ``loops`` has to run for as long as the process serves."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        shared: Sharing,
        hub: Hub,
        relay: Relay,
        revocations: Revocations,
        wheel: Wheel,
    ) -> None:
        self._settings = settings
        self._database = database
        self._shared = shared
        self._hub = hub
        self._relay = relay
        self._revocations = revocations
        self._wheel = wheel
        self._degraded = False

    def loops(self) -> Iterator[Callable[[], Coroutine[Any, Any, None]]]:
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
                await self._relay.measure()
                if await self._revocations.load():
                    self._end_revoked()
            except TidingsError as fault:
                _log.warning("the database does not answer", reason=str(fault))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_TIDY_SECONDS)
            await self._watch_broker()

    async def _watch_broker(self) -> None:
        """Tell clients when events are late because the broker is away, and when they come again."""
        healthy = self._shared.broker.healthy()
        metrics.broker_healthy.set(healthy)
        metrics.redis_connections.set(self._shared.connections())
        if healthy is not self._degraded:
            return
        self._degraded = not healthy
        _log.warning("broker", healthy=healthy)
        if healthy:
            await self._shared.returned()
            self._relay.kick()
        state = strictjson.dumps({"state": "ok" if healthy else "degraded"})
        for session in self._hub.sessions():
            session.wire.tell("system:status", state)

    async def _retain(self) -> None:
        while True:
            try:
                await retention.sweep(self._database, self._settings.audit_days)
            except TidingsError as fault:
                _log.warning("retention waits for the database", reason=str(fault))
            await asyncio.sleep(retention.EVERY_SECONDS)

    def _end_revoked(self) -> None:
        for session in self._hub.sessions():
            if self._revocations.ends(session.principal):
                session.wire.close(CloseReason.REVOKED)
