"""Contract, sections 9 and 11: a server that is asked to go is gone in 30 s with 0, whoever holds on to it."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import httpx

from tests.support import redis, tables
from tests.support.nodes import answers
from tests.support.proxy import proxy
from tests.support.server import Server, eventually, serving
from tests.support.sockets import opened, ready
from tests.support.streams import start_job, streaming

POLLING = {"EIO": "4", "transport": "polling"}
HALF_A_HEAD = b"GET /notifications HTTP/1.1\r\nHost: x\r\n"
HALF_A_BODY = (
    b"POST /notifications HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n"
    b"Authorization: Bearer %b\r\n\r\n{"
)


@asynccontextmanager
async def crowd(server: Server) -> AsyncIterator[None]:
    """Everybody who can keep a server: sockets, streams, polls, halves of requests, and a job without an end."""
    user = await server.person()
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(ready(server, user))
            await stack.enter_async_context(opened(server))
            stream = await stack.enter_async_context(streaming(server, "/notifications/events", user))
            await stream.message()
        for said in (b"", HALF_A_HEAD, HALF_A_BODY % user.token.encode()):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            stack.callback(writer.close)
            writer.write(said)
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=60))
        opening = (await http.get("/socket.io/", params=POLLING)).text
        poll = asyncio.create_task(_polled(http, json.loads(opening[1:])["sid"]))
        stack.callback(poll.cancel)
        job = await start_job(server, user, steps=1000, delayMs=50)
        running = await stack.enter_async_context(streaming(server, f"/jobs/{job}/events", user))
        while (await running.message()).type != "progress":
            pass
        yield


async def _polled(http: httpx.AsyncClient, sid: str) -> None:
    with suppress(httpx.TransportError):
        await http.get("/socket.io/", params={**POLLING, "sid": sid})


async def gone(server: Server, seconds: float) -> None:
    """Wait until it has ended, with 0, in that time."""
    begun = time.monotonic()
    code = await asyncio.to_thread(server.child.wait, seconds + 10)
    took = time.monotonic() - begun
    assert code == 0, server.child.output[-2000:]
    assert took <= seconds, f"{took} s\n{server.child.output[-2000:]}"


async def test_the_longest_drain(tmp_path: Path) -> None:
    """ "Exit 0 within 30 s" with the longest window there is; ``/healthz`` and ``/readyz`` answer meanwhile."""
    with serving(tmp_path, {"drain_seconds": 25}) as server:
        async with crowd(server):
            server.child.send(signal.SIGTERM)
            leaving = asyncio.create_task(gone(server, 30))
            await eventually(lambda: server.get("/readyz").status_code == 503)
            assert server.get("/readyz").json()["status"] == "draining"
            assert server.get("/healthz").status_code == 200
            await leaving
    assert "cut short" not in server.child.output


async def test_a_second_signal_ends_a_full_house(tmp_path: Path) -> None:
    """Who asks twice is not kept waiting by anybody."""
    with serving(tmp_path, {"drain_seconds": 25}) as server:
        async with crowd(server):
            server.child.send(signal.SIGTERM)
            await eventually(lambda: '"event":"draining"' in server.child.output)
            server.child.send(signal.SIGTERM)
            await gone(server, 5)
    assert "cut short" not in server.child.output


async def test_gone_in_time_without_database_and_broker(tmp_path: Path, postgres_url: str) -> None:
    """ "Exit 0 within 30 s" holds when nothing answers that the server depends on."""
    await tables.lay(postgres_url)
    postgres_port = int(postgres_url.rpartition(":")[2].partition("/")[0])
    with redis.serving() as broker:
        async with proxy(postgres_port) as database, proxy(broker.port) as wire:
            settings = {
                "database_url": postgres_url.replace(f":{postgres_port}/", f":{database.port}/"),
                "broker_url": f"redis://127.0.0.1:{wire.port}/0",
                "worker": True,
                "drain_seconds": 1,
            }
            # The child is started, and ended if need be, without standing in the proxies' way.
            server = serving(tmp_path, settings)
            node = await asyncio.to_thread(server.__enter__)
            try:
                node.database = postgres_url
                await eventually(lambda: answers(node))
                async with crowd(node):
                    for pipe in (*database.pipes, *wire.pipes):
                        pipe.flows.clear()
                    node.child.send(signal.SIGTERM)
                    await gone(node, 30)
            finally:
                await asyncio.to_thread(server.__exit__, None, None, None)
