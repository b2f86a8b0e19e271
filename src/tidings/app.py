"""The composition root: everything long-lived of a process is built here, started and stopped in order.

Its other pages: ``sharing`` (what nodes have in common), ``reception`` (who is it), ``workshop`` (jobs),
``surfaces`` (what clients touch) and ``upkeep`` (what is looked after again and again).

Start: database, broker, relay, worker, listening socket. Stop: the other way round, after a drain in which
clients are told to come back and accepted work is finished or handed back.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, Self

import structlog
from prometheus_client import start_http_server

from tidings import metrics
from tidings.delivery.audit import SecurityLog
from tidings.delivery.drain import release
from tidings.delivery.relay import Relay
from tidings.delivery.signals import Signals
from tidings.domain.audit import SecurityEvent
from tidings.domain.channel import SIGNALS, Channel
from tidings.domain.event import Published
from tidings.hub.hub import Hub
from tidings.hub.wheel import Wheel
from tidings.reception import Reception
from tidings.settings import Settings
from tidings.sharing import sharing
from tidings.store import audit as audit_store
from tidings.store import migrate
from tidings.store.database import Database
from tidings.surfaces import Ground, Surfaces
from tidings.transports.server import Server, configure
from tidings.transports.site import Limits
from tidings.transports.socketio.endpoint import PATH
from tidings.upkeep import TICK_SECONDS, Upkeep
from tidings.workshop import Workshop

_log = structlog.stdlib.get_logger("tidings")


class Node:
    """One process of Tidings: an async context in which it is started, and ``serve``, which listens."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.node_id = secrets.token_hex(4)
        self.draining = False
        self.database = Database(settings.database)
        self.shared = sharing(settings)
        broker = self.shared.broker
        self.hub = Hub(broker.subscribe, broker.unsubscribe, broker.position)
        self.relay = Relay(self.database, broker)
        self.signals = Signals(broker)
        self.security = SecurityLog(self.node_id, self._store_security)
        self.identity = Reception(settings, self.database, self.security, self.shared)
        self.workshop = Workshop(settings, self.database, self.relay, self.signals, self.node_id)
        self.wheel = Wheel(time.monotonic(), resolution=TICK_SECONDS)
        self.surfaces = Surfaces(
            Ground(
                settings=settings,
                database=self.database,
                shared=self.shared,
                hub=self.hub,
                relay=self.relay,
                security=self.security,
                identity=self.identity,
                jobs=self.workshop.jobs,
                wheel=self.wheel,
                draining=lambda: self.draining,
            )
        )
        self.upkeep = Upkeep(
            settings, self.database, self.shared, self.hub, self.relay, self.identity.revocations, self.wheel
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start everything but the listening.

        Raises:
            TidingsError: UNAVAILABLE, the database cannot be reached.
            OutOfDateError: it has to be migrated first.
        """
        stack = self._stack
        await stack.enter_async_context(self.database)
        await self._check_schema()
        await self.identity.revocations.load()
        await self.shared.broker.start(self._deliver, self._lost)
        stack.push_async_callback(self.shared.broker.close)
        stack.push_async_callback(self.shared.leave)
        await stack.enter_async_context(_running(self.shared.run))
        stack.push_async_callback(self.identity.directory.close)
        if self.settings.metrics_port is not None:
            stack.enter_context(_metrics_on(self.settings.host, self.settings.metrics_port))
        await self.workshop.start()
        for loop in (
            self.security.run,
            self.relay.run,
            self.signals.run,
            *self.upkeep.loops(),
            *self.workshop.loops(),
        ):
            await stack.enter_async_context(_running(loop))
        stack.push_async_callback(self.surfaces.close)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def serve(self, ready: Callable[[int], None]) -> None:
        """Listen until a signal comes; ``ready`` is told the port. Returns when everything is released."""
        settings = self.settings
        limits = Limits(
            connections=settings.max_connections,
            header_bytes=settings.max_header_bytes,
            body_bytes=settings.max_body_bytes,
            head_seconds=settings.handshake_timeout,
            body_seconds=settings.body_timeout,
        )
        config = configure(
            self.surfaces.api,
            host=settings.host,
            port=settings.port,
            limits=limits,
            wheel=self.wheel,
            mounts={PATH: self.surfaces.sockets},
            https=settings.public_https,
        )
        await Server(config, self.drain, ready).serve()

    async def drain(self, hurry: asyncio.Event) -> None:
        """Refuse what is new, tell clients when to come back, and release them over the window."""
        self.draining = True
        seconds = self.settings.drain_seconds
        sessions = self.hub.sessions()
        _log.info("draining", sessions=len(sessions), seconds=seconds)
        await asyncio.gather(release(sessions, seconds, hurry), self.workshop.drain(seconds, hurry))
        self.surfaces.sockets.close()
        await self.relay.flushed()

    def _deliver(self, published: Published) -> None:
        if published.channel == SIGNALS:
            self.signals.hear(published)
        else:
            self.hub.deliver(published)

    def _lost(self, channel: Channel) -> None:
        if channel != SIGNALS:
            self.hub.lost(channel)

    async def _check_schema(self) -> None:
        """SQLite is ours alone and is migrated; a PostgreSQL that is out of date is somebody's to migrate."""
        if self.settings.database.startswith("sqlite"):
            await migrate.upgrade(self.settings.database)
            return
        async with self.database.read() as tx:
            if not await migrate.is_current(tx):
                raise OutOfDateError

    async def _store_security(self, events: Sequence[SecurityEvent]) -> None:
        async with self.database.write() as tx:
            await audit_store.insert(tx, events)


class OutOfDateError(RuntimeError):
    """The database's tables are not those of this version: run ``tidings migrate``."""


@contextlib.contextmanager
def _metrics_on(host: str, port: int) -> Iterator[None]:
    """A port that serves the metrics and nothing else."""
    server, thread = start_http_server(port, host, metrics.REGISTRY)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _note_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.critical("a loop has ended, restart this node", exc_info=task.exception())


@contextlib.asynccontextmanager
async def _running(loop: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """A task that lives as long as the block. One that fails before is a fault of ours, and is told at once."""
    task = asyncio.create_task(loop())
    task.add_done_callback(_note_end)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
