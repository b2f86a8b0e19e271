"""The HTTP connection as the application knows it: uvicorn's protocol with the contract's limits on top.

It is handed the connection by ``front`` when something is asked that no mount serves. It answers 408, 413, 431
or 400 before the application sees anything of it, goes on to the application, gives the connection back, or is
taken over by a stream that then writes to the transport itself. Routes and errors of the application are not
decided here.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import is_ssl

from tidings.domain.errors import ErrorCode, TidingsError
from tidings.hub.wheel import OFF
from tidings.transports.exchange import Connections, Successor
from tidings.transports.message import HEAD_END
from tidings.transports.site import LINGER_SECONDS, Site, half_close

TAKE_OVER = "tidings.take_over"
"""The ASGI extension whose value is ``HttpProtocol.take_over``."""

_AHEAD = 64 * 1024
"""Bytes that a client may send behind a request whose answer is due."""
_FRAMING = 8
"""Bytes on the wire for one of a body, at most: chunks of one byte each need six."""


class Entrance(Successor, Protocol):
    """What a connection goes back to when the next request is not for the application."""

    def adopt(self, transport: asyncio.Transport) -> None:
        """Take the connection."""

    def data_received(self, data: bytes) -> None:
        """What has come of the request."""


@dataclass(frozen=True, slots=True)
class TakenOver:
    """What a stream needs to answer by itself; ``headers`` are those of every response (the date)."""

    transport: asyncio.Transport
    headers: list[tuple[bytes, bytes]]
    connections: Connections


class HttpProtocol(HttpToolsProtocol):
    """One connection. The wheel ends it when it is late; nothing of a request is buffered beyond the limits."""

    tick = OFF

    def __init__(self, site: Site, entrance: Callable[[Site], Entrance]) -> None:
        super().__init__(**site.given)
        self._site = site
        self._entrance = entrance
        self._later = b""
        self._head_left = site.limits.header_bytes
        self._body_left: int | None = 0
        self._content_left = self._wire_left = 0
        self._between = True
        self._in_head = True
        self._deadline: float | None = None
        self._refused = False

    # Not uvicorn's own, which asks the system for the local address of each connection; nobody needs it.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        self.transport = transport
        self.flow = FlowControl(transport)
        address = transport.get_extra_info("peername")
        self.client = address[:2] if address else None
        self.scheme = "https" if is_ssl(transport) else "http"
        self._expect(self._site.limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._site.wheel.cancel(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._refused:
            self._later += data
            self._advance()

    def due(self, now: float) -> float | None:
        if self._deadline is not None and now < self._deadline:
            return self._deadline
        if self._deadline is None or self.transport.is_closing():
            return None
        if self._refused or self._between:
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
        if self._later or self._refused:
            raise TidingsError(ErrorCode.MALFORMED, detail="a request behind a stream")
        self.cycle.response_started = True
        self.cycle.response_complete = True
        self._leave(successor)
        self.flow.resume_reading()
        return TakenOver(self.transport, self.server_state.default_headers, self._site.connections)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._between = False
        self._expect(self._site.limits.head_seconds)
        extensions: Any = {TAKE_OVER: self.take_over}
        self.scope["extensions"] = extensions

    def on_header(self, name: bytes, value: bytes) -> None:
        # After the head they are trailers, which nobody asks for.
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        limits = self._site.limits
        self._body_left = self._announced()
        self._content_left = limits.body_bytes
        self._wire_left = _FRAMING * limits.body_bytes + limits.header_bytes
        if self.parser.should_upgrade() and self._get_upgrade() == b"websocket":
            self._refuse(TidingsError(ErrorCode.NOT_FOUND, detail="an upgrade"))
        elif self.parser.should_upgrade() and self._body_left != 0:
            # The parser passes over other upgrades (RFC 9110, section 7.8), but over their bodies as well.
            self._refuse(TidingsError(ErrorCode.MALFORMED, detail="an upgrade with a body"))
        elif self._body_left is not None and self._body_left > limits.body_bytes:
            self._refuse(TidingsError(ErrorCode.PAYLOAD_TOO_LARGE))
        else:
            self._expect(limits.body_seconds)
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._content_left -= len(body)
        if self._content_left < 0:
            self._refuse(TidingsError(ErrorCode.PAYLOAD_TOO_LARGE))
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._deadline = None
        self._head_left = self._site.limits.header_bytes
        self._between = True
        self._in_head = True
        if not self._refused:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._later:
            self.loop.call_soon(self._advance)

    def _advance(self) -> None:
        """Go as far as there are bytes, one request at a time: what comes behind it waits for its answer."""
        while self._later and not self._refused and not self.transport.is_closing():
            if self._between and (not self._answered() or self._goes_back()):
                break
            used = self._read(self._later)
            self._later = self._later[used:]
            if self._in_head and not self._between and len(self._later) >= self._head_left:
                self._refuse(TidingsError(ErrorCode.HEADERS_TOO_LARGE))
            if not used:
                break
        if len(self._later) > _AHEAD:
            self.flow.pause_reading()

    def _answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _goes_back(self) -> bool:
        """Whether the next request is not for the application; then the connection is no longer here."""
        # Empty lines before a request are passed over (RFC 9112, section 2.2).
        data = self._later = self._later.lstrip(b"\r\n")
        if self._site.mount(data) is None and not self._site.undecided(data):
            return False
        self._later = b""
        entrance = self._entrance(self._site)
        self._leave(entrance)
        entrance.adopt(self.transport)
        entrance.data_received(data)
        return True

    def _read(self, data: bytes) -> int:
        """Show the parser what certainly belongs to this request; return how many bytes that was."""
        if not self._in_head and self._body_left is None:
            return self._read_lines(data)
        if self._in_head:
            end = data.find(HEAD_END) + len(HEAD_END)
            # Line ends may be the beginning of the head's end.
            part = data[:end] if end >= len(HEAD_END) else data.rstrip(b"\r\n")
            part = part[: self._head_left]
            self._head_left -= len(part)
        else:
            assert self._body_left is not None
            part = data[: self._body_left]
            self._body_left -= len(part)
        self._feed(part)
        return len(part)

    def _read_lines(self, data: bytes) -> int:
        """A body in chunks, of which only the parser knows where it ends: with a line."""
        used = 0
        for line in data.splitlines(keepends=True):
            if self._between or self._refused:
                break
            self._wire_left -= len(line)
            if self._wire_left < 0:
                self._refuse(TidingsError(ErrorCode.PAYLOAD_TOO_LARGE))
                break
            self._feed(line)
            used += len(line)
        return used

    def _feed(self, part: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(part)
        except httptools.HttpParserUpgrade:
            pass  # The next request follows.
        except httptools.HttpParserError as fault:
            if not self._refused:
                self._refuse(TidingsError(ErrorCode.MALFORMED, detail=type(fault).__name__))

    def _announced(self) -> int | None:
        """Bytes of the body; None if it comes in chunks."""
        for name, value in self.headers:
            if name == b"content-length":
                return int(value)
            if name == b"transfer-encoding":
                return None
        return 0

    def _expect(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._site.wheel.schedule(self, self._deadline)

    def _leave(self, successor: Any) -> None:
        self._site.wheel.cancel(self)
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
        self._later = b""
        answer = self._site.refusal(error, self.client[0] if self.client else None)
        if not self._answered():
            started = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if started:
                self.transport.close()
                return
        self.transport.write(answer)
        half_close(self.transport)
        self._expect(LINGER_SECONDS)
