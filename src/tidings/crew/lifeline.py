"""The socket pair between the supervisor and a worker: what either says, and the worker's end of it.

The worker says that it is ready, and later that it departs, if it was ordered to drain. The supervisor says
what signals cannot: which sockets to listen on, and how to stop. Signals to a worker only ever stop it, however often
they come: a terminal or a service manager may send them to every process, and the supervisor passes on its own. When
the supervisor is gone the pair closes, and the worker stops by itself.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable
from enum import StrEnum
from typing import Protocol

from tidings.domain.crew import Crew

READY = b"ready\n"
DEPARTING = b"departing\n"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Order(StrEnum):
    """What the supervisor says: a word on a line; the first two name a worker, whose socket is meant."""

    LISTEN = "listen"
    REST = "rest"
    LEAVE = "leave"
    HURRY = "hurry"


class Steered(Protocol):
    """A server, as its worker's supervisor steers it."""

    def stop(self) -> None:
        """Drain and end; until it ends, tell new clients so."""

    def leave(self) -> None:
        """Leave new clients to others at once, drain and end."""

    def hurry(self) -> None:
        """Stop, and do not wait for anybody."""

    async def listen(self, number: int) -> None:
        """Serve that worker's socket too; nothing new if it is served already."""

    def rest(self, number: int) -> None:
        """Leave that socket to others."""


class Lifeline:
    """The worker's end. ``sock`` was inherited and goes to no child of this process.

    ``abandoned`` is called when the supervisor is gone, which would have killed a worker that does not end.
    """

    def __init__(self, sock: socket.socket, crew: Crew, abandoned: Callable[[], None]) -> None:
        sock.set_inheritable(False)
        self._sock = sock
        self._crew = crew
        self._abandoned = abandoned
        self._orphaned = False

    def ready(self) -> None:
        """The worker listens."""
        self._say(READY)

    def departing(self) -> None:
        """The worker was ordered to drain and end, and waits to be told to leave or to stop."""
        self._say(DEPARTING)

    @contextlib.asynccontextmanager
    async def steering(self, server: Steered) -> AsyncIterator[None]:
        """Let supervisor and signals steer the server for the time of the block."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, server.stop)
        obeying = asyncio.create_task(self._obey(server))
        try:
            yield
        finally:
            obeying.cancel()
            await asyncio.wait([obeying])
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def tidy(self) -> None:
        """Remove what the supervisor, being gone, can't remove: the last worker takes the directory with it."""
        if not self._orphaned:
            return
        for path in (self._crew.handover(self._crew.number), self._crew.metrics(self._crew.number)):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._crew.directory.rmdir()

    def _say(self, word: bytes) -> None:
        """A supervisor that is gone is noticed by ``steering``."""
        with contextlib.suppress(OSError):
            self._sock.send(word)

    async def _obey(self, server: Steered) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=self._sock)
        try:
            with contextlib.suppress(ConnectionError):
                async for line in reader:
                    await _do(line.decode(), server)
            self._orphaned = True
            self._abandoned()
            server.stop()
        finally:
            writer.close()


async def _do(line: str, server: Steered) -> None:
    word, *number = line.split()
    match Order(word):
        case Order.LISTEN:
            await server.listen(int(number[0]))
        case Order.REST:
            server.rest(int(number[0]))
        case Order.LEAVE:
            server.leave()
        case Order.HURRY:
            server.hurry()
