"""Server-sent events in bytes (WHATWG HTML, "Server-sent events"). No I/O.

Data is JSON without line breaks, so one ``data`` line is enough. Streams end with the connection: the body has
neither length nor chunks (RFC 9112, section 6.3), so that one event has the same bytes in every stream.
"""

from collections.abc import Iterable

from tidings.domain.event import Published
from tidings.domain.problem import SECURITY_HEADERS

HEARTBEAT = b": heartbeat\n\n"
_TYPES = {
    "notification:new": b"new",
    "notification:read": b"read",
    "notification:unread": b"unread",
}


def event(data: bytes, position: str) -> bytes:
    """One unnamed event, which ``onmessage`` sees."""
    return b"id: %b\ndata: %b\n\n" % (position.encode(), data)


def retry(milliseconds: int) -> bytes:
    """How long to wait before reconnecting."""
    return b"retry: %d\n\n" % milliseconds


def head(extra: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The status line and headers of a stream; ``extra`` are those of this response (date, CORS, id)."""
    lines = [
        b"HTTP/1.1 200 OK",
        b"Content-Type: text/event-stream",
        b"Cache-Control: no-store",
        b"X-Accel-Buffering: no",
        b"Connection: close",
        *(f"{name}: {value}".encode() for name, value in SECURITY_HEADERS.items()),
        *(name + b": " + value for name, value in extra),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


class JobFormat:
    """``/jobs/{id}/events``: the event's data as it is."""

    def encode(self, published: Published, cursor: str) -> bytes:
        return event(published.event.data, cursor)


class InboxFormat:
    """``/notifications/events``: the event's data with its ``type`` in front."""

    def encode(self, published: Published, cursor: str) -> bytes:
        kind = _TYPES[published.event.name]
        return event(b'{"type":"%b",%b' % (kind, published.event.data[1:]), cursor)


JOB = JobFormat()
INBOX = InboxFormat()
