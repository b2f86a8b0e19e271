"""Contract, sections 9 and 11: several nodes relay one outbox, each row once and in order, and lateness is told."""

import asyncio
import signal
from collections import defaultdict
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import asyncpg
import httpx

from tests.support.nodes import nodes
from tests.support.server import Person, Server, eventually
from tests.support.sockets import Socket, joined, ready
from tests.support.streams import streaming

PLENTY = {"rest_rate_per_minute": 1_000_000}
USERS = 6
NUDGE = "flush"


async def write(server: Server, person: Person, name: str, accepted: list[str], count: int) -> None:
    """Post numbered notifications, one after another, unless the server goes away."""
    async with server.http(person) as client:
        with suppress(httpx.TransportError):
            for number in range(count):
                title = f"{name} {number}"
                answer = await client.post("/notifications", json={"title": title, "content": "x"})
                assert answer.status_code == 201, answer.text
                accepted.append(title)


async def hear(socket: Socket, heard: list[str]) -> None:
    """Write down the titles that arrive, up to the last."""
    while (title := (await socket.event("notification:new"))["notification"]["title"]) != NUDGE:
        heard.append(title)


async def rows_written(database: str) -> int:
    """How many rows the outbox has had."""
    connection = await asyncpg.connect(database)
    try:
        return int(await connection.fetchval("SELECT last_value FROM outbox_seq_seq"))
    finally:
        await connection.close()


async def test_rows_are_not_relayed_twice(tmp_path: Path, postgres_url: str) -> None:
    """Two nodes under load give the broker no row twice, though each may relay what the other has written."""
    async with nodes(tmp_path, postgres_url, **PLENTY) as pair:
        people = [await pair.each[0].person() for _ in range(USERS)]
        accepted: list[str] = []
        writers = [
            write(pair.each[index % 2], person, "", accepted, 150) for index, person in enumerate(people)
        ]
        await asyncio.gather(*writers)
        await eventually(lambda: pair.sum("tidings_relay_pending") == 0)
        written = await rows_written(postgres_url)
        assert 2 * len(accepted) <= pair.sum("tidings_relay_rows_total") <= 1.02 * written


async def test_a_killed_node_loses_and_repeats_nothing(tmp_path: Path, postgres_url: str) -> None:
    """ "Nothing accepted is lost, nothing is delivered twice": in order, though a relay died amidst its work."""
    async with nodes(tmp_path, postgres_url, **PLENTY) as pair, AsyncExitStack() as stack:
        mortal, survivor = pair.each
        people = [await survivor.person() for _ in range(USERS)]
        heard: list[list[str]] = [[] for _ in people]
        sockets = [await stack.enter_async_context(ready(survivor, person)) for person in people]
        listening = [asyncio.create_task(hear(*each)) for each in zip(sockets, heard, strict=True)]
        accepted: list[list[str]] = [[] for _ in people]
        writing = [
            asyncio.create_task(write(node, person, name, titles, 150))
            for person, titles in zip(people, accepted, strict=True)
            for node, name in ((mortal, "mortal"), (survivor, "survivor"))
        ]
        await eventually(lambda: sum(map(len, accepted)) > USERS * 100, 60)
        mortal.child.send(signal.SIGKILL)
        await asyncio.gather(*writing)
        for person in people:
            async with survivor.http(person) as client:
                await client.post("/notifications", json={"title": NUDGE, "content": "x"})
        await asyncio.gather(*listening)
    for titles, received in zip(accepted, heard, strict=True):
        assert set(titles) <= set(received)
        assert len(set(received)) == len(received)
        told = defaultdict(list)
        for title in received:
            name, number = title.split()
            told[name].append(int(number))
        assert all(numbers == list(range(len(numbers))) for numbers in told.values())


async def test_clients_are_told_when_the_relay_is_late(tmp_path: Path, postgres_url: str) -> None:
    """ "Clients hear ``degraded`` within 5 s", then ``ok``, each once, though the broker is well all the time."""
    async with nodes(tmp_path, postgres_url, count=1) as alone:
        (node,) = alone.each
        user = await node.person()
        holder = await asyncpg.connect(postgres_url)
        async with ready(node, user) as socket, streaming(node, "/notifications/events", user) as stream:
            await holder.execute("SELECT pg_advisory_lock(hashtext('tidings outbox'))")
            async with node.http(user) as client, asyncio.timeout(5):
                await client.post("/notifications", json={"title": "late", "content": "x"})
                assert await socket.event("system:status") == {"state": "degraded"}
            assert node.get("/readyz").status_code == 200
            assert node.gauge("tidings_relay_lag_seconds") > 1
            async with joined(node, user) as newcomer:
                assert await newcomer.event("system:status") == {"state": "degraded"}
                assert newcomer.events() == ["notification:ready"]
                await holder.close()
                for each in (socket, newcomer):
                    assert await each.event("system:status") == {"state": "ok"}
            await socket.event("notification:new")
            assert "system:status" not in socket.events()
            assert [(await stream.message()).type for _ in range(2)] == ["ready", "new"]
