"""The HTTP connection as clients may use it: uvicorn's protocol with the contract's limits on top.

Every connection begins here. It is answered 408, 413, 431 or 400 before an application sees anything of it,
goes on to the application, is handed to a WebSocket, or is taken over by a stream that then writes to the
transport itself. Routes and errors of the application are not decided here.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import httptools
import structlog
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.protocols.utils import is_ssl

from tidings import metrics
from tidings.domain import problem, strictjson
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.ids import new_id
from tidings.hub.wheel import OFF, Wheel

TAKE_OVER = "tidings.take_over"
"""The ASGI extension whose value is ``HttpProtocol.take_over``."""

_LINGER_SECONDS = 2.0
_BUSY_RETRY_SECONDS = 5

_log = structlog.stdlib.get_logger("tidings.http")


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A WebSocket opening handshake as it was read: header names are lower case."""

    transport: asyncio.Transport
    target: bytes
    headers: list[tuple[bytes, bytes]]
    client: str | None
    rest: bytes
    connections: "Connections"


class Successor(Protocol):
    """A protocol that a connection was handed to. It takes itself out of ``connections`` when it is lost."""

    def shutdown(self) -> None:
        """The server stops: end the connection soon."""


Connections = set[Successor]
"""All open connections of the server, whatever became of them."""


class Upgrader(Protocol):
    def __call__(self, upgrade: Upgrade) -> Successor | TidingsError:
        """Take the connection over, or say why not."""


@dataclass(frozen=True, slots=True)
class TakenOver:
    """What a stream needs to answer by itself; ``headers`` are those of every response (the date)."""

    transport: asyncio.Transport
    headers: list[tuple[bytes, bytes]]
    connections: Connections


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes and seconds, as in the settings."""

    connections: int
    header_bytes: int
    body_bytes: int
    head_seconds: float
    body_seconds: float


class HttpProtocol(HttpToolsProtocol):
    """One connection. ``wheel`` ends it when it is late; nothing of a request is buffered beyond the limits."""

    tick = OFF

    def __init__(self, limits: Limits, wheel: Wheel, upgrade: Upgrader, **given: Any) -> None:
        super().__init__(**given)
        self._limits = limits
        self._wheel = wheel
        self._upgrader = upgrade
        self._head_left = limits.header_bytes
        self._body_left = limits.body_bytes
        self._in_head = True
        self._deadline: float | None = None
        self._refused = False
        self._websocket = False

    # Not uvicorn's own, which asks the system for the local address of each connection; nobody needs it.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        self.transport = transport
        self.flow = FlowControl(transport)
        address = transport.get_extra_info("peername")
        self.client = address[:2] if address else None
        self.scheme = "https" if is_ssl(transport) else "http"
        self.connections.add(self)
        if len(self.connections) > self._limits.connections:
            self._refuse(TidingsError(ErrorCode.UNAVAILABLE, retry_after=_BUSY_RETRY_SECONDS))
            return
        self._expect(self._limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wheel.cancel(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        while data and not self._refused and not self.transport.is_closing():
            part = data
            if self._in_head:
                part = data[: self._head_left]
                self._head_left -= len(part)
            data = data[len(part) :]
            self._feed(part, data)
            if self._in_head and self._head_left <= 0 and not self._refused:
                self._refuse(TidingsError(ErrorCode.HEADERS_TOO_LARGE))

    def due(self, now: float) -> float | None:
        if self._deadline is not None and now < self._deadline:
            return self._deadline
        if self._deadline is None or self.transport.is_closing():
            return None
        if self._refused or (self._in_head and self._head_left == self._limits.header_bytes):
            self.transport.close()
        else:
            self._refuse(TidingsError(ErrorCode.REQUEST_TIMEOUT))
            return self._deadline
        return None

    def take_over(self, successor: Successor) -> "TakenOver":
        """Hand the transport to another protocol, which from now on writes and reads by itself.

        The application that called this must send nothing more. ``successor.connection_made`` is not called.

        Raises:
            ConnectionResetError: the client has gone; ``successor`` will not be told of it.
            TidingsError: MALFORMED, another request waits behind this one, whose answer has no end.
        """
        if self.transport.is_closing():
            raise ConnectionResetError
        if self.pipeline:
            raise TidingsError(ErrorCode.MALFORMED, detail="a request behind a stream")
        self.cycle.response_started = True
        self.cycle.response_complete = True
        self._leave(successor)
        self.flow.resume_reading()
        connections: Any = self.connections
        return TakenOver(self.transport, self.server_state.default_headers, connections)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._body_left = self._limits.body_bytes
        self._expect(self._limits.head_seconds)
        extensions: Any = {TAKE_OVER: self.take_over}
        self.scope["extensions"] = extensions

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._websocket = super()._should_upgrade()
        if self._websocket and self.parser.should_upgrade():
            super().on_headers_complete()
            return
        used = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if used > self._limits.header_bytes:
            self._refuse(TidingsError(ErrorCode.HEADERS_TOO_LARGE))
            return
        if self._announced() > self._limits.body_bytes:
            self._refuse(TidingsError(ErrorCode.PAYLOAD_TOO_LARGE))
            return
        self._expect(self._limits.body_seconds)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_left -= len(body)
        if self._refused:
            return
        if self._body_left < 0:
            self._refuse(TidingsError(ErrorCode.PAYLOAD_TOO_LARGE))
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._deadline = None
        self._head_left = self._limits.header_bytes
        self._in_head = True
        if not self._refused:
            super().on_message_complete()

    def _should_upgrade(self) -> bool:
        # Uvicorn asks three times a request; the headers are read once.
        return self._websocket

    def _feed(self, part: bytes, later: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(part)
        except httptools.HttpParserUpgrade as upgrade:
            rest = part[upgrade.args[0] :]
            if self._refused:
                return
            if self._should_upgrade():
                self._upgrade(rest + later)
            elif rest:
                # An upgrade to anything else is passed over (RFC 9110, section 7.8): the next request follows.
                self._feed(rest, later)
        except httptools.HttpParserError as fault:
            if not self._refused:
                self._refuse(TidingsError(ErrorCode.MALFORMED, detail=type(fault).__name__))

    def _upgrade(self, rest: bytes) -> None:
        pipelined = self.cycle is not None and not self.cycle.response_complete
        if pipelined or self.scope["method"] != "GET":
            self._refuse(TidingsError(ErrorCode.MALFORMED, detail="an upgrade behind a request, or no GET"))
            return
        address = self.client[0] if self.client else None
        connections: Any = self.connections
        upgrade = Upgrade(self.transport, self.url, self.headers, address, rest, connections)
        successor = self._upgrader(upgrade)
        if isinstance(successor, TidingsError):
            self._refuse(successor)
        else:
            self._leave(successor)

    def _announced(self) -> int:
        for name, value in self.headers:
            if name == b"content-length" and value.isdigit():
                return int(value)
        return 0

    def _expect(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._wheel.schedule(self, self._deadline)

    def _leave(self, successor: Any) -> None:
        self._wheel.cancel(self)
        self._deadline = None
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        self.connections.add(successor)
        self.transport.set_protocol(successor)
        # What refers to itself in a circle would wait for the collector, thousands at a time.
        extensions: Any = self.scope["extensions"]
        extensions.clear()
        self.parser = None  # type: ignore[assignment]  # as uvicorn does when the connection is lost

    def _refuse(self, error: TidingsError) -> None:
        """Answer, read on for a moment so that the answer arrives, and close."""
        self._refused = True
        request_id = new_id()
        metrics.refusals.labels("http", error.code.name).inc()
        _log.info(
            "request refused",
            code=error.code.name,
            requestId=request_id,
            ip=self.client[0] if self.client else None,
            detail=error.detail,
        )
        if self.cycle is not None and not self.cycle.response_complete:
            started = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if started:
                self.transport.close()
                return
        self.transport.write(self._answer(error, request_id))
        self.transport.write_eof() if self.transport.can_write_eof() else self.transport.close()
        self._expect(_LINGER_SECONDS)

    def _answer(self, error: TidingsError, request_id: str) -> bytes:
        body = strictjson.dumps(problem.problem(error, request_id))
        lines = [
            *(f"{name}: {value}".encode() for name, value in problem.headers(error).items()),
            *(name + b": " + value for name, value in self.server_state.default_headers),
            b"Content-Length: %d" % len(body),
            b"Connection: close",
        ]
        return STATUS_LINE[error.code.status] + b"\r\n".join(lines) + b"\r\n\r\n" + body


def factory(limits: Limits, wheel: Wheel, upgrade: Upgrader) -> Callable[..., HttpProtocol]:
    """What uvicorn's ``http=`` is given."""

    def make(**given: Any) -> HttpProtocol:
        return HttpProtocol(limits, wheel, upgrade, **given)

    return make
