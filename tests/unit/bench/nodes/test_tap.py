"""What a tap counts, and that it changes nothing."""

import asyncio
from asyncio import StreamReader, StreamWriter

from bench.nodes.tap import tapped
from tests.support.bench_peers import listening

SENT = b"-{word}{word}{wor-{word}"


async def test_a_word_in_pieces_is_counted_once() -> None:
    """It comes byte by byte, as it was sent; what goes the other way is not counted."""

    async def redis(reader: StreamReader, writer: StreamWriter) -> None:
        for byte in SENT:
            writer.write(bytes([byte]))
            assert await reader.readexactly(6) == b"{word}"
        writer.close()

    async with listening(redis) as port, tapped(port, b"{word}") as (tap, tap_port):
        reader, writer = await asyncio.open_connection("127.0.0.1", tap_port)
        for byte in SENT:
            assert await reader.readexactly(1) == bytes([byte])
            writer.write(b"{word}")
        assert await reader.read() == b""
        writer.close()
        assert tap.heard == 3


async def test_the_address_is_the_one_that_redis_sees() -> None:
    """So a node's connections can be told apart in ``CLIENT LIST``."""
    seen: list[str] = []

    async def redis(_: StreamReader, writer: StreamWriter) -> None:
        host, port = writer.get_extra_info("peername")
        seen.append(f"{host}:{port}")
        writer.close()

    async with listening(redis) as port, tapped(port, b"{word}") as (tap, tap_port):
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", tap_port)
            assert await reader.read() == b""
            writer.close()
        assert tap.addresses == set(seen)
        assert len(seen) == 2
