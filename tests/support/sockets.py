"""A Socket.IO client that hides nothing: it says exactly what a test lets it say, and shows all it hears.

Over ``websockets``. It answers pings unless told not to; everything else is the test's to do. The stock
clients are run elsewhere (``tests/system``).
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.server import Person, Server

NAMESPACE = "/notifications"
QUERY = "EIO=4&transport=websocket"
SECONDS = 10.0


class Closed(AssertionError):
    """The connection ended while something was waited for."""


class Socket:
    """``handshake`` is the open packet. Events that were not asked for yet wait in ``heard``, in order."""

    def __init__(self, wire: ClientConnection, handshake: dict[str, Any]) -> None:
        self.wire = wire
        self.handshake = handshake
        self.answers_pings = True
        self.heard: deque[str] = deque()
        self._acks = 0

    async def say(self, packet: str | bytes) -> None:
        """An Engine.IO packet, as it is."""
        await self.wire.send(packet)

    async def connect(self, auth: object = None) -> None:
        """CONNECT to the namespace; None sends no payload."""
        await self.say(f"40{NAMESPACE},{'' if auth is None else json.dumps(auth)}")

    async def emit(self, name: str, *args: object, ack: int | None = None) -> None:
        payload = json.dumps([name, *args], ensure_ascii=False)
        await self.say(f"42{NAMESPACE},{'' if ack is None else ack}{payload}")

    async def ask(self, name: str, *args: object) -> Any:
        """Emit with an ack, and what it was answered."""
        self._acks += 1
        await self.emit(name, *args, ack=self._acks)
        head = f"43{NAMESPACE},{self._acks}["
        (answer,) = json.loads((await self.packet(lambda packet: packet.startswith(head)))[len(head) - 1 :])
        return answer

    async def event(self, name: str) -> Any:
        """The data of the next event of that name; others before it keep waiting."""
        return (await self.event_args(name))[0]

    async def event_args(self, name: str) -> list[Any]:
        """All arguments of the next event of that name."""
        head = f"42{NAMESPACE},"
        start = f'{head}["{name}",'
        packet = await self.packet(lambda packet: packet.startswith(start))
        args: list[Any] = json.loads(packet[len(head) :])[1:]
        return args

    async def packet(self, wanted: Callable[[str], bool] = bool) -> str:
        """The next packet that is wanted, ping or not."""
        for packet in self.heard:
            if wanted(packet):
                self.heard.remove(packet)
                return packet
        async with asyncio.timeout(SECONDS):
            while True:
                packet = await self._read()
                if wanted(packet):
                    return packet
                self.heard.append(packet)

    async def next(self) -> str:
        """The next packet whatever it is, however long it takes. Raises Closed."""
        return self.heard.popleft() if self.heard else await self._read()

    async def quiet(self) -> bool:
        """Whether all that is heard, up to the answer to something said now, is nothing."""
        await self.ask("notification:list", {"limit": 1})
        return not self.events()

    def events(self) -> list[str]:
        """The names of the events that wait."""
        head = f"42{NAMESPACE},"
        return [json.loads(p[len(head) :])[0] for p in self.heard if p.startswith(head)]

    async def closing(self, seconds: float = SECONDS) -> int:
        """Hear all there is until the server closes; the close code. What was heard waits in ``heard``."""
        async with asyncio.timeout(seconds):
            try:
                while True:
                    self.heard.append(await self._read())
            except Closed:
                return self.wire.close_code or 0

    async def _read(self) -> str:
        while True:
            try:
                packet = await self.wire.recv()
            except ConnectionClosed as closed:
                raise Closed(f"closed: {closed}; heard {list(self.heard)}") from None
            assert isinstance(packet, str)
            if packet != "2":
                return packet
            if not self.answers_pings:
                return packet
            await self.say("3")


@asynccontextmanager
async def opened(server: Server, query: str = QUERY, **headers: str) -> AsyncIterator[Socket]:
    """An Engine.IO session in which nothing has been said yet."""
    url = f"ws://127.0.0.1:{server.port}/socket.io/?{query}"
    async with connect(
        url,
        additional_headers=headers,
        compression=None,
        proxy=None,
        ping_interval=None,
        close_timeout=1,
        max_size=None,
    ) as wire:
        opening = await wire.recv()
        assert isinstance(opening, str)
        assert opening[0] == "0"
        yield Socket(wire, json.loads(opening[1:]))


@asynccontextmanager
async def joined(server: Server, person: Person) -> AsyncIterator[Socket]:
    """A client that was let in. Its ``notification:ready`` waits to be asked for."""
    async with opened(server) as socket:
        await socket.connect({"token": person.token})
        await socket.packet(lambda packet: packet.startswith(f"40{NAMESPACE},"))
        yield socket


@asynccontextmanager
async def ready(server: Server, person: Person) -> AsyncIterator[Socket]:
    """A client that has heard that it is ready, and nothing else."""
    async with joined(server, person) as socket:
        await socket.event("notification:ready")
        yield socket
