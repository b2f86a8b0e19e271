"""Stock clients that come, or come back, while the broker or the database is away: they are let in afterwards."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from scripts.source_tree import ROOT
from tests.support import programs, redis
from tests.support.redis import RedisServer
from tests.support.server import Person, Server, eventually, serving

CLIENTS = ROOT / "tests" / "system" / "clients"
SECONDS = 20.0
KINDS = [
    ("socket.io-client-v2", "websocket"),
    ("socket.io-client-v3", "polling"),
    ("socket.io-client", "websocket"),
    ("socket.io-client", "polling"),
    ("socket.io-client", "upgrade"),
]


class Stock:
    """A stock client in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())

    async def until(self, key: str) -> Any:
        """The next step of that kind; others before it are passed over."""
        assert self._process.stdout is not None
        async with asyncio.timeout(SECONDS):
            while line := await self._process.stdout.readline():
                step = json.loads(line)
                if key in step:
                    return step[key]
        raise AssertionError(f"ended without {key}")


@asynccontextmanager
async def stock(module: str, transport: str, server: Server, person: Person) -> AsyncIterator[Stock]:
    scenario = json.dumps({"url": server.url, "token": person.token})
    process = await asyncio.create_subprocess_exec(
        str(programs.node()),
        "outage.mjs",
        module,
        transport,
        cwd=CLIENTS,
        env={"PATH": os.environ["PATH"], "SCENARIO": scenario},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Stock(process)
    finally:
        process.kill()
        await process.wait()


@pytest.fixture(scope="module")
def broker() -> Iterator[RedisServer]:
    with redis.serving() as server:
        yield server


@pytest.fixture(scope="module")
def server(broker: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), {"broker_url": broker.url}) as running:
        yield running


@pytest.mark.parametrize(("module", "transport"), KINDS)
async def test_stock_clients_come_back_when_redis_does(
    server: Server, broker: RedisServer, module: str, transport: str
) -> None:
    """Redis away: "its clients reconnect anywhere and recover", and one that comes new is let in afterwards too."""
    person = await server.person()
    async with (
        stock(module, transport, server, person) as old,
        stock(module, transport, server, person) as new,
    ):
        old.tell("connect")
        await old.until("connected")
        broker.child.send(signal.SIGSTOP)
        try:
            await eventually(lambda: server.get("/readyz").status_code == 503)
            old.tell("cut")
            await old.until("disconnected")
            new.tell("connect")
            refused = server.gauge("tidings_connections_failed_total")
            await eventually(lambda: server.gauge("tidings_connections_failed_total") >= refused + 3)
        finally:
            broker.child.send(signal.SIGCONT)
        for client in (old, new):
            await client.until("connected")
        async with server.http(person) as http:
            await http.post("/notifications", json={"title": "Back", "content": "x"})
        for client in (old, new):
            assert await client.until("heard") == "Back"
