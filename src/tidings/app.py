"""The composition root: everything long-lived of a process is built here, started and stopped in order.

Its other pages: ``sharing`` (what nodes have in common), ``reception`` (who is it), ``workshop`` (jobs),
``surfaces`` (what clients touch) and ``upkeep`` (what is looked after again and again).

Start: database, broker, relay, worker, listening socket. Stop: the other way round, after a drain in which
clients are told to come back and accepted work is finished or handed back.
"""

import asyncio
import gc
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Self

import structlog

from tidings import metrics
from tidings.cluster.vitals import Vitals
from tidings.crew.metrics import telling
from tidings.crew.port import on_port
from tidings.delivery.audit import SecurityLog
from tidings.delivery.drain import release
from tidings.delivery.enforcement import Enforcement
from tidings.delivery.orders import Orders
from tidings.delivery.relay import Relay
from tidings.delivery.signals import Signals
from tidings.delivery.status import Status
from tidings.domain.audit import SecurityEvent
from tidings.domain.channel import SIGNALS, Channel
from tidings.domain.crew import Crew
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
from tidings.transports.handover import Handover
from tidings.transports.last_resort import LastResort
from tidings.transports.server import Berth, Server, configure
from tidings.transports.site import Limits
from tidings.transports.socketio.endpoint import PATH
from tidings.upkeep import TICK_SECONDS, Upkeep, kept_running
from tidings.workshop import Workshop

_log = structlog.stdlib.get_logger("tidings")


class Node:
    """One process of Tidings: an async context in which it is started, and ``serve``, which listens."""

    def __init__(self, settings: Settings, crew: Crew | None = None) -> None:
        self.settings = settings
        self.crew = crew
        self.node_id = secrets.token_hex(4)
        self.draining = False
        self.database = Database(settings.database)
        self.vitals = Vitals(self.node_id, 0 if crew is None else crew.number, lambda: self.draining)
        self.shared = sharing(settings, self.vitals)
        broker = self.shared.broker
        self.hub = Hub(broker.subscribe, broker.unsubscribe, broker.position)
        self.relay = Relay(self.database, broker)
        self.signals = Signals(broker)
        self.security = SecurityLog(self.node_id, self._store_security)
        self.identity = Reception(settings, self.database, self.security, self.shared)
        self.workshop = Workshop(settings, self.database, self.relay, self.signals, self.node_id)
        self.status = Status()
        self.wheel = Wheel(time.monotonic(), resolution=TICK_SECONDS)
        self.enforcement = Enforcement(
            self.node_id,
            self.database,
            self.hub,
            self.identity.directory,
            self.identity.revocations,
            self.security,
            self._stop_serving,
        )
        self.orders = Orders(self.database, self.signals, self.enforcement)
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
                orders=self.orders,
                external=self.workshop.external,
                files=self.workshop.files,
                wheel=self.wheel,
                draining=lambda: self.draining,
                crew=crew,
                status=self.status,
                vitals=self.vitals,
            )
        )
        self.upkeep = Upkeep(
            settings,
            self.database,
            self.shared,
            self.hub,
            self.relay,
            self.enforcement,
            self.wheel,
            self.status,
        )
        self._server: Server | None = None
        self._ordered_to_end = False
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
        await self.orders.start()
        await self.identity.revocations.load()
        await self.shared.broker.start(self._deliver, self._lost)
        stack.push_async_callback(self.shared.broker.close)
        stack.push_async_callback(self.shared.leave)
        await stack.enter_async_context(kept_running(self.shared.run))
        stack.push_async_callback(self.identity.directory.close)
        if self.crew is not None:
            await stack.enter_async_context(telling(self.crew.metrics(self.crew.number)))
        elif self.settings.metrics_port is not None:
            host, port, token = self.settings.host, self.settings.metrics_port, self.settings.metrics_token
            stack.enter_context(on_port(host, port, metrics.REGISTRY, token))
        await self.workshop.start()
        for loop in (
            self.security.run,
            self.relay.run,
            self.signals.listen,
            self.orders.run,
            *self.identity.loops(),
            *self.upkeep.loops(),
            *self.workshop.loops(),
        ):
            await stack.enter_async_context(kept_running(loop))
        stack.push_async_callback(self.surfaces.close)
        # What was imported and built stays for good: looking through it for garbage stops everything for 0.1 s.
        gc.collect()
        gc.freeze()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def serve(
        self,
        ready: Callable[[int], None],
        berth: Berth | None = None,
        last_resort: LastResort | None = None,
    ) -> None:
        """Listen until a signal or an order comes, or with a berth its steering says so.

        ``ready`` is told the port. Returns when everything is released.
        """
        settings = self.settings
        limits = Limits(
            connections=settings.max_connections,
            header_bytes=settings.max_header_bytes,
            body_bytes=settings.max_body_bytes,
            head_seconds=settings.handshake_timeout,
            body_seconds=settings.body_timeout,
        )
        handover = None if self.crew is None else Handover(self.crew)
        config = configure(
            self.surfaces.api,
            host=settings.host,
            port=settings.port,
            limits=limits,
            wheel=self.wheel,
            mounts={PATH: self.surfaces.sockets},
            https=settings.public_https,
            handover=handover,
        )

        def serving(port: int) -> None:
            ready(port)
            self._server = server
            if self._ordered_to_end:
                server.depart()

        server = Server(config, self.drain, serving, handover, berth, last_resort)
        await server.serve()

    async def drain(self, hurry: asyncio.Event) -> None:
        """Refuse what is new, tell clients when to come back, and release them over the window."""
        self.draining = True
        self.surfaces.sockets.turn_away()
        seconds = self.settings.drain_seconds
        sessions = self.hub.sessions()
        _log.info("draining", sessions=len(sessions), seconds=seconds)
        await asyncio.gather(release(sessions, seconds, hurry), self.workshop.drain(seconds, hurry))
        self.surfaces.sockets.close()
        await self.relay.flushed()

    def _stop_serving(self) -> None:
        """As a signal would. A node is known to others, and may be ordered to end, before it serves."""
        self._ordered_to_end = True
        if self._server is not None:
            self._server.depart()

    def _deliver(self, published: Published) -> None:
        if published.channel.tenant == SIGNALS:
            self.signals.hear(published)
        else:
            self.hub.deliver(published)

    def _lost(self, channel: Channel) -> None:
        if channel.tenant != SIGNALS:
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
