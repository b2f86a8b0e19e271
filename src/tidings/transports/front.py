"""Where every connection begins, and where it is between requests: for as long as only mounts are asked.

A mounted path is served right here, without an ASGI scope, a task or a response object, so that a pending
long-poll is this one object. Whatever else is asked goes to ``http``, connection and all, and comes back when
a mount is asked again. What requests mean is not decided here.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from typing import Any

import structlog

from tidings import metrics
from tidings.domain.errors import CloseReason, ErrorCode, TidingsError
from tidings.domain.ids import new_id
from tidings.hub.wheel import OFF, Wheel
from tidings.transports.exchange import Mount, Request, Taker, Upgrade
from tidings.transports.handover import Handover, Outcome
from tidings.transports.http import HttpProtocol
from tidings.transports.message import HEAD_END, Body, ChunkedBody, Head, MalformedMessage, SizedBody
from tidings.transports.site import LINGER_SECONDS, REQUEST_ID, Limits, Site, half_close

_BUSY_RETRY_SECONDS = 5
_FULL = 64 * 1024
"""Bytes of answers that wait for their client; with more, none of its requests is taken."""
_log = structlog.stdlib.get_logger("tidings.http")
_SWITCHING = 101
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _Stage(Enum):
    HEAD = auto()
    """No request, or part of a head."""
    BODY = auto()
    """Its head has been read, its body not yet. It may be answered."""
    DUE = auto()
    """A request has been read and is to be answered."""
    OVER = auto()
    """No more is read; what still comes is dropped."""


# Looking a member up costs more than all that is done with it, and a handshake asks ten times.
_HEAD, _BODY, _DUE, _OVER = _Stage


class Front(asyncio.Protocol):
    """One connection, and the ``Reply`` to its present request. No deadline runs while only an answer is due."""

    __slots__ = (
        "_bare",
        "_body",
        "_data",
        "_deadline",
        "_keep",
        "_max_body",
        "_site",
        "_stage",
        "_taker",
        "_tally",
        "_transport",
        "_waiting",
        "lost",
        "tick",
    )

    def __init__(self, site: Site) -> None:
        self.tick = OFF
        self.lost: Callable[[], None] | None = None
        self._site = site
        self._transport: asyncio.Transport
        self._stage = _HEAD
        self._data = b""
        self._body: Body | None = None
        self._taker: Taker | None = None
        self._max_body = 0
        self._keep = True
        self._bare = False
        self._deadline: float | None = None
        self._waiting = 0
        self._tally = site.tally(b"")

    # What the transport calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # always one
        self.adopt(transport)
        if len(self._site.connections) > self._site.limits.connections:
            self._refuse(TidingsError(ErrorCode.UNAVAILABLE, retry_after=_BUSY_RETRY_SECONDS))
        elif self._data:
            self._advance()

    def inherit(self, data: bytes) -> None:
        """Another worker has read this of the connection that is about to be made."""
        self._data = data

    def adopt(self, transport: asyncio.Transport) -> None:
        """Take a connection that was counted already."""
        self._transport = transport
        self._site.connections.add(self)
        self._expect(self._site.limits.head_seconds)

    def data_received(self, data: bytes) -> None:
        if self._stage is _OVER:
            return
        first = not self._data
        self._data = data if first else self._data + data
        self._advance()
        if first and self._data and self._stage is _HEAD:
            self._expect(self._site.limits.head_seconds)

    def resume_writing(self) -> None:
        if self._data:
            self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stage = _OVER
        self._site.wheel.cancel(self)
        self._site.connections.discard(self)
        self._forget()

    # What the mount calls: the ``Reply``.

    def answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        self._answer(status, ((REQUEST_ID, new_id().encode()), *headers), body)

    def _answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        if not self._asked:
            return
        last = self._stage is _BODY or not self._keep
        self.lost = self._taker = self._body = None
        if self._transport.is_closing():
            return
        self._tally.count(status)
        self._transport.write(self._site.response(status, headers, body, last=last, bare=self._bare))
        if last:
            self._linger()
            return
        self._stage = _HEAD
        self._bare = False
        self._expect(self._site.limits.head_seconds)
        if self._data:
            self._go_on()

    def refuse(self, error: TidingsError, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        if self._asked:
            own, body = self._site.problem(error, self._client())
            self._answer(error.code.status, (*own, *headers), body)

    # What the server and the wheel call.

    def shutdown(self) -> None:
        if self._asked:
            self._keep = False
        else:
            self._transport.close()

    def due(self, now: float) -> float | None:
        if self._deadline is None or now < self._deadline:
            return self._deadline
        late = self._stage is _BODY or (self._stage is _HEAD and self._data)
        if late and not self._transport.is_closing():
            self._refuse(TidingsError(ErrorCode.REQUEST_TIMEOUT))
            return self._deadline
        waiting = self._transport.get_write_buffer_size()
        if waiting and waiting != self._waiting:
            # A slow client still fetches its answer.
            self._waiting = waiting
            self._deadline = now + self._site.limits.head_seconds
            return self._deadline
        if waiting:
            metrics.connections_closed.labels("http", CloseReason.WRITE_STALLED.name).inc()
            _log.info("answer not fetched", ip=self._client(), bytes=waiting)
            self._transport.abort()
        else:
            self._transport.close()
        return None

    # Reading.

    def _advance(self) -> None:
        """Go on with the bytes there are, to the end of one request: other connections want to be read as well.

        What a client sends ahead is bounded, and waits where it is.
        """
        try:
            if self._stage is _HEAD and not self._jammed():
                self._read_head()
            if self._stage is _BODY:
                self._read_body()
        except Exception as fault:  # noqa: BLE001  whatever it is, the client gets a problem and the log the rest
            self._fail(fault)
        if len(self._data) > self._site.limits.header_bytes:
            self._transport.pause_reading()

    def _go_on(self) -> None:
        """Later, for the mount may be amidst something else."""
        self._transport.resume_reading()
        asyncio.get_running_loop().call_soon(self._advance)

    def _jammed(self) -> bool:
        """Whether nothing more can be answered: the client does not fetch its answers, or has gone."""
        if self._transport.get_write_buffer_size() > _FULL:
            # With this limit, resume_writing is certain to be called.
            self._transport.set_write_buffer_limits(high=_FULL)
            return True
        return self._transport.is_closing()

    def _read_head(self) -> None:
        # Empty lines before a request are passed over (RFC 9112, section 2.2).
        self._data = data = self._data.lstrip(b"\r\n")
        self._tally = self._site.tally(data)
        mount = self._site.mount(data)
        if mount is None:
            if data and not self._site.undecided(data):
                self._hand_over()
            return
        end = data.find(HEAD_END) + len(HEAD_END)
        whole = end >= len(HEAD_END)
        if (end if whole else len(data) + 1) > self._site.limits.header_bytes:
            self._refuse(TidingsError(ErrorCode.HEADERS_TOO_LARGE))
        elif whole:
            self._data = data[end:]
            self._begin(mount, data[:end])

    def _begin(self, mount: Mount, block: bytes) -> None:
        try:
            head = Head(block)
        except MalformedMessage as fault:
            self._refuse(TidingsError(ErrorCode.MALFORMED, detail=str(fault)))
            return
        self._keep = head.keep_alive
        self._bare = head.method == b"HEAD"
        worker = mount.elsewhere(head.target)
        if worker is not None and self._give_away(worker, block + self._data):
            return
        self._deadline = None
        self._stage = _DUE if head.length == 0 else _BODY
        if head.websocket:
            self._upgrade(mount, head)
            return
        taker = mount.begin(Request(head.method, head.target, head.headers, self._client()), self)
        if self._stage is _BODY:
            self._await_body(mount, head, taker)
        elif self._stage is _DUE and taker is not None:
            taker.take(b"")

    def _await_body(self, mount: Mount, head: Head, taker: Taker | None) -> None:
        self._taker = taker
        self._max_body = mount.max_body
        if head.length is not None and head.length > self._max_body:
            self._oversize()
            return
        self._body = ChunkedBody() if head.length is None else SizedBody(head.length)
        if head.expects and not self._data:
            self._transport.write(_CONTINUE)
        self._expect(self._site.limits.body_seconds)

    def _read_body(self) -> None:
        body, taker = self._body, self._taker
        assert body is not None
        try:
            self._data = body.feed(self._data)
        except MalformedMessage as fault:
            self._refuse(TidingsError(ErrorCode.MALFORMED, detail=str(fault)))
            return
        if len(body.content) > self._max_body:
            self._oversize()
        elif body.complete:
            self._stage = _DUE
            self._deadline = self._body = self._taker = None
            if taker is not None:
                taker.take(bytes(body.content))

    # Ends.

    def _upgrade(self, mount: Mount, head: Head) -> None:
        if head.method != b"GET" or head.length != 0:
            self._refuse(TidingsError(ErrorCode.MALFORMED, detail="an upgrade with a body, or no GET"))
            return
        site = self._site
        client = self._client()
        asked = Upgrade(self._transport, head.target, head.headers, client, self._data, site.connections)
        successor = mount.upgrade(asked)
        if isinstance(successor, TidingsError):
            self._refuse(successor)
        else:
            self._tally.count(_SWITCHING)
            self._leave(successor)

    def _hand_over(self) -> None:
        data = self._data
        protocol = HttpProtocol(self._site, Front)
        self._leave(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(data)

    def _give_away(self, worker: int, data: bytes) -> bool:
        """Move the connection to another worker, or have it wait. False: there is no such worker."""
        if self._transport.get_write_buffer_size():
            # Earlier answers leave first. With this limit, resume_writing is certain to be called.
            self._data = data
            self._transport.set_write_buffer_limits(high=0)
            return True
        handover = self._site.handover
        outcome = Outcome.GONE if handover is None else handover.send(worker, self._transport, data)
        if outcome is Outcome.MOVED:
            self._stage = _OVER
            self._data = b""
            # Our descriptor alone is closed by it.
            self._transport.abort()
        elif outcome is Outcome.BUSY:
            error = TidingsError(ErrorCode.UNAVAILABLE, retry_after=_BUSY_RETRY_SECONDS, detail="handover")
            self._refuse(error)
        return outcome is not Outcome.GONE

    def _leave(self, successor: Any) -> None:
        self._stage = _OVER
        self._data = b""
        self._site.wheel.cancel(self)
        self._site.connections.discard(self)
        self._site.connections.add(successor)
        self._transport.set_protocol(successor)

    def _oversize(self) -> None:
        taker, self.lost = self._taker, None
        self._refuse(TidingsError(ErrorCode.PAYLOAD_TOO_LARGE))
        if taker is not None:
            taker.oversize()

    def _fail(self, fault: Exception) -> None:
        if self._asked:
            error = TidingsError(ErrorCode.INTERNAL_ERROR)
            error.__cause__ = fault
            self._refuse(error)
        else:
            self._transport.abort()
            raise fault

    def _refuse(self, error: TidingsError) -> None:
        """Answer in place of the mount, for the last time."""
        self._tally.count(error.code.status)
        self._transport.write(self._site.refusal(error, self._client(), bare=self._bare))
        self._linger()
        self._forget()

    def _linger(self) -> None:
        self._stage = _OVER
        self._data = b""
        half_close(self._transport)
        self._expect(LINGER_SECONDS)

    def _forget(self) -> None:
        """The present request is over, answered or not; who meant to answer it is told."""
        lost, self.lost = self.lost, None
        self._data = b""
        self._body = self._taker = None
        if lost is not None:
            lost()

    def _expect(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._site.wheel.schedule(self, self._deadline)

    @property
    def _asked(self) -> bool:
        """Whether there is a request that has not been answered."""
        return self._stage in (_BODY, _DUE)

    def _client(self) -> str | None:
        address = self._transport.get_extra_info("peername")
        return address[0] if address else None


def factory(
    limits: Limits,
    wheel: Wheel,
    mounts: Mapping[bytes, Mount],
    *,
    https: bool = False,
    handover: Handover | None = None,
) -> Callable[..., Front]:
    """What the ``http=`` of one uvicorn server is given."""
    site: Site | None = None

    def make(**given: Any) -> Front:
        nonlocal site
        site = site or Site(limits, wheel, mounts, given, https=https, handover=handover)
        return Front(site)

    return make
