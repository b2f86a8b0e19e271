"""The server's side of the benchmarks' clients, byte by byte: what they are sent is what a test says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

Streams = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

# The answer to the key of RFC 6455, section 1.3, which the clients send.
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A


def frame(head: int, payload: bytes) -> bytes:
    """A frame as a server sends it (RFC 6455, section 5.2)."""
    length = bytes([len(payload)]) if len(payload) < 126 else bytes([126, *len(payload).to_bytes(2, "big")])
    return bytes([head]) + length + payload


def event(name: str, *arguments: bytes) -> bytes:
    """A Socket.IO event in its frame; the arguments are JSON."""
    return frame(TEXT, b"42/notifications," + b"[" + b",".join([f'"{name}"'.encode(), *arguments]) + b"]")


class Peer:
    """One connection: requests come in, and whatever the test wants goes out."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.join = b""

    async def request(self) -> tuple[bytes, bytes]:
        """The next HTTP request: its head and its body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        _, found, rest = head.partition(b"Content-Length: ")
        body = await self.reader.readexactly(int(rest.split(b"\r\n")[0])) if found else b""
        return head, body

    def respond(self, body: bytes) -> None:
        """An ordinary response."""
        self.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    async def greet(self) -> None:
        """Upgrade and open the session, byte by byte; what CONNECT says is kept in ``join``."""
        await self.request()
        await self.trickle(UPGRADED + frame(TEXT, b'0{"sid":"x"}'))
        self.join = (await self.receive())[1]

    async def trickle(self, data: bytes) -> None:
        """Send byte by byte."""
        for index in range(len(data)):
            self.writer.write(data[index : index + 1])
            await self.writer.drain()

    async def receive(self) -> tuple[int, bytes]:
        """One masked frame (RFC 6455, section 5.3)."""
        head, length = await self.reader.readexactly(2)
        assert length & 0x80, "a client masks"
        length &= 0x7F
        if length == 126:
            length = int.from_bytes(await self.reader.readexactly(2), "big")
        mask = await self.reader.readexactly(4)
        masked = await self.reader.readexactly(length)
        return head, bytes(byte ^ mask[index % 4] for index, byte in enumerate(masked))


@contextlib.asynccontextmanager
async def listening(accept: Streams) -> AsyncIterator[int]:
    """A server for the clients to connect to: its port."""
    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
