"""The way into event streams: everything is checked before the stream opens, and given back when it ends.

``/jobs/{id}/events`` for a job's owner, ``/notifications/events`` for a user's inbox. The response is written
to the transport that the HTTP connection hands over, so an open stream has no task and no ASGI call.
"""

import random
import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tidings import metrics
from tidings.delivery.admit import Admission, Admitted
from tidings.delivery.admit import Request as Asked
from tidings.delivery.audit import SecurityLog
from tidings.delivery.inbox import Inbox
from tidings.delivery.resume import Frames
from tidings.delivery.subscribe import Start, Subscriptions
from tidings.domain import strictjson
from tidings.domain.audit import Peer, SecurityEventType
from tidings.domain.errors import CloseReason, ErrorCode, TidingsError
from tidings.domain.ids import is_id
from tidings.domain.people import Principal
from tidings.hub.session import Format, Session
from tidings.identity.limiter import Addresses, Slots, ip_key, stream_key
from tidings.identity.origins import Origins
from tidings.transports.http import TAKE_OVER, TakenOver
from tidings.transports.sse import frame
from tidings.transports.sse.stream import Stream, StreamTerms

TRANSPORT = "sse"
_RETRY_MS = (1000, 3000)
_BUSY_SECONDS = 10
_AUDITED = {
    CloseReason.TOKEN_EXPIRED: SecurityEventType.TOKEN_EXPIRED,
    CloseReason.REVOKED: SecurityEventType.TOKEN_REVOKED,
}


@dataclass(frozen=True, slots=True)
class Services:
    """What streams are built on. ``addresses`` are shared with the sockets, ``streams`` are not. ``headers`` are
    those of every stream's response.
    """

    admission: Admission
    subscriptions: Subscriptions
    inbox: Inbox
    origins: Origins
    audit: SecurityLog
    streams: Slots
    addresses: Addresses
    per_user: int
    per_ip: int
    headers: Sequence[tuple[str, str]]
    spawn: Callable[[Coroutine[Any, Any, None]], object]


@dataclass(frozen=True, slots=True)
class _Visit:
    """One request for a stream, from its admission to the end of what it took."""

    admitted: Admitted
    peer: Peer
    request_id: str
    kind: str
    began: float

    @property
    def principal(self) -> Principal:
        return self.admitted.principal


class Streams:
    """Opens streams and knows those that are open."""

    def __init__(self, services: Services, terms: Callable[["Streams"], StreamTerms]) -> None:
        self._services = services
        self._frames = Frames()
        self._visits: dict[Stream, _Visit] = {}
        self._peak = 0
        self._terms = terms(self)

    def __len__(self) -> int:
        return len(self._visits)

    def routes(self) -> list[Route]:
        routes = [
            Route("/jobs/{job_id}/events", self.job, methods=["GET"], name="job events"),
            Route("/notifications/events", self.inbox, methods=["GET"], name="notification events"),
        ]
        for route in routes:
            # Starlette adds HEAD to every GET, but the head of an endless answer is of no use.
            (route.methods or set()).discard("HEAD")
        return routes

    async def job(self, request: Request) -> Response:
        """``GET /jobs/{jobId}/events`` (contract, section 5)."""
        job_id = request.path_params["job_id"]

        async def begin(session: Session, last_event_id: str | None) -> Start:
            if not is_id(job_id):
                raise TidingsError(ErrorCode.NOT_FOUND)
            return await self._services.subscriptions.job(session, job_id, last_event_id)

        return await self._open(request, "job", frame.JOB, begin)

    async def inbox(self, request: Request) -> Response:
        """``GET /notifications/events`` (contract, section 5)."""

        async def begin(session: Session, last_event_id: str | None) -> Start:
            return await self._services.subscriptions.inbox(session, last_event_id)

        return await self._open(request, "inbox", frame.INBOX, begin)

    def gone(self, stream: Stream, reason: CloseReason) -> None:
        """A stream has ended: give everything back."""
        visit = self._visits.pop(stream)
        metrics.streams_active.labels(visit.kind).dec()
        metrics.connections_active.labels(TRANSPORT).dec()
        metrics.connections_closed.labels(TRANSPORT, reason.name).inc()
        metrics.connection_seconds.labels(TRANSPORT).observe(time.monotonic() - visit.began)
        if stream.session is not None:
            self._services.subscriptions.leave(stream.session)
            stream.session = None
        event = _AUDITED.get(reason)
        if event is not None:
            self._write(event, visit, reason.text)
        self._write(SecurityEventType.SSE_DISCONNECT, visit, reason.text)
        self._services.spawn(self._give_back(visit))

    async def _open(
        self,
        request: Request,
        kind: str,
        wire_format: Format,
        begin: Callable[[Session, str | None], Coroutine[Any, Any, Start]],
    ) -> Response:
        metrics.connection_attempts.labels(TRANSPORT).inc()
        visit = await self._admit(request, kind)
        stream = Stream(self._terms, _until(visit.principal))
        session = Session(secrets.token_urlsafe(15), visit.principal, stream, stream.outbox, wire_format)
        stream.session = session
        try:
            last_event_id = _last_event_id(request)
            start = await begin(session, last_event_id)
            session.principal = await self._services.admission.confirm(
                visit.principal, visit.peer, visit.request_id
            )
            if not start.silent:
                opening = await self._opening(session, start, last_event_id)
                self._begin(request, stream, visit, start, opening)
                return _Nothing()
        except BaseException as fault:
            await self._turn_away(session, visit)
            if isinstance(fault, TidingsError):
                metrics.connections_failed.labels(TRANSPORT, fault.code.name).inc()
            elif isinstance(fault, ConnectionResetError):
                return _Nothing()
            raise
        await self._turn_away(session, visit)
        return Response(status_code=204, headers={"Cache-Control": "no-store"})

    async def _turn_away(self, session: Session, visit: _Visit) -> None:
        self._services.subscriptions.leave(session)
        await self._give_back(visit)

    async def _admit(self, request: Request, kind: str) -> _Visit:
        services = self._services
        state, path = request.scope["state"], request.scope["path"]
        peer: Peer = state["peer"]
        query = request.scope["query_string"].decode("latin-1")
        asked = Asked(request.scope["headers"], query, peer, state["request_id"])
        admitted = await services.admission.admit_stream(asked, path)
        visit = _Visit(admitted, peer, state["request_id"], kind, time.monotonic())
        if peer.ip is not None and not services.addresses.take(ip_key(peer.ip), services.per_ip):
            await services.admission.close_ticket(admitted)
            raise self._full(visit, "connections per address")
        if not await services.streams.acquire(stream_key(visit.principal.user_id), services.per_user):
            if peer.ip is not None:
                services.addresses.give(ip_key(peer.ip))
            await services.admission.close_ticket(admitted)
            raise self._full(visit, "streams per user")
        return visit

    def _full(self, visit: _Visit, reason: str) -> TidingsError:
        self._write(SecurityEventType.CONNECTION_LIMIT_EXCEEDED, visit, reason)
        metrics.connections_failed.labels(TRANSPORT, ErrorCode.TOO_MANY_CONNECTIONS.name).inc()
        return TidingsError(ErrorCode.TOO_MANY_CONNECTIONS, retry_after=_BUSY_SECONDS)

    async def _give_back(self, visit: _Visit) -> None:
        if visit.peer.ip is not None:
            self._services.addresses.give(ip_key(visit.peer.ip))
        self._services.streams.give(stream_key(visit.principal.user_id))
        await self._services.admission.close_ticket(visit.admitted)

    async def _opening(self, session: Session, start: Start, last_event_id: str | None) -> bytes:
        """What the stream begins with: how things stand."""
        parts = [frame.retry(random.randint(*_RETRY_MS))]  # noqa: S311  jitter is no secret
        if session.format is frame.INBOX:
            unread = await self._services.inbox.unread(session.principal)
            ready = strictjson.dumps({"type": "ready", "unread": unread.to_json()})
            # Who resumes has not gone on by being greeted.
            position = last_event_id if start.resumed and last_event_id else str(start.cursor)
            parts.append(frame.event(ready, position))
        if start.first is not None:
            parts.append(frame.event(strictjson.dumps(start.first), str(start.cursor)))
        return b"".join(parts)

    def _begin(self, request: Request, stream: Stream, visit: _Visit, start: Start, opening: bytes) -> None:
        """From here on the stream is responsible for what the visit took; nothing before raises half-way."""
        if stream.ending is not None or stream.session is None:
            raise TidingsError(ErrorCode.UNAVAILABLE, retry_after=_BUSY_SECONDS)
        taken: TakenOver = request.scope["extensions"][TAKE_OVER](stream)
        cors = self._services.origins.cors_headers(visit.peer.origin)
        extra = [
            *taken.headers,
            (b"X-Request-Id", visit.request_id.encode()),
            *((name.encode(), value.encode()) for name, value in (*self._services.headers, *cors)),
        ]
        self._visits[stream] = visit
        self._peak = max(self._peak, len(self))
        metrics.connections_peak.labels(TRANSPORT).set(self._peak)
        metrics.streams_active.labels(visit.kind).inc()
        metrics.connections_active.labels(TRANSPORT).inc()
        self._write(SecurityEventType.AUTHENTICATION_SUCCESS, visit, None)
        self._write(SecurityEventType.SSE_CONNECT, visit, None)
        missed = self._frames.of(stream.session.format, start.missed)
        stream.begin(taken, frame.head(extra) + opening, missed)
        if start.over:
            stream.close(CloseReason.COMPLETED)
        elif not self._services.subscriptions.release(stream.session, start):
            stream.close(CloseReason.SLOW_CONSUMER)

    def _write(self, event: SecurityEventType, visit: _Visit, reason: str | None) -> None:
        self._services.audit.write(
            event, peer=visit.peer, principal=visit.principal, request_id=visit.request_id, reason=reason
        )


class _Nothing(Response):
    """The response of a request whose transport is a stream's now: nothing is left to send."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        return


def _until(principal: Principal) -> float:
    return time.monotonic() + principal.expires_at - time.time()


def _last_event_id(request: Request) -> str | None:
    return request.headers.get("last-event-id") or None
