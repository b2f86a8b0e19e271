"""The namespace ``/notifications``: who gets in, and what each client event does (contract, section 4)."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from tidings import metrics
from tidings.delivery.audit import SecurityLog
from tidings.delivery.authenticate import Authenticator
from tidings.delivery.forms import (
    CreateNotification,
    ListNotifications,
    MarkRead,
    Nothing,
    RefreshToken,
    SubscribeJob,
    UnsubscribeJob,
    fill,
)
from tidings.delivery.inbox import Inbox
from tidings.delivery.recovery import Arrival, Recovery
from tidings.delivery.resume import Frames, Missed
from tidings.delivery.status import EVENT as STATUS
from tidings.delivery.subscribe import Start
from tidings.domain import strictjson
from tidings.domain.audit import SecurityEventType
from tidings.domain.clock import rfc3339
from tidings.domain.errors import CloseReason, ErrorCode, TidingsError
from tidings.domain.notification import Unread
from tidings.domain.people import Principal
from tidings.hub.session import Format, Session
from tidings.identity.credentials import single
from tidings.identity.limiter import Limiter, Slots, user_key
from tidings.identity.policy import rooms
from tidings.identity.rejection import CredentialConflict
from tidings.transports.socketio.conversation import Client, Refused

NAMESPACE = "/notifications"
WARN_SECONDS = 60.0
_ERROR = "notification:error"
_JOB = "job:event"
_OVER_LIMIT = "notification:rate-limit-exceeded"
_AUDITED = {
    CloseReason.TOKEN_EXPIRED: SecurityEventType.TOKEN_EXPIRED,
    CloseReason.REVOKED: SecurityEventType.TOKEN_REVOKED,
}

_log = structlog.stdlib.get_logger("tidings.socketio")
Handler = Callable[[Client, Session, Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Services:
    """What the namespace is built on."""

    authenticator: Authenticator
    recovery: Recovery
    inbox: Inbox
    limiter: Limiter
    slots: Slots
    per_user: int
    audit: SecurityLog
    reformat: Callable[[Session, Format], None]
    status: Callable[[], bytes | None]
    """What of the server's state a client has to hear that comes in, if anything."""


class Notifications:
    """The application side of ``/notifications``."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._frames = Frames()
        self._handlers: dict[str, Handler] = {
            "notification:create": self._create,
            "notification:mark-read": self._mark_read,
            "notification:mark-all-read": self._mark_all_read,
            "notification:list": self._list,
            "job:subscribe": self._subscribe,
            "job:unsubscribe": self._unsubscribe,
            "auth:refresh": self._refresh,
        }

    # Coming and going.

    async def connect(self, client: Client, auth: dict[str, Any] | None) -> None:
        """Authenticate, join, and welcome; nothing is delivered before all of it is done."""
        given = auth or {}
        try:
            principal = await self._authenticate(client, given.get("token"))
            await self._take_slot(client, principal)
        except TidingsError as error:
            raise self._refusal(client, error) from None
        session = Session(client.sid, principal, client, client.connection.outbox, client.format)
        client.session = session
        try:
            arrival = await self._services.recovery.connect(session, given.get("pid"), given.get("offset"))
            session.principal = await self._services.authenticator.confirm(
                session.principal, client.connection.peer, client_id=client.connection.id
            )
            unread = await self._services.inbox.unread(principal)
        except BaseException as fault:
            self._forget(session)
            if isinstance(fault, TidingsError):
                raise self._refusal(client, fault) from None
            raise
        self._welcome(client, session, arrival, unread)

    def malformed(self, client: Client) -> Refused:
        peer, client_id = client.connection.peer, client.connection.id
        error = self._services.authenticator.refuse("malformed_auth", peer, client_id=client_id)
        return self._refusal(client, error)

    def exposed(self, client: Client) -> Refused:
        self._services.audit.write(
            SecurityEventType.SECURITY_VIOLATION,
            peer=client.connection.peer,
            client_id=client.connection.id,
            reason="token_in_query",
        )
        return self._refusal(client, TidingsError(ErrorCode.UNAUTHENTICATED, detail="token_in_query"))

    def carried(self, client: Client) -> None:
        if client.session is not None:
            self._services.reformat(client.session, client.format)

    def expiring(self, client: Client) -> None:
        if client.session is not None:
            client.emit(
                "auth:expiring", strictjson.dumps({"expiresAt": _expires_at(client.session.principal)})
            )

    def left(self, client: Client, reason: CloseReason) -> None:
        if client.session is not None:
            event = _AUDITED.get(reason)
            if event is not None:
                self._write(event, client, client.session.principal, reason.text)
            self._forget(client.session)
            client.session = None

    # What clients ask for.

    async def event(self, client: Client, name: str, args: list[Any], ack: int | None) -> None:
        """Execute one event, unless the user has sent too many; errors are answered, never raised."""
        session = client.session
        assert session is not None
        if not await self._within_limit(client, session, ack):
            return
        try:
            result = await self._execute(client, session, name, args)
        except TidingsError as error:
            self._answer_error(client, error, ack)
        except Exception:  # noqa: BLE001  a fault of ours is answered as one, and the connection lives on
            _log.exception("event failed", clientId=client.sid, name=name[:64])
            self._answer_error(client, TidingsError(ErrorCode.INTERNAL_ERROR), ack)
        else:
            if ack is not None:
                client.acknowledge(ack, strictjson.dumps(result))

    async def _execute(self, client: Client, session: Session, name: str, args: list[Any]) -> Any:
        handler = self._handlers.get(name)
        if handler is None:
            raise TidingsError(ErrorCode.UNKNOWN_EVENT)
        if len(args) > 1:
            raise TidingsError(ErrorCode.VALIDATION_FAILED, "One object is expected")
        return await handler(client, session, args[0] if args else {})

    async def _create(self, client: Client, session: Session, data: Any) -> Any:
        form = fill(CreateNotification, data)
        try:
            notification = await self._services.inbox.notify(session.principal, form)
        except TidingsError as error:
            if error.code is ErrorCode.FORBIDDEN:
                self._write(
                    SecurityEventType.UNAUTHORIZED_ACCESS_ATTEMPT,
                    client,
                    session.principal,
                    "notification:create",
                )
            raise
        return notification.to_json()

    async def _mark_read(self, client: Client, session: Session, data: Any) -> Any:
        return _marked(*await self._services.inbox.mark_read(session.principal, fill(MarkRead, data).ids()))

    async def _mark_all_read(self, client: Client, session: Session, data: Any) -> Any:
        fill(Nothing, data)
        return _marked(*await self._services.inbox.mark_all_read(session.principal))

    async def _list(self, client: Client, session: Session, data: Any) -> Any:
        page = await self._services.inbox.page(session.principal, fill(ListNotifications, data))
        return {"items": [item.to_json() for item in page.items], "nextCursor": page.next_cursor}

    async def _subscribe(self, client: Client, session: Session, data: Any) -> Any:
        form = fill(SubscribeJob, data)
        start, place = await self._services.recovery.subscribe(session, form.job_id, form.last_event_id)
        if start.first is not None:
            client.emit(_JOB, strictjson.dumps(start.first), place)
        self._tell_missed(session, start.missed)
        self._release(client, session, start)
        return {"jobId": form.job_id, "lastEventId": place}

    async def _unsubscribe(self, client: Client, session: Session, data: Any) -> Any:
        form = fill(UnsubscribeJob, data)
        await self._services.recovery.unsubscribe(session, form.job_id)
        return {"jobId": form.job_id}

    async def _refresh(self, client: Client, session: Session, data: Any) -> Any:
        """A new expiry for the same user; anybody else's token is refused and changes nothing."""
        form = fill(RefreshToken, data)
        peer = client.connection.peer
        principal = await self._services.authenticator.authenticate(form.token, peer, client_id=client.sid)
        same = principal.user_id == session.principal.user_id and (
            principal.tenant_id == session.principal.tenant_id
        )
        if not same:
            raise self._services.authenticator.refuse("another_user", peer, client_id=client.sid)
        session.principal = principal
        _run_until(client, principal)
        return {"expiresAt": _expires_at(principal)}

    # The parts.

    async def _authenticate(self, client: Client, given: Any) -> Principal:
        connection = client.connection
        authenticator = self._services.authenticator
        if given is not None and not isinstance(given, str):
            raise authenticator.refuse("malformed_auth", connection.peer, client_id=connection.id)
        try:
            token = given if connection.token is None else single(given, connection.token)
        except CredentialConflict as conflict:
            raise authenticator.refuse(conflict.reason, connection.peer, client_id=connection.id) from None
        return await authenticator.authenticate(token, connection.peer, client_id=connection.id)

    async def _take_slot(self, client: Client, principal: Principal) -> None:
        if not await self._services.slots.acquire(user_key(principal.user_id), self._services.per_user):
            self._write(
                SecurityEventType.CONNECTION_LIMIT_EXCEEDED, client, principal, "connections per user"
            )
            raise TidingsError(ErrorCode.TOO_MANY_CONNECTIONS)

    def _welcome(self, client: Client, session: Session, arrival: Arrival, unread: Unread) -> None:
        principal = session.principal
        joined = rooms(principal)
        self._write(SecurityEventType.AUTHENTICATION_SUCCESS, client, principal, None)
        self._write(SecurityEventType.ROOM_JOIN, client, principal, " ".join(joined))
        ready = {
            "user": _user(principal),
            "rooms": joined,
            "unread": unread.to_json(),
            "recovered": arrival.recovered,
        }
        client.welcome(
            strictjson.dumps({"sid": client.sid, "pid": session.id}),
            ("notification:ready", strictjson.dumps(ready), arrival.begins),
        )
        self._tell_missed(session, arrival.start.missed)
        for snapshot, place in arrival.snapshots:
            client.emit(_JOB, snapshot, place)
        self._release(client, session, arrival.start)
        status = self._services.status()
        if status is not None:
            client.emit(STATUS, status)
        _run_until(client, principal)

    def _release(self, client: Client, session: Session, start: Start) -> None:
        if not self._services.recovery.release(session, start):
            client.close(CloseReason.SLOW_CONSUMER)

    def _tell_missed(self, session: Session, missed: Missed) -> None:
        session.outbox.replay(self._frames.of(session.format, missed))

    def _forget(self, session: Session) -> None:
        self._services.recovery.leave(session)
        self._services.slots.give(user_key(session.principal.user_id))

    async def _within_limit(self, client: Client, session: Session, ack: int | None) -> bool:
        verdict = await self._services.limiter.hit(user_key(session.principal.user_id))
        if verdict.allowed:
            return True
        metrics.rate_limited.labels("socket").inc()
        self._write(SecurityEventType.RATE_LIMIT_EXCEEDED, client, session.principal, "client events")
        error = TidingsError(ErrorCode.RATE_LIMITED, retry_after=verdict.retry_after)
        over = {
            "message": error.message,
            "retryAfter": verdict.retry_after,
            "limit": verdict.limit,
            "window": verdict.window,
        }
        client.emit(_OVER_LIMIT, strictjson.dumps(over))
        if ack is not None:
            client.acknowledge(ack, strictjson.dumps({"error": {"code": error.code.name, **over}}))
        return False

    def _answer_error(self, client: Client, error: TidingsError, ack: int | None) -> None:
        metrics.refusals.labels("socket", error.code.name).inc()
        _log.info("event refused", clientId=client.sid, code=error.code.name, detail=error.detail)
        client.emit(_ERROR, strictjson.dumps(error.to_json()))
        if ack is not None:
            client.acknowledge(ack, strictjson.dumps({"error": error.to_json()}))

    def _refusal(self, client: Client, error: TidingsError) -> Refused:
        metrics.connections_failed.labels(client.connection.transport, error.code.name).inc()
        _log.info("connect refused", code=error.code.name, detail=error.detail)
        if error.code is ErrorCode.UNAVAILABLE:
            # The database or the broker is away for now.
            return Refused(None, CloseReason.UNAVAILABLE)
        data = {"message": error.code.title, "data": {"code": error.code.name}}
        reason = {
            ErrorCode.UNAUTHENTICATED: CloseReason.UNAUTHENTICATED,
            ErrorCode.TOO_MANY_CONNECTIONS: CloseReason.TOO_MANY_CONNECTIONS,
        }.get(error.code, CloseReason.INTERNAL_ERROR)
        return Refused(strictjson.dumps(data), reason)

    def _write(
        self, event: SecurityEventType, client: Client, principal: Principal, reason: str | None
    ) -> None:
        peer = client.connection.peer
        self._services.audit.write(event, peer=peer, principal=principal, client_id=client.sid, reason=reason)


def _user(principal: Principal) -> dict[str, Any]:
    return {
        "id": principal.user_id,
        "tenantId": principal.tenant_id,
        "role": principal.role.value,
        "email": principal.email,
        "name": principal.name,
    }


def _marked(updated: int, unread: Unread) -> dict[str, Any]:
    return {"updated": updated, "unread": unread.to_json()}


def _expires_at(principal: Principal) -> str:
    return rfc3339(datetime.fromtimestamp(principal.expires_at, UTC))


def _run_until(client: Client, principal: Principal) -> None:
    """End the connection when its token ends, and say so a minute before."""
    until = time.monotonic() + principal.expires_at - time.time()
    client.expire(until, until - WARN_SECONDS)
