"""Contract, sections 9 and 11: what a node promises when the wire to Redis is bad, through a TCP proxy."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.support import redis
from tests.support.proxy import Proxy, proxy
from tests.support.server import Person, Server, eventually, serving
from tests.support.sockets import Socket, ready

_SUBSCRIBING = 1
"""A node connects for commands first, then for what it hears."""


@asynccontextmanager
async def behind(folder: Path) -> AsyncIterator[tuple[Server, Proxy]]:
    """A node whose Redis is behind a proxy."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(redis.serving())
        gate = await stack.enter_async_context(proxy(server.port))
        url = f"redis://127.0.0.1:{gate.port}/0"
        starting = serving(folder, {"broker_url": url})
        node = await asyncio.to_thread(starting.__enter__)
        stack.push_async_exit(lambda *exit_: asyncio.to_thread(starting.__exit__, *exit_))
        await eventually(lambda: works(node))
        yield node, gate


def works(node: Server) -> bool:
    return node.get("/readyz").status_code == 200


async def post(node: Server, person: Person, *titles: str) -> None:
    async with node.http(person) as client:
        for title in titles:
            body = {"title": title, "content": "News."}
            assert (await client.post("/notifications", json=body)).status_code == 201


async def told(socket: Socket, count: int) -> list[str]:
    return [(await socket.event("notification:new"))["notification"]["title"] for _ in range(count)]


async def test_a_deaf_subscription_is_found_and_repaired(tmp_path: Path) -> None:
    """ "a deaf subscription is found within 45 s": `/readyz` is red meanwhile, and nothing is lost or doubled."""
    async with behind(tmp_path) as (node, gate):
        user = await node.person()
        async with ready(node, user) as socket:
            await post(node, user, "before")
            assert await told(socket, 1) == ["before"]
            gate.pipes[_SUBSCRIBING].flows.clear()
            await post(node, user, "1", "2", "3")
            await eventually(lambda: not works(node))
            assert await told(socket, 3) == ["1", "2", "3"]
            await eventually(lambda: works(node))
            await post(node, user, "after")
            assert await told(socket, 1) == ["after"]


@pytest.mark.parametrize("times", [1, 5])
async def test_a_wire_that_is_cut(tmp_path: Path, times: int) -> None:
    """Every connection is lost, again and again: what is accepted meanwhile arrives once, in order."""
    async with behind(tmp_path) as (node, gate):
        user = await node.person()
        async with ready(node, user) as socket:
            for number in range(times):
                gate.cut()
                await post(node, user, f"{number} a", f"{number} b")
            wanted = [f"{number} {letter}" for number in range(times) for letter in "ab"]
            assert await told(socket, 2 * times) == wanted
            assert node.gauge("tidings_redis_connections") <= 4


async def test_a_wire_that_refuses(tmp_path: Path) -> None:
    """Nobody gets through for a while: "POSTs are still accepted (the database holds them)", and it is said so."""
    async with behind(tmp_path) as (node, gate):
        user = await node.person()
        async with ready(node, user) as socket:
            gate.closed = True
            gate.cut()
            await eventually(lambda: not works(node))
            assert await socket.event("system:status") == {"state": "degraded"}
            await post(node, user, "1", "2")
            gate.closed = False
            assert await told(socket, 2) == ["1", "2"]
            assert await socket.event("system:status") == {"state": "ok"}


async def test_a_wire_that_is_slow(tmp_path: Path) -> None:
    """ "Redis slow: no crash; what was accepted is delivered in order", once: slow both ways, then quick again."""
    async with behind(tmp_path) as (node, gate):
        user = await node.person()
        async with ready(node, user) as socket:
            gate.delay = 0.3
            await post(node, user, "1", "2", "3")
            assert await told(socket, 3) == ["1", "2", "3"]
            gate.delay = 0
            await eventually(lambda: works(node))
            await post(node, user, "4", "5")
            assert await told(socket, 2) == ["4", "5"]
            assert "error" not in await socket.ask("notification:list", {"limit": 1})
            assert "notification:new" not in socket.events()
        assert node.gauge("tidings_redis_connections") <= 4
