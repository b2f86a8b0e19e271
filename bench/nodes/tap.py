"""A wire between one node and Redis that is listened to: whose connections are the node's, and what it is sent.

It changes nothing, reads no protocol and adds its own delay, so no time is measured through it.
"""

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator

_HOST = "127.0.0.1"
_CHUNK = 1 << 16


class Tap:
    """``addresses`` are what Redis sees the node's connections by; ``heard`` counts a word in what Redis sent."""

    def __init__(self, redis_port: int, word: bytes) -> None:
        self.addresses: set[str] = set()
        self.heard = 0
        self._redis_port = redis_port
        self._word = word

    async def carry(self, reader: StreamReader, writer: StreamWriter) -> None:
        """One connection of the node's, until both sides have closed it."""
        from_redis, to_redis = await asyncio.open_connection(_HOST, self._redis_port)
        host, port = to_redis.get_extra_info("sockname")
        self.addresses.add(f"{host}:{port}")
        await asyncio.gather(self._up(reader, to_redis), self._down(from_redis, writer))

    async def _up(self, reader: StreamReader, writer: StreamWriter) -> None:
        async with _closing(writer):
            while data := await reader.read(_CHUNK):
                writer.write(data)
                await writer.drain()

    async def _down(self, reader: StreamReader, writer: StreamWriter) -> None:
        rest = b""  # a word may come in two pieces
        async with _closing(writer):
            while data := await reader.read(_CHUNK):
                self.heard += (rest + data).count(self._word)
                rest = (rest + data)[-(len(self._word) - 1) :]
                writer.write(data)
                await writer.drain()


@contextlib.asynccontextmanager
async def tapped(redis_port: int, word: bytes) -> AsyncIterator[tuple[Tap, int]]:
    """A tap for one node, and the port at which the node finds Redis; ends once the node has gone.

    ``word`` has two bytes at least and cannot overlap itself.
    """
    tap = Tap(redis_port, word)
    carried: set[asyncio.Task[None]] = set()

    def accept(reader: StreamReader, writer: StreamWriter) -> None:
        carried.add(asyncio.create_task(tap.carry(reader, writer)))

    async with await asyncio.start_server(accept, _HOST, 0) as server:
        yield tap, server.sockets[0].getsockname()[1]
    await asyncio.gather(*carried)


@contextlib.asynccontextmanager
async def _closing(writer: StreamWriter) -> AsyncIterator[None]:
    """What one side ends, the other side is told; how the other one ends it is no matter."""
    with contextlib.suppress(ConnectionError):
        try:
            yield
        finally:
            writer.close()
            await writer.wait_closed()
