"""What clients touch: Socket.IO, event streams and REST, each with all that it is built on.

A page of the composition root: like ``app`` it may import everything, and only ``app`` imports it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tidings import metrics
from tidings.api.app import build as build_api
from tidings.api.services import AdminServices
from tidings.api.services import Services as ApiServices
from tidings.artifacts.base import Storage
from tidings.cluster.vitals import Vitals
from tidings.console import routes as console
from tidings.console.session import Services as ConsoleServices
from tidings.crew.metrics import summed
from tidings.delivery.administer import Administration
from tidings.delivery.audit import SecurityLog
from tidings.delivery.inbox import Inbox
from tidings.delivery.once import at_a_stroke, once
from tidings.delivery.orders import Orders
from tidings.delivery.recovery import Recovery
from tidings.delivery.relay import Relay
from tidings.delivery.status import Status
from tidings.delivery.subscribe import Subscriptions
from tidings.domain.crew import Crew
from tidings.domain.errors import TidingsError
from tidings.domain.problem import HSTS
from tidings.hub.hub import Hub
from tidings.hub.wheel import Wheel
from tidings.identity.limiter import TokenBucket
from tidings.jobs.external import External
from tidings.jobs.requests import Jobs
from tidings.reception import Reception
from tidings.settings import Settings
from tidings.sharing import Sharing
from tidings.store.database import Database
from tidings.transports.background import Background
from tidings.transports.socketio.connection import Terms as SocketTerms
from tidings.transports.socketio.conversation import Conversation, Offer
from tidings.transports.socketio.door import Door, Doorkeeper
from tidings.transports.socketio.endpoint import PATH, Endpoint
from tidings.transports.socketio.notifications import NAMESPACE, Notifications
from tidings.transports.socketio.notifications import Services as SocketServices
from tidings.transports.sse.endpoint import Services as StreamServices
from tidings.transports.sse.endpoint import Streams
from tidings.transports.sse.stream import StreamTerms


@dataclass(frozen=True, slots=True)
class Ground:
    """What all surfaces stand on."""

    settings: Settings
    database: Database
    shared: Sharing
    hub: Hub
    relay: Relay
    security: SecurityLog
    identity: Reception
    jobs: Jobs
    orders: Orders
    external: External
    files: Storage
    wheel: Wheel
    draining: Callable[[], bool]
    crew: Crew | None
    status: Status
    vitals: Vitals


class Surfaces:
    """``sockets`` is mounted below ASGI, ``api`` takes the rest, streams among it."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._inbox = Inbox(ground.database, ground.relay)
        self._subscriptions = Subscriptions(ground.hub, ground.shared.broker, ground.relay, ground.jobs.get)
        self._background = Background()
        self.sockets = self._sockets()
        self.streams = Streams(self._stream_services(), self._stream_terms)
        pages = console.routes(self._console_services())
        self.api = build_api(self._api_services(), [*self.streams.routes(), *pages])

    async def close(self) -> None:
        """End what is still being done for clients."""
        await self._background.close()
        await self._inbox.close()

    def _sockets(self) -> Endpoint:
        ground, settings = self._ground, self._ground.settings
        services = SocketServices(
            authenticator=ground.identity.authenticator,
            recovery=Recovery(self._subscriptions, ground.shared.records, jobs=settings.max_streams_per_user),
            inbox=self._inbox,
            limiter=ground.identity.socket_limiter,
            slots=ground.identity.users,
            per_user=settings.max_connections_per_user,
            audit=ground.security,
            reformat=ground.hub.reformat,
            status=ground.status.greeting,
        )
        offer = Offer(
            namespaces={NAMESPACE: Notifications(services)},
            names=frozenset({NAMESPACE}),
            spawn=self._background.spawn,
            max_attachments=0,
        )
        terms = SocketTerms(
            wheel=ground.wheel,
            ping_interval=settings.ping_interval,
            ping_timeout=settings.ping_timeout,
            connect_timeout=settings.auth_timeout,
            write_timeout=settings.write_timeout,
            lifetime=settings.connection_lifetime,
            max_payload=settings.max_message_bytes,
            outbox_bytes=settings.outbox_bytes,
        )
        return Endpoint(
            partial(Conversation, offer), terms, Door(self._doorkeeper(), ground.security), ground.crew
        )

    def _doorkeeper(self) -> Doorkeeper:
        ground, settings = self._ground, self._ground.settings
        return Doorkeeper(
            path=PATH,
            origins=ground.identity.origins,
            peers=ground.identity.peers,
            bucket=TokenBucket(settings.handshake_rate, settings.handshake_rate),
            slots=ground.identity.addresses,
            per_ip=settings.max_connections_per_ip,
            capacity=settings.max_connections,
            allow_v3=settings.allow_eio3,
            draining=ground.draining,
        )

    def _stream_services(self) -> StreamServices:
        ground = self._ground
        return StreamServices(
            admission=ground.identity.admission,
            subscriptions=self._subscriptions,
            inbox=self._inbox,
            origins=ground.identity.origins,
            audit=ground.security,
            streams=ground.identity.streams,
            addresses=ground.identity.addresses,
            per_user=ground.settings.max_streams_per_user,
            per_ip=ground.settings.max_connections_per_ip,
            headers=(HSTS,) if ground.settings.public_https else (),
            spawn=self._background.spawn,
        )

    def _stream_terms(self, streams: Streams) -> StreamTerms:
        ground, settings = self._ground, self._ground.settings
        return StreamTerms(
            wheel=ground.wheel,
            heard=ground.hub.heard,
            gone=streams.gone,
            heartbeat=settings.heartbeat,
            idle_timeout=settings.stream_idle_timeout,
            write_timeout=settings.write_timeout,
            outbox_bytes=settings.outbox_bytes,
        )

    def _api_services(self) -> ApiServices:
        ground, settings = self._ground, self._ground.settings
        token = settings.metrics_token
        return ApiServices(
            admission=ground.identity.admission,
            inbox=self._inbox,
            relay=ground.relay,
            jobs=ground.jobs,
            external=ground.external,
            files=ground.files,
            once=partial(once, ground.database),
            at_a_stroke=partial(at_a_stroke, ground.database),
            limiter=ground.identity.rest_limiter,
            report_limiter=ground.identity.report_limiter,
            origins=ground.identity.origins,
            peers=ground.identity.peers,
            audit=ground.security,
            admin=AdminServices(
                verbs=Administration(ground.database, ground.orders),
                vitals=ground.vitals,
                nodes=ground.shared.nodes,
                node=ground.shared.node,
            ),
            ready={"database": self._database_answers, "broker": self._broker_works},
            draining=ground.draining,
            metrics=metrics.REGISTRY if ground.crew is None else summed(ground.crew),
            metrics_open=not settings.production,
            metrics_token=None if token is None else token.get_secret_value(),
            public_https=settings.public_https,
            max_body_bytes=settings.max_body_bytes,
            max_json_depth=settings.max_json_depth,
        )

    def _console_services(self) -> ConsoleServices:
        identity = self._ground.identity
        return ConsoleServices(
            admission=identity.admission,
            audit=self._ground.security,
            limiter=identity.console_limiter,
            own_origins=self._ground.settings.own_origins,
            cookie_name=identity.cookie_name,
        )

    async def _database_answers(self) -> bool:
        try:
            await self._ground.database.ping()
        except TidingsError:
            return False
        return True

    async def _broker_works(self) -> bool:
        return self._ground.shared.broker.healthy()
