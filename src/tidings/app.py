"""The composition root: everything long-lived of a process is built here, started and stopped in order.

Start: database, broker, relay, worker, listening socket. Stop: the other way round, after a drain in which
clients are told to come back and accepted work is finished or handed back.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Iterator,
    Sequence,
)
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Self

import structlog
from prometheus_client import start_http_server

from tidings import metrics
from tidings.api.app import build as build_api
from tidings.api.services import Services as ApiServices
from tidings.delivery import retention
from tidings.delivery.audit import SecurityLog
from tidings.delivery.drain import release
from tidings.delivery.inbox import Inbox
from tidings.delivery.once import once
from tidings.delivery.recovery import Recovery
from tidings.delivery.relay import Relay
from tidings.delivery.subscribe import Subscriptions
from tidings.domain import strictjson
from tidings.domain.audit import SecurityEvent
from tidings.domain.errors import CloseReason, TidingsError
from tidings.domain.ids import new_id
from tidings.hub.hub import Hub
from tidings.hub.wheel import Wheel
from tidings.identity.limiter import TokenBucket
from tidings.jobs import demo
from tidings.jobs.kinds import REGISTRY
from tidings.jobs.reaper import Reaper
from tidings.jobs.requests import Jobs
from tidings.jobs.worker import Limits as WorkerLimits
from tidings.jobs.worker import Worker
from tidings.reception import Reception
from tidings.settings import Settings
from tidings.sharing import sharing
from tidings.store import audit as audit_store
from tidings.store import migrate
from tidings.store.database import Database
from tidings.transports.background import Background
from tidings.transports.server import Server, configure
from tidings.transports.site import Limits as WireLimits
from tidings.transports.socketio.connection import Terms as SocketTerms
from tidings.transports.socketio.conversation import Conversation, Offer
from tidings.transports.socketio.door import Door, Doorkeeper
from tidings.transports.socketio.endpoint import PATH, Endpoint
from tidings.transports.socketio.notifications import NAMESPACE, Notifications
from tidings.transports.socketio.notifications import Services as SocketServices
from tidings.transports.sse.endpoint import Services as StreamServices
from tidings.transports.sse.endpoint import Streams
from tidings.transports.sse.stream import StreamTerms

_TICK_SECONDS = 0.05
_TIDY_SECONDS = 1.0

_log = structlog.stdlib.get_logger("tidings")


class Node:
    """One process of Tidings: an async context in which it is started, and ``serve``, which listens."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.node_id = secrets.token_hex(4)
        self.draining = False
        self.database = Database(settings.database)
        self.shared = sharing(settings)
        self.broker = self.shared.broker
        self._degraded = False
        self.hub = Hub(self.broker.subscribe, self.broker.unsubscribe, self.broker.position)
        self.relay = Relay(self.database, self.broker)
        self.security = SecurityLog(self.node_id, self._store_security)
        self.identity = Reception(settings, self.database, self.security, self.shared)
        self.inbox = Inbox(self.database, self.relay)
        if not settings.production:
            demo.register(REGISTRY)
        self.worker = self._worker() if settings.runs_jobs else None
        self.jobs = Jobs(self.database, self.relay, REGISTRY, self._wake, self._cancel_hint)
        self.subscriptions = Subscriptions(self.hub, self.broker, self.relay, self.jobs.get)
        self.wheel = Wheel(time.monotonic(), resolution=_TICK_SECONDS)
        self.background = Background()
        self.sockets = self._sockets()
        self.streams = Streams(self._stream_services(), self._stream_terms)
        self.api = build_api(self._api_services(), self.streams.routes())
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
        await self.broker.start(self.hub.deliver, self.hub.lost)
        stack.push_async_callback(self.broker.close)
        stack.push_async_callback(self.shared.leave)
        await stack.enter_async_context(_running(self.shared.run))
        stack.push_async_callback(self.identity.directory.close)
        stack.push_async_callback(self.inbox.close)
        if self.settings.metrics_port is not None:
            stack.enter_context(_metrics_on(self.settings.host, self.settings.metrics_port))
        for loop in (self.security.run, self.relay.run, self._tick, self._tidy, self._watch, self._retain):
            await stack.enter_async_context(_running(loop))
        await self.jobs.start()
        if self.worker is not None:
            reaper = Reaper(self.database, self.relay, self._wake)
            await stack.enter_async_context(_running(reaper.run))
            await stack.enter_async_context(_running(self.worker.run))
        stack.push_async_callback(self.background.close)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def serve(self, ready: Callable[[int], None]) -> None:
        """Listen until a signal comes; ``ready`` is told the port. Returns when everything is released."""
        settings = self.settings
        limits = WireLimits(
            connections=settings.max_connections,
            header_bytes=settings.max_header_bytes,
            body_bytes=settings.max_body_bytes,
            head_seconds=settings.handshake_timeout,
            body_seconds=settings.body_timeout,
        )
        config = configure(
            self.api,
            host=settings.host,
            port=settings.port,
            limits=limits,
            wheel=self.wheel,
            mounts={PATH: self.sockets},
            https=settings.public_https,
        )
        await Server(config, self.drain, ready).serve()

    async def drain(self, hurry: asyncio.Event) -> None:
        """Refuse what is new, tell clients when to come back, and release them over the window."""
        self.draining = True
        handing_back = None if self.worker is None else asyncio.create_task(self._drain_worker(hurry))
        sessions = self.hub.sessions()
        _log.info("draining", sessions=len(sessions), seconds=self.settings.drain_seconds)
        await release(sessions, self.settings.drain_seconds, hurry)
        if handing_back is not None:
            await handing_back
        self.sockets.close()
        await self.relay.flushed()

    async def _drain_worker(self, hurry: asyncio.Event) -> None:
        assert self.worker is not None
        drained = asyncio.create_task(self.worker.drain(self.settings.drain_seconds))
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait([drained, hurried], return_when=asyncio.FIRST_COMPLETED)
        if not drained.done():
            await self.worker.drain(0.0)
        hurried.cancel()
        await drained

    def _wake(self) -> None:
        if self.worker is not None:
            self.worker.wake()

    def _cancel_hint(self, job_id: str) -> None:
        if self.worker is not None:
            self.worker.cancel_hint(job_id)

    def _worker(self) -> Worker:
        settings = self.settings
        limits = WorkerLimits(
            concurrency=settings.job_concurrency,
            lease=settings.job_lease_seconds,
            timeout=settings.job_timeout,
            grace=settings.job_cancel_grace,
        )
        return Worker(self.database, self.relay, REGISTRY, f"{self.node_id}-{new_id()}", limits)

    def _api_services(self) -> ApiServices:
        settings = self.settings
        token = settings.metrics_token
        return ApiServices(
            admission=self.identity.admission,
            inbox=self.inbox,
            relay=self.relay,
            jobs=self.jobs,
            once=partial(once, self.database),
            limiter=self.identity.rest_limiter,
            origins=self.identity.origins,
            peers=self.identity.peers,
            audit=self.security,
            ready={"database": self._database_answers, "broker": self._broker_works},
            draining=lambda: self.draining,
            metrics_open=not settings.production,
            metrics_token=None if token is None else token.get_secret_value(),
            public_https=settings.public_https,
            max_body_bytes=settings.max_body_bytes,
            max_json_depth=settings.max_json_depth,
        )

    async def _database_answers(self) -> bool:
        try:
            await self.database.ping()
        except TidingsError:
            return False
        return True

    async def _broker_works(self) -> bool:
        return self.broker.healthy()

    def _sockets(self) -> Endpoint:
        settings = self.settings
        services = SocketServices(
            authenticator=self.identity.authenticator,
            recovery=Recovery(self.subscriptions, self.shared.records, jobs=settings.max_streams_per_user),
            inbox=self.inbox,
            limiter=self.identity.socket_limiter,
            slots=self.identity.users,
            per_user=settings.max_connections_per_user,
            audit=self.security,
            reformat=self.hub.reformat,
        )
        offer = Offer(
            namespaces={NAMESPACE: Notifications(services)},
            names=frozenset({NAMESPACE}),
            spawn=self.background.spawn,
            max_attachments=0,
        )
        terms = SocketTerms(
            wheel=self.wheel,
            ping_interval=settings.ping_interval,
            ping_timeout=settings.ping_timeout,
            connect_timeout=settings.auth_timeout,
            write_timeout=settings.write_timeout,
            lifetime=settings.connection_lifetime,
            max_payload=settings.max_message_bytes,
            outbox_bytes=settings.outbox_bytes,
        )
        return Endpoint(partial(Conversation, offer), terms, Door(self._doorkeeper(), self.security))

    def _doorkeeper(self) -> Doorkeeper:
        settings = self.settings
        return Doorkeeper(
            path=PATH,
            origins=self.identity.origins,
            peers=self.identity.peers,
            bucket=TokenBucket(settings.handshake_rate, settings.handshake_rate),
            slots=self.identity.addresses,
            per_ip=settings.max_connections_per_ip,
            capacity=settings.max_connections,
            allow_v3=settings.allow_eio3,
            draining=lambda: self.draining,
        )

    def _stream_services(self) -> StreamServices:
        return StreamServices(
            admission=self.identity.admission,
            subscriptions=self.subscriptions,
            inbox=self.inbox,
            origins=self.identity.origins,
            audit=self.security,
            streams=self.identity.streams,
            addresses=self.identity.addresses,
            per_user=self.settings.max_streams_per_user,
            per_ip=self.settings.max_connections_per_ip,
            spawn=self.background.spawn,
        )

    def _stream_terms(self, streams: Streams) -> StreamTerms:
        settings = self.settings
        return StreamTerms(
            wheel=self.wheel,
            heard=self.hub.heard,
            gone=streams.gone,
            heartbeat=settings.heartbeat,
            idle_timeout=settings.stream_idle_timeout,
            write_timeout=settings.write_timeout,
            outbox_bytes=settings.outbox_bytes,
        )

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

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            self.wheel.advance(time.monotonic())

    async def _tidy(self) -> None:
        """What has to be looked after once a second."""
        while True:
            await asyncio.sleep(_TIDY_SECONDS)
            try:
                await self.hub.tidy()
                await self.relay.measure()
                if await self.identity.revocations.load():
                    self._end_revoked()
            except TidingsError as fault:
                _log.warning("the database does not answer", reason=str(fault))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_TIDY_SECONDS)
            await self._watch_broker()

    async def _watch_broker(self) -> None:
        """Tell clients when events are late because the broker is away, and when they come again."""
        healthy = self.broker.healthy()
        metrics.broker_healthy.set(healthy)
        metrics.redis_connections.set(self.shared.connections())
        if healthy is not self._degraded:
            return
        self._degraded = not healthy
        _log.warning("broker", healthy=healthy)
        if healthy:
            await self.shared.returned()
            self.relay.kick()
        state = strictjson.dumps({"state": "ok" if healthy else "degraded"})
        for session in self.hub.sessions():
            session.wire.tell("system:status", state)

    async def _retain(self) -> None:
        while True:
            try:
                await retention.sweep(self.database, self.settings.audit_days)
            except TidingsError as fault:
                _log.warning("retention waits for the database", reason=str(fault))
            await asyncio.sleep(retention.EVERY_SECONDS)

    def _end_revoked(self) -> None:
        for session in self.hub.sessions():
            if self.identity.revocations.ends(session.principal):
                session.wire.close(CloseReason.REVOKED)


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
