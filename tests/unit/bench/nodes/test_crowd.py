"""What a client notes, and what becomes of a crowd that is not let in."""

import json
from asyncio import StreamReader, StreamWriter

import pytest

from bench.harness.process import BenchmarkError
from bench.nodes.crowd import Client, crowd
from bench.nodes.people import END
from tests.support.bench_peers import listening


async def test_what_comes_twice_is_noted_twice() -> None:
    """Heartbeats and counts are no notifications, and the last one of all says only that it was the last."""
    asked: list[bytes] = []

    async def server(reader: StreamReader, writer: StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nretry: 1000\n\n: heartbeat\n\n")
        for title in ("one", "one", END):
            told = {"type": "new", "notification": {"id": "a", "title": title}}
            writer.write(b"id: 1\ndata: %b\n\n" % json.dumps(told).encode())
            writer.write(b'id: 1\ndata: {"type":"unread"}\n\n')
        writer.write(b'id: 1\ndata: {"type":"ready"}\n\n')
        writer.close()

    client = Client()
    async with listening(server) as port:
        await client.by_stream(port, "t")
    assert asked[0].startswith(b"GET /notifications/events HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer t\r\n" in asked[0]
    assert client.ids == ["a", "a"]
    assert client.ready.is_set()
    assert client.ended.is_set()


async def test_who_is_not_let_in_ends_the_benchmark() -> None:
    """At once, whichever way the client came."""

    async def server(_: StreamReader, writer: StreamWriter) -> None:
        writer.close()

    async with listening(server) as port:
        with pytest.raises(BenchmarkError, match="not every client was let in"):
            async with crowd(port, ["t", "t"]):
                pass
