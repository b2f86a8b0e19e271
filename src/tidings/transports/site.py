"""What the connections of one server share: limits, deadlines, mounted paths, and what every answer carries.

No connection is known here; what is made of a request is decided elsewhere.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from prometheus_client import Counter
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from tidings import metrics
from tidings.domain import problem, strictjson
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.ids import new_id
from tidings.hub.wheel import Wheel
from tidings.transports.exchange import Connections, Mount, RawHeaders
from tidings.transports.handover import Handover

LINGER_SECONDS: Final = 2.0
"""How long a connection is read from, or written to, after its last answer."""

REQUEST_ID: Final = b"x-request-id"

_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
_METHOD = re.compile(rb"[A-Z-]{0,20}")
_NO_CONTENT = 204
_COMMON = {**problem.SECURITY_HEADERS, "Cache-Control": "no-store"}
_UPGRADE = [(b"upgrade", b"websocket"), (b"sec-websocket-version", b"13")]

_log = structlog.stdlib.get_logger("tidings.http")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes and seconds, as in the settings."""

    connections: int
    header_bytes: int
    body_bytes: int
    head_seconds: float
    body_seconds: float


class Tally:
    """Counts the answers to what is asked by one method of one route."""

    def __init__(self, method: str, route: str) -> None:
        self._method = method
        self._route = route
        self._answers: dict[int, Counter] = {}

    def count(self, status: int) -> None:
        """Count an answer of that status."""
        counter = self._answers.get(status)
        if counter is None:
            counter = metrics.requests.labels(self._method, self._route, status)
            self._answers[status] = counter
        counter.inc()


class Site:
    """``given`` is what uvicorn makes its protocols of, ``mounts`` who serves below which path.

    ``https``: clients reach the server by it, whatever it speaks itself. ``handover`` leads to the other workers.
    """

    def __init__(
        self,
        limits: Limits,
        wheel: Wheel,
        mounts: Mapping[bytes, Mount],
        given: Mapping[str, Any],
        *,
        https: bool = False,
        handover: Handover | None = None,
    ) -> None:
        self.limits = limits
        self.handover = handover
        self.wheel = wheel
        self.given = given
        self._state: ServerState = given["server_state"]
        connections: Any = self._state.connections
        self.connections: Connections = connections
        self._mounts = dict(mounts)
        self._paths = tuple(sorted(mounts, key=len, reverse=True))
        served = b"|".join(map(re.escape, self._paths)) or b"(?!)"
        self._request = re.compile(rb"[A-Z-]{1,20} (" + served + b")")
        self._tallies: dict[bytes, Tally] = {}
        self._other = Tally("other", "none")
        self._default: list[tuple[bytes, bytes]] | None = None
        self._common = b""
        self._secure = dict([problem.HSTS] if https else [])

    def mount(self, data: bytes) -> Mount | None:
        """Who is asked by a request that begins so."""
        match = self._request.match(data)
        return None if match is None else self._mounts[match[1]]

    def tally(self, data: bytes) -> Tally:
        """Where the answer to a request that begins so is counted."""
        match = self._request.match(data)
        if match is None:
            return self._other
        method, _, route = match[0].partition(b" ")
        known = method.decode() if method in _METHODS else "other"
        name = known.encode() + route
        tally = self._tallies.get(name)
        if tally is None:
            tally = self._tallies[name] = Tally(known, route.decode())
        return tally

    def undecided(self, data: bytes) -> bool:
        """Whether a request that begins so may still turn out to be for a mount."""
        method, _, target = data.partition(b" ")
        return _METHOD.fullmatch(method) is not None and any(path.startswith(target) for path in self._paths)

    def response(
        self,
        status: int,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes,
        *,
        last: bool = False,
        bare: bool = False,
    ) -> bytes:
        """A whole response. ``last``: the connection ends with it; ``bare``: it answers HEAD, without a body.

        Source: RFC 9112, sections 4 and 9.6; RFC 9110, sections 8.6 and 9.3.2.
        """
        # Uvicorn makes a new list each second, for the date.
        if self._state.default_headers is not self._default:
            self._default = self._state.default_headers
            own = {**_COMMON, **self._secure}.items()
            common = [*self._default, *((name.encode(), value.encode()) for name, value in own)]
            self._common = b"".join(b"%b: %b\r\n" % header for header in common)
        parts = [STATUS_LINE[status], self._common, *(b"%b: %b\r\n" % header for header in headers)]
        if status != _NO_CONTENT:
            parts.append(b"content-length: %d\r\n" % len(body))
        if last:
            parts.append(b"connection: close\r\n")
        parts.append(b"\r\n")
        if not bare:
            parts.append(body)
        return b"".join(parts)

    def problem(self, error: TidingsError, client: str | None) -> tuple[RawHeaders, bytes]:
        """The headers and the body of a refusal, which is counted and logged under its request id."""
        request_id = new_id()
        metrics.refusals.labels("http", error.code.name).inc()
        broken = error.code is ErrorCode.INTERNAL_ERROR
        (_log.error if broken else _log.info)(
            "request failed" if broken else "request refused",
            code=error.code.name,
            requestId=request_id,
            ip=client,
            detail=error.detail,
            exc_info=error.__cause__,
        )
        own = problem.headers(error).items() - _COMMON.items()
        headers = [(REQUEST_ID, request_id.encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in own]
        if error.code is ErrorCode.UPGRADE_REQUIRED:
            headers += _UPGRADE
        return headers, strictjson.dumps(problem.problem(error, request_id))

    def refusal(self, error: TidingsError, client: str | None, *, bare: bool = False) -> bytes:
        """The last response on a connection: a problem."""
        headers, body = self.problem(error, client)
        return self.response(error.code.status, headers, body, last=True, bare=bare)


def half_close(transport: asyncio.Transport) -> None:
    """Say no more, and read on, so that the last answer arrives (RFC 9112, section 9.6).

    To be closed after ``LINGER_SECONDS``.
    """
    transport.write_eof() if transport.can_write_eof() else transport.close()
    transport.resume_reading()
