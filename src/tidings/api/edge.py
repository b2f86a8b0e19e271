"""What every request passes first and every response last: its id, its origin, the headers that all carry.

Plain ASGI around the routes. It reads no body and no credential; whatever the routes raise is answered here.
The request's ``scope["state"]`` gets ``request_id``, ``peer`` and ``headers``: those that its response is
still going to be given, to which a route may add. A stream that takes the transport over writes them itself.
"""

import logging
import random
import time

import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidings import metrics
from tidings.api.errors import as_error, respond
from tidings.api.services import Services
from tidings.domain.audit import Peer, SecurityEventType
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.ids import new_id
from tidings.domain.problem import HSTS, SECURITY_HEADERS
from tidings.identity.peer import Headers, values

RawHeaders = list[tuple[bytes, bytes]]

STILL_OPEN = frozenset({"/healthz", "/readyz", "/metrics"})
"""What is answered while draining."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_DRAIN_SPREAD_SECONDS = 10
_TAKEN_OVER = "stream"

_log = structlog.stdlib.get_logger("tidings.api")
_level = logging.getLogger("tidings.api")


class Edge:
    """The outermost layer of the REST surface."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services
        self._common: RawHeaders = [
            *((name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()),
            *((name.lower().encode(), value.encode()) for name, value in _secure(services)),
            (b"cache-control", b"no-store"),
        ]
        self._cors: dict[str | None, RawHeaders] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = self._begin(scope)
        status: int | None = None

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _completed(message["headers"], scope["state"]["headers"])
            await send(message)

        try:
            await self._serve(scope, receive, send_on)
        except ClientDisconnect:
            _log.debug("client left", requestId=request_id)
        except Exception as fault:  # noqa: BLE001  whatever it is, the client gets a problem and the log the rest
            response = respond(fault, request_id)
            self._note_attempt(fault, scope)
            if status is None:
                await response(scope, receive, send_on)
        _measure(scope, status, time.perf_counter() - began)

    def _begin(self, scope: Scope) -> str:
        # Starlette's convention: with an app in the scope its routes raise 404 and 405 and answer nothing.
        scope["app"] = self
        request_id = new_id()
        client = scope.get("client")
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["peer"] = self._services.peers.of(client[0] if client else None, scope["headers"])
        state["headers"] = [(b"x-request-id", request_id.encode()), *self._common]
        structlog.contextvars.bind_contextvars(requestId=request_id)
        return request_id

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        services, state = self._services, scope["state"]
        origin = _origin(scope["headers"])
        if not services.origins.check(origin, explicit_token=True):
            services.audit.write(
                SecurityEventType.ORIGIN_REJECTED,
                peer=state["peer"],
                request_id=state["request_id"],
                reason="origin not allowed",
            )
            raise TidingsError(ErrorCode.FORBIDDEN, detail="origin")
        state["headers"] += self._cors_for(origin)
        if _is_preflight(scope, origin):
            # Answered even while draining, so that the page may read the 503 of what it is about to ask.
            await Response(status_code=204, headers=dict(services.origins.preflight_headers(origin)))(
                scope, receive, send
            )
            return
        if services.draining() and scope["path"] not in STILL_OPEN:
            spread = random.randint(1, _DRAIN_SPREAD_SECONDS)  # noqa: S311  jitter is no secret
            raise TidingsError(ErrorCode.UNAVAILABLE, retry_after=spread, detail="draining")
        await self._app(scope, receive, send)

    def _cors_for(self, origin: str | None) -> RawHeaders:
        """Origins that got here are allowed, so there are few."""
        headers = self._cors.get(origin)
        if headers is None:
            granted = self._services.origins.cors_headers(origin)
            headers = [(name.lower().encode(), value.encode()) for name, value in granted]
            self._cors[origin] = headers
        return headers

    def _note_attempt(self, fault: Exception, scope: Scope) -> None:
        """A user who asked for what their role may not is written down."""
        principal = scope["state"].get("principal")
        if principal is None or as_error(fault).code is not ErrorCode.FORBIDDEN:
            return
        peer: Peer = scope["state"]["peer"]
        self._services.audit.write(
            SecurityEventType.UNAUTHORIZED_ACCESS_ATTEMPT,
            peer=peer,
            principal=principal,
            request_id=scope["state"]["request_id"],
            reason=f"{scope['method']} {_template(scope)}",
        )


def _secure(services: Services) -> list[tuple[str, str]]:
    return [HSTS] if services.public_https else []


def _origin(headers: Headers) -> str | None:
    origins = values(headers, b"origin")
    return ",".join(origins) if origins else None


def _is_preflight(scope: Scope, origin: str | None) -> bool:
    """Fetch standard, "CORS-preflight request"."""
    return (
        scope["method"] == "OPTIONS"
        and origin is not None
        and bool(values(scope["headers"], b"access-control-request-method"))
    )


def _completed(headers: RawHeaders, still: RawHeaders) -> RawHeaders:
    """A response's headers, and of the others those it does not set itself."""
    present = {name for name, _ in headers}
    return [*headers, *(header for header in still if header[0] not in present)]


def _template(scope: Scope) -> str:
    """The route as it was written, never the path that was asked for: paths are endless and hold ids."""
    return getattr(scope.get("route"), "path", "none")


def _measure(scope: Scope, status: int | None, seconds: float) -> None:
    route = _template(scope)
    method = scope["method"] if scope["method"] in _METHODS else "other"
    metrics.requests.labels(method, route, status or _TAKEN_OVER).inc()
    if status is not None:
        metrics.request_seconds.labels(route).observe(seconds)
    if _level.isEnabledFor(logging.DEBUG):
        _log.debug(
            "request",
            requestId=scope["state"]["request_id"],
            method=method,
            route=route,
            status=status or _TAKEN_OVER,
            ms=round(seconds * 1000, 1),
        )
