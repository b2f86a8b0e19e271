"""Contract, sections 2 and 11: a ticket is good on every node, one stream at a time, and outlives a node."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pair import Pair, pair
from tests.support.server import Person, Server, serving
from tests.support.streams import streaming

PATH = "/notifications/events"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("nodes")) as running:
        yield running


async def ticket(server: Server, person: Person) -> str:
    """The address of the inbox's stream with a ticket of that person."""
    async with server.http(person) as client:
        answer = await client.post("/tickets", json={"for": PATH})
    assert answer.status_code == 201
    return f"{PATH}?ticket={answer.json()['ticket']}"


async def opens(server: Server, path: str) -> bool:
    async with streaming(server, path, None) as stream:
        if stream.response.status_code != 200:
            assert stream.response.status_code == 401
            return False
        return (await stream.message()).type == "ready"


async def test_on_every_node(nodes: Pair) -> None:
    """A ticket that one node has issued opens the stream at the other, and later at the first again."""
    path = await ticket(nodes.here, await nodes.here.person())
    for node in (nodes.there, nodes.here, nodes.here, nodes.there):
        assert await opens(node, path)


async def test_one_stream_at_a_time(nodes: Pair) -> None:
    """ "A second stream at the same time ... is 401", on whichever node."""
    path = await ticket(nodes.here, await nodes.here.person())
    async with streaming(nodes.there, path, None) as stream:
        await stream.message()
        for node in (nodes.here, nodes.there):
            assert not await opens(node, path)
    assert await opens(nodes.here, path)


async def test_a_ticket_outlives_a_node_that_was_killed(tmp_path: Path) -> None:
    """Section 9: "its clients reconnect anywhere": an ``EventSource`` would never come again after a 401."""
    with pair(tmp_path) as nodes:
        path = await ticket(nodes.here, await nodes.here.person())
        async with streaming(nodes.there, path, None) as stream:
            await stream.message()
            nodes.there.child.send(signal.SIGKILL)
            assert await opens(nodes.here, path)


async def test_a_ticket_outlives_a_restart(tmp_path: Path) -> None:
    """Likewise for a server that is alone."""
    with serving(tmp_path) as server:
        person = await server.person()
        path = await ticket(server, person)
        async with streaming(server, path, None) as stream:
            await stream.message()
            server.child.stop()
    with serving(tmp_path) as server:
        assert await opens(server, path)
