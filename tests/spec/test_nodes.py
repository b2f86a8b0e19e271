"""Contract, sections 4, 9, 10 and 11: two servers on one Redis and one database are one to their users."""

import asyncio
import json
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import redis
from tests.support.processes import wait_until
from tests.support.redis import RedisServer
from tests.support.server import Person, Server, eventually, serving
from tests.support.sockets import NAMESPACE, Closed, Socket, joined, opened, ready
from tests.support.streams import start_job, streaming

NOTE = {"title": "Hello", "content": "News."}
CONNECT = f"40{NAMESPACE},"


@dataclass
class Pair:
    """Two nodes, the Redis between them, and where both keep their database."""

    here: Server
    there: Server
    redis: RedisServer


def answers(node: Server) -> bool:
    return node.get("/readyz").status_code == 200


@contextmanager
def pair(folder: Path, **settings: object) -> Iterator[Pair]:
    with redis.serving() as server:
        given = {"broker_url": server.url, **settings}
        with serving(folder, given) as here, serving(folder, given) as there:
            for node in (here, there):
                wait_until(partial(answers, node))
            yield Pair(here, there, server)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("nodes")) as running:
        yield running


async def post(server: Server, person: Person, *titles: str) -> None:
    async with server.http(person) as client:
        for title in titles:
            answer = await client.post("/notifications", json={**NOTE, "title": title})
            assert answer.status_code == 201, answer.text


async def told(socket: Socket, count: int) -> list[str]:
    return [(await socket.event("notification:new"))["notification"]["title"] for _ in range(count)]


async def visited(socket: Socket, person: Person, **given: object) -> tuple[str, bool]:
    """The pid that CONNECT answers with, and whether the session was recovered."""
    await socket.connect({"token": person.token, **given})
    answer = await socket.packet(lambda packet: packet.startswith(CONNECT))
    recovered = (await socket.event("notification:ready"))["recovered"]
    return json.loads(answer[len(CONNECT) :])["pid"], recovered


async def until_let_in(server: Server, person: Person, **given: object) -> bool:
    """Come again until the server lets one in, as clients do; whether the session was recovered."""
    for _ in range(100):
        async with opened(server) as socket:
            with suppress(Closed):
                await socket.connect({"token": person.token, **given})
                if (await socket.packet()).startswith(CONNECT):
                    return bool((await socket.event("notification:ready"))["recovered"])
        await asyncio.sleep(0.25)
    raise AssertionError("never let in")


async def test_a_notification_reaches_clients_of_the_other_node(nodes: Pair) -> None:
    """What is accepted by one node is delivered by the other: once, in order, by Socket.IO and SSE."""
    user = await nodes.here.person()
    async with (
        ready(nodes.there, user) as socket,
        streaming(nodes.there, "/notifications/events", user) as stream,
    ):
        await stream.message()
        titles = [str(number) for number in range(20)]
        await post(nodes.here, user, *titles)
        assert await told(socket, 20) == titles
        heard = [message for message in [await stream.message() for _ in range(40)] if message.type == "new"]
        assert [message.data["notification"]["title"] for message in heard] == titles


async def test_what_is_read_is_read_everywhere(nodes: Pair) -> None:
    """ "marks, tells all the user's connections"."""
    user = await nodes.here.person()
    async with ready(nodes.here, user) as here, ready(nodes.there, user) as there:
        await post(nodes.here, user, "one")
        await told(there, 1)
        assert (await here.ask("notification:mark-all-read", {}))["updated"] == 1
        assert (await there.event("notification:read"))["all"] is True


async def test_the_rate_limit_is_one(nodes: Pair) -> None:
    """ "20 client events in any 60 s and user, counted over all the user's connections and all nodes"."""
    user = await nodes.here.person()
    async with ready(nodes.here, user) as here, ready(nodes.there, user) as there:
        answers = [await socket.ask("notification:list", {}) for _ in range(10) for socket in (here, there)]
        assert all("items" in answer for answer in answers)
        for socket in (here, there):
            refused = await socket.ask("notification:list", {})
            assert refused["error"]["code"] == "RATE_LIMITED"


async def test_connections_of_a_user_are_counted_together(tmp_path: Path) -> None:
    """ "connections per user, cluster-wide"; a node that was killed gives its slots back."""
    with pair(tmp_path, max_connections_per_user=2) as nodes:
        user = await nodes.here.person()
        async with ready(nodes.here, user), ready(nodes.there, user):
            async with opened(nodes.there) as third:
                await third.connect({"token": user.token})
                refusal = await third.packet(lambda packet: packet.startswith("44"))
                assert "TOO_MANY_CONNECTIONS" in refusal
            nodes.here.child.send(signal.SIGKILL)

            await until_let_in(nodes.there, user)


@pytest.mark.parametrize("heard", [0, 2])
async def test_recovery_on_another_node_after_a_kill(tmp_path: Path, heard: int) -> None:
    """ "on any node, after a node's death, with zero events received so far": whole, in order, none twice."""
    with pair(tmp_path) as nodes:
        user = await nodes.here.person()
        given: dict[str, object] = {}
        async with opened(nodes.here) as socket:
            pid, recovered = await visited(socket, user)
            assert not recovered
            await post(nodes.here, user, *[str(number) for number in range(heard)])
            for _ in range(heard):
                *_, given["offset"] = await socket.event_args("notification:new")
                *_, given["offset"] = await socket.event_args("notification:unread")
            nodes.here.child.send(signal.SIGKILL)
        await post(nodes.there, user, *[str(number) for number in range(heard, heard + 5)])
        async with opened(nodes.there) as socket:
            again, recovered = await visited(socket, user, pid=pid, **given)
            assert (again, recovered) == (pid, True)
            assert await told(socket, 5) == [str(number) for number in range(heard, heard + 5)]
        async with opened(nodes.there) as socket:
            stranger = await nodes.there.person()
            again, recovered = await visited(socket, stranger, pid=pid, **given)
            assert (again != pid, recovered) == (True, False)


async def test_a_job_is_followed_on_another_node_after_a_kill(tmp_path: Path) -> None:
    """ "Replays exactly what was missed, in order, on any node, after a node's death": the events of a job too, which
    runs on in the node that lives.
    """
    steps = 10
    with (
        redis.serving() as broker,
        serving(tmp_path, {"broker_url": broker.url}) as here,
        serving(tmp_path, {"broker_url": broker.url, "worker": True}) as there,
    ):
        for node in (here, there):
            await eventually(partial(answers, node))
        user = await here.person()
        given: dict[str, object] = {}
        events: list[dict[str, Any]] = []
        async with opened(here) as socket:
            pid, _ = await visited(socket, user)
            job = await start_job(here, user, steps=steps, delayMs=150)
            await socket.ask("job:subscribe", {"jobId": job})
            while len(events) < 3:
                event, given["offset"] = await socket.event_args("job:event")
                events.append(event)
            here.child.send(signal.SIGKILL)
            await socket.closing()
        async with opened(there) as socket:
            assert await visited(socket, user, pid=pid, **given) == (pid, True)
            while events[-1]["type"] != "completed":
                events.append(await socket.event("job:event"))
    assert [event["attempt"] for event in events[1:]] == [1] * len(events[1:])
    done = round(events[0]["progress"] * steps)
    told = [event["message"] for event in events if event["type"] == "progress"]
    assert told == [f"step {step} of {steps}" for step in range(done + 1, steps + 1)]


async def test_redis_that_stands_still(tmp_path: Path) -> None:
    """ "POSTs are still accepted, clients hear ``degraded`` within 5 s"; then ``ok``, and all of it in order."""
    with pair(tmp_path) as nodes:
        user = await nodes.here.person()
        async with joined(nodes.there, user) as socket:
            await socket.event("notification:ready")
            nodes.redis.child.send(signal.SIGSTOP)
            assert await socket.event("system:status") == {"state": "degraded"}
            assert nodes.there.get("/readyz").status_code == 503
            await post(nodes.here, user, "1", "2", "3")
            nodes.redis.child.send(signal.SIGCONT)
            assert await socket.event("system:status") == {"state": "ok"}
            assert await told(socket, 3) == ["1", "2", "3"]
        await eventually(partial(answers, nodes.there))


async def test_redis_that_forgets(tmp_path: Path) -> None:
    """ "a flush changes the epoch and clients are told honestly that they cannot resume"."""
    with pair(tmp_path) as nodes:
        user = await nodes.here.person()
        async with opened(nodes.there) as socket:
            pid, _ = await visited(socket, user)
            await post(nodes.here, user, "before")
            await told(socket, 1)
            *_, offset = await socket.event_args("notification:unread")
            nodes.redis.say("FLUSHALL")
            await post(nodes.here, user, "after")
            await socket.closing()
        assert await until_let_in(nodes.there, user, pid=pid, offset=offset) is False
        async with nodes.there.http(user) as client:
            page = (await client.get("/notifications")).json()
        assert [item["title"] for item in page["items"]] == ["after", "before"]


async def test_few_connections_to_redis(nodes: Pair) -> None:
    """ "Redis connections per process <= 4 whatever the number of subscribers"."""
    users = await nodes.here.people(*[(await nodes.here.person()).role] * 30)
    async with AsyncExitStack() as stack:
        for user in users:
            await stack.enter_async_context(ready(nodes.here, user))
            await stack.enter_async_context(streaming(nodes.here, "/notifications/events", user))
        await eventually(lambda: 0 < nodes.here.gauge("tidings_redis_connections") <= 4)
        clients = nodes.redis.say("CLIENT", "LIST").count("tidings-")
        assert clients <= 8
