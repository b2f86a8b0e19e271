"""What an HTTP connection and those it serves say to each other: upgrades, and exchanges below ASGI.

Long-polling and opening handshakes are answered by whoever is mounted on their path, without a task, a scope
or a response object. Only types are here; ``front`` and ``http`` speak, a ``Mount`` listens.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from tidings.domain.errors import TidingsError

RawHeaders = list[tuple[bytes, bytes]]
"""Names in lower case, in the order in which they came."""


class Successor(Protocol):
    """A protocol that a connection was handed to. It takes itself out of ``connections`` when it is lost."""

    def shutdown(self) -> None:
        """The server stops: end the connection soon."""


Connections = set[Successor]
"""All open connections of the server, whatever became of them."""


class Upgrade(NamedTuple):
    """A WebSocket opening handshake as it was read; ``rest`` is what has already come behind it."""

    transport: asyncio.Transport
    target: bytes
    headers: RawHeaders
    client: str | None
    rest: bytes
    connections: Connections


class Request(NamedTuple):
    """The head of a request as it was read. ``client`` is the address of the TCP peer."""

    method: bytes
    target: bytes
    headers: RawHeaders
    client: str | None


class Reply(Protocol):
    """The answering half of one exchange. One of ``answer`` and ``refuse`` is called, once, now or later.

    ``lost`` is called if the exchange ends before that: the client goes, or its body is late or malformed.
    Whoever means to answer later sets it.
    """

    lost: Callable[[], None] | None

    def answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        """The whole response; length, date, security headers and ``Cache-Control: no-store`` are added."""

    def refuse(self, error: TidingsError, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """A problem document (RFC 9457). The connection lives on if the request has been read."""


class Taker(Protocol):
    """What wants the body of a request."""

    def take(self, body: bytes) -> None:
        """The whole of it, however it was cut into pieces."""

    def oversize(self) -> None:
        """It was larger than the mount takes, or said so beforehand; it is being answered 413."""


class Mount(Protocol):
    """What is served below a path."""

    @property
    def max_body(self) -> int:
        """Bytes of the largest request body it takes."""

    def elsewhere(self, target: bytes) -> int | None:
        """The worker that a request is for, if it is another one of this machine. Asked before anything else."""

    def upgrade(self, upgrade: Upgrade) -> Successor | TidingsError:
        """Take a WebSocket's connection over, or say why not."""

    def begin(self, request: Request, reply: Reply) -> Taker | None:
        """Take a request whose head has been read; None: its body, if any, is not wanted.

        ``reply`` may be used at once, which spares reading the body; if there is one, the connection ends.
        """
