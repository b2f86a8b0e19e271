"""Engine.IO clients that hide nothing, over long-polling, over WebSocket and upgraded from one to the other.

A packet is a text (``"4hello"``) or, for a binary message, its bytes; how it travels is told apart by protocol
(3 or 4) and transport, in an encoding of their own, so that a fault of the server's is not repeated here.
Pings are answered unless a test wants to do that itself. Everything else is the test's to do.
"""

import asyncio
import base64
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.http_wire import Answer, HttpConnection

SECONDS = 5.0
TRANSPORTS = ("polling", "websocket", "upgraded")
Packet = str | bytes

_SEPARATOR = "\x1e"
_TEXT = "text/plain;charset=UTF-8"


class Ended(AssertionError):
    """The session is over. ``code`` is the WebSocket's close code or the HTTP status."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the session has ended: {code}")
        self.code = code


class Session(Protocol):
    """``handshake`` is the object of the open packet."""

    handshake: dict[str, Any]
    answers_pings: bool

    async def say(self, *packets: Packet) -> None:
        """Raises Ended."""

    async def hear(self) -> Packet:
        """The next packet. Raises Ended."""

    async def ended(self) -> int:
        """Go on hearing, answering pings, until the server has ended the session; the code of that."""


class Polling:
    """A session over long-polling: ``down`` carries the GETs, ``up`` the POSTs."""

    def __init__(self, port: int, path: str, revision: int) -> None:
        self.port, self.path, self.revision = port, path, revision
        self.down, self.up = HttpConnection(port), HttpConnection(port)
        self.handshake: dict[str, Any] = {}
        self.answers_pings = True
        self.waiting: deque[Packet] = deque()
        self._posting = asyncio.Lock()

    @property
    def target(self) -> str:
        sid = f"&sid={self.handshake['sid']}" if self.handshake else ""
        return f"{self.path}?EIO={self.revision}&transport=polling{sid}"

    async def open(self) -> None:
        answer = await self.poll()
        assert answer.status == 200, answer
        opening, *rest = decode(answer.text, self.revision)
        assert isinstance(opening, str)
        assert opening[0] == "0"
        self.handshake = json.loads(opening[1:])
        self.waiting.extend(rest)

    async def ask(self) -> None:
        """Begin a poll; ``answer`` waits for what comes of it."""
        await self.down.ask("GET", self.target)

    async def answer(self) -> Answer:
        return await self.down.answer()

    async def poll(self) -> Answer:
        await self.ask()
        return await self.answer()

    async def packets(self) -> list[Packet]:
        """What the poll that was asked for brings. Raises Ended."""
        answer = await self.answer()
        if answer.status != 200:
            raise Ended(answer.status)
        return decode(answer.text, self.revision)

    async def post(self, body: bytes, media_type: str = _TEXT) -> Answer:
        async with self._posting:
            return await self.up.exchange("POST", self.target, body, {"Content-Type": media_type})

    async def say(self, *packets: Packet) -> None:
        answer = await self.post(encode(packets, self.revision))
        if answer.status != 200:
            raise Ended(answer.status)
        assert answer.text == "ok"

    async def hear(self) -> Packet:
        while True:
            while not self.waiting:
                await self.ask()
                self.waiting.extend(await self.packets())
            packet = self.waiting.popleft()
            if packet == "2" and self.revision == 4 and self.answers_pings:
                await self.say("3")
            elif packet == "1":
                raise Ended(200)
            elif packet != "6":
                return packet

    async def ended(self) -> int:
        code = await _end(self)
        # A close packet tells that the session is over; whether it is so shows the next request.
        return (await self.poll()).status if code == 200 else code

    async def close(self) -> None:
        await self.down.close()
        await self.up.close()


class Socket:
    """A session over WebSocket, or the WebSocket that is to become one."""

    def __init__(self, wire: ClientConnection, revision: int) -> None:
        self.wire, self.revision = wire, revision
        self.handshake: dict[str, Any] = {}
        self.answers_pings = True
        self.waiting: deque[Packet] = deque()

    async def open(self) -> None:
        opening = await self.hear()
        assert isinstance(opening, str)
        assert opening[0] == "0"
        self.handshake = json.loads(opening[1:])

    async def say(self, *packets: Packet) -> None:
        type_byte = b"\x04" if self.revision == 3 else b""
        try:
            for packet in packets:
                await self.wire.send(packet if isinstance(packet, str) else type_byte + packet)
        except ConnectionClosed:
            raise Ended(self.wire.close_code or 0) from None

    async def hear(self) -> Packet:
        if self.waiting:
            return self.waiting.popleft()
        while True:
            try:
                async with asyncio.timeout(SECONDS):
                    packet = await self.wire.recv()
            except ConnectionClosed:
                raise Ended(self.wire.close_code or 0) from None
            if isinstance(packet, bytes) and self.revision == 3:
                assert packet[0] == 4
                return packet[1:]
            if packet != "2" or not self.answers_pings or self.revision == 3:
                return packet
            await self.say("3")

    async def ended(self) -> int:
        return await _end(self)


async def _end(session: Session) -> int:
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                await session.hear()
    except Ended as end:
        return end.code


def encode(packets: tuple[Packet, ...], revision: int) -> bytes:
    """A payload of long-polling; binary messages in base64."""
    mark = "b" if revision == 4 else "b4"
    texts = [p if isinstance(p, str) else mark + base64.b64encode(p).decode() for p in packets]
    if revision == 4:
        return _SEPARATOR.join(texts).encode()
    return "".join(f"{len(text.encode('utf-16-le')) // 2}:{text}" for text in texts).encode()


def decode(payload: str, revision: int) -> list[Packet]:
    """The packets of such a payload; lengths of protocol 3 are in UTF-16 code units."""
    texts = payload.split(_SEPARATOR) if revision == 4 else []
    units = payload.encode("utf-16-le") if revision == 3 else b""
    while units:
        size, _, rest = units.partition(":".encode("utf-16-le"))
        end = 2 * int(size.decode("utf-16-le"))
        assert len(rest) >= end
        texts.append(rest[:end].decode("utf-16-le"))
        units = rest[end:]
    mark = "b" if revision == 4 else "b4"
    return [base64.b64decode(text[len(mark) :]) if text.startswith(mark) else text for text in texts]


@asynccontextmanager
async def polling(port: int, path: str, revision: int = 4) -> AsyncIterator[Polling]:
    """A session over long-polling in which nothing has been said yet."""
    session = Polling(port, path, revision)
    try:
        await session.open()
        yield session
    finally:
        await session.close()


@asynccontextmanager
async def bare_socket(port: int, path: str, query: str, revision: int = 4) -> AsyncIterator[Socket]:
    """A WebSocket on which nothing has been said or heard yet."""
    async with connect(
        f"ws://127.0.0.1:{port}{path}?{query}",
        compression=None,
        proxy=None,
        ping_interval=None,
        close_timeout=1,
        max_size=None,
    ) as wire:
        yield Socket(wire, revision)


@asynccontextmanager
async def joining(session: Polling) -> AsyncIterator[Socket]:
    """A WebSocket with the session's id."""
    query = f"EIO={session.revision}&transport=websocket&sid={session.handshake['sid']}"
    async with bare_socket(session.port, session.path, query, session.revision) as socket:
        socket.handshake = session.handshake
        yield socket


@asynccontextmanager
async def probing(session: Polling) -> AsyncIterator[Socket]:
    """A WebSocket that has been probed, and may take the session over."""
    async with joining(session) as socket:
        await socket.say("2probe")
        assert await socket.hear() == "3probe"
        yield socket


@asynccontextmanager
async def opened(port: int, path: str, transport: str, revision: int = 4) -> AsyncIterator[Session]:
    """A session over one of ``TRANSPORTS``."""
    if transport == "websocket":
        async with bare_socket(port, path, f"EIO={revision}&transport=websocket", revision) as socket:
            await socket.open()
            yield socket
        return
    async with polling(port, path, revision) as session:
        if transport == "polling":
            yield session
            return
        async with probing(session) as socket:
            await socket.say("5")
            socket.waiting = session.waiting
            yield socket
