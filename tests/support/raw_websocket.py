"""A WebSocket client (RFC 6455) that may break every rule: frames are written bit by bit, and read as they are.

It does not check what it is told to send, never answers by itself, and checks of what it hears only that a
server's frame is one: not masked, with no reserved bit.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from websockets.utils import accept_key, apply_mask

SECONDS = 20.0
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@dataclass(frozen=True, slots=True)
class Heard:
    """A frame of the server. ``code`` is that of a close frame, None if it has none."""

    opcode: int
    data: bytes
    fin: bool = True

    @property
    def code(self) -> int | None:
        return int.from_bytes(self.data[:2], "big") if self.data else None


def frame(
    opcode: int, data: bytes = b"", *, fin: bool = True, reserved: int = 0, masked: bool = True
) -> bytes:
    """One frame (section 5.2); ``reserved`` are the three bits RSV1 to RSV3."""
    first = (fin << 7) | (reserved << 4) | opcode
    size = len(data)
    if size < 126:
        length = bytes([(masked << 7) | size])
    elif size < 1 << 16:
        length = bytes([(masked << 7) | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([(masked << 7) | 127]) + size.to_bytes(8, "big")
    if not masked:
        return bytes([first]) + length + data
    mask = os.urandom(4)
    return bytes([first]) + length + mask + apply_mask(data, mask)


def close(code: int, reason: str = "") -> bytes:
    """A close frame (section 5.5.1)."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason.encode())


class RawWebSocket:
    """An open connection. ``handshake`` holds the lines of the server's answer to the opening handshake."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.handshake: list[str] = []

    async def open(self, port: int, *headers: str, behind: bytes) -> None:
        lines = [
            "GET / HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {_KEY}",
            *headers,
            "\r\n",
        ]
        await self.send("\r\n".join(lines).encode() + behind)
        async with asyncio.timeout(SECONDS):
            head = await self._reader.readuntil(b"\r\n\r\n")
        self.handshake = head.decode().strip().split("\r\n")
        assert self.handshake[0].startswith("HTTP/1.1 101 ")
        assert f"Sec-WebSocket-Accept: {accept_key(_KEY)}" in self.handshake

    async def send(self, *frames: bytes) -> None:
        self._writer.write(b"".join(frames))
        await self._writer.drain()

    async def hear(self) -> Heard:
        """The next frame. Raises IncompleteReadError where the connection ends."""
        async with asyncio.timeout(SECONDS):
            first, second = await self._reader.readexactly(2)
            assert first & 0x70 == 0
            assert second < 128
            size = second
            if size >= 126:
                size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8), "big")
            return Heard(first & 0x0F, await self._reader.readexactly(size), bool(first & 0x80))

    async def message(self) -> Heard:
        """The next data message, put together again."""
        part = await self.hear()
        assert part.opcode in (TEXT, BINARY)
        opcode, parts = part.opcode, [part.data]
        while not part.fin:
            part = await self.hear()
            assert part.opcode == CONTINUATION
            parts.append(part.data)
        return Heard(opcode, b"".join(parts))

    async def ended(self) -> None:
        """Wait until the server has ended the connection, without another byte, or by a reset."""
        async with asyncio.timeout(SECONDS):
            with suppress(ConnectionError):
                assert await self._reader.read() == b""


@asynccontextmanager
async def raw_websocket(port: int, *headers: str, behind: bytes = b"") -> AsyncIterator[RawWebSocket]:
    """An open connection on which nothing has been said but what was sent ``behind`` the request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**25)
    try:
        socket = RawWebSocket(reader, writer)
        await socket.open(port, *headers, behind=behind)
        yield socket
    finally:
        writer.transport.abort()


async def failed(socket: RawWebSocket, *codes: int | None) -> None:
    """The server says why, and once it is answered ends the connection (sections 7.1.5 to 7.1.7)."""
    last = await socket.hear()
    assert last.opcode == CLOSE
    assert last.code in codes
    with suppress(ConnectionError):
        await socket.send(frame(CLOSE, last.data))
    await socket.ended()


async def alive(socket: RawWebSocket) -> None:
    """A message still comes back."""
    await socket.send(frame(TEXT, b"alive"))
    assert await socket.message() == Heard(TEXT, b"alive")


async def chopped(socket: RawWebSocket, whole: bytes) -> None:
    """Send the beginning byte by byte, the header included, and then the rest."""
    for start in range(16):
        await socket.send(whole[start : start + 1])
    await socket.send(whole[16:])


def pieces(kind: int, data: bytes, size: int) -> list[bytes]:
    """A message in fragments of a size."""
    starts = range(0, len(data), size)
    return [
        frame(kind if start == 0 else CONTINUATION, data[start : start + size], fin=start + size >= len(data))
        for start in starts
    ]
