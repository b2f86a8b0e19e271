"""Which nodes live and how they fare, as each of them knows. Time passes in Redis."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tests.support.cluster_rig import Client, Cluster, cluster
from tests.support.redis import RedisServer, serving
from tidings.broker.base import BrokerUnavailable
from tidings.cluster.registry import Registry
from tidings.cluster.vitals import Vitals
from tidings.domain.node import NodeRole


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with serving() as started:
        yield started


@pytest.fixture
async def nodes(server: RedisServer) -> AsyncIterator[Cluster]:
    async with cluster(server) as made:
        yield made


def registry(client: Client, name: str, draining: Callable[[], bool] = lambda: False) -> Registry:
    return Registry(client, name, Vitals(f"id-{name}", 0, draining))


async def test_workers_are_shown_and_not_counted(nodes: Cluster) -> None:
    """Who serves nobody takes no share of a limit, and is seen all the same."""
    server = registry(nodes.client(), "a")
    worker = Registry(nodes.client(), "w", Vitals("id-w", 0, lambda: False, NodeRole.WORKER))
    await worker.renew()
    found = await server.nodes()
    assert {node["id"]: node["role"] for node in found} == {"id-a": "server", "id-w": "worker"}
    await worker.renew()
    assert (server.count(), worker.count()) == (1, 1)


async def test_nodes_know_of_each_other(nodes: Cluster) -> None:
    """Each says that it lives; a node that goes says so too."""
    here, there = registry(nodes.client(), "a"), registry(nodes.client(), "b")
    assert here.count() == 1
    await here.renew()
    await there.renew()
    await here.renew()
    assert (here.count(), there.count()) == (2, 2)
    await there.leave()
    await here.renew()
    assert here.count() == 1


async def test_those_that_were_started_together(nodes: Cluster) -> None:
    """Contract, section 9: "no fail-open": who begins while Redis is away counts those that were started with it."""
    client = nodes.client()
    client.cut = True
    here = Registry(client, "a", Vitals("id-a", 0, lambda: False), least=4)
    await here.renew()
    assert here.count() == 4
    client.cut = False
    await here.renew()
    assert here.count() == 4
    for name in "bcde":
        await registry(nodes.client(), name).renew()
    await here.renew()
    assert here.count() == 5


async def test_a_dead_node_is_forgotten(nodes: Cluster) -> None:
    """Within a lease of its last word, and not before."""
    here, dead = registry(nodes.client(), "a"), registry(nodes.client(), "b")
    await dead.renew()
    nodes.advance(10)
    await here.renew()
    assert here.count() == 2
    nodes.advance(6)
    await here.renew()
    assert here.count() == 1


async def test_what_was_known_is_kept_while_redis_is_away(nodes: Cluster) -> None:
    """Shares do not grow because nobody can be asked; after a flush nodes are found again."""
    client = nodes.client()
    here, there = registry(client, "a"), registry(nodes.client(), "b")
    await there.renew()
    await here.renew()
    client.cut = True
    await here.renew()
    await here.leave()
    assert here.count() == 2
    client.cut = False
    nodes.flush()
    await here.renew()
    await there.renew()
    assert there.count() == 2


async def test_each_is_told_of_as_it_last_was(nodes: Cluster) -> None:
    """The oldest first; whatever a node tells takes the place of what it told before."""
    draining = False
    here = registry(nodes.client(), "a", lambda: draining)
    there = registry(nodes.client(), "b")
    await here.renew()
    draining = True
    await there.renew()
    told = await here.nodes()
    assert {node["id"]: node["draining"] for node in told} == {"id-a": True, "id-b": False}
    assert [node["startedAt"] for node in told] == sorted(node["startedAt"] for node in told)
    assert nodes.keys().count("tidings:") == 1


async def test_when_each_was_seen(nodes: Cluster) -> None:
    """By the clock of Redis, which is one for all."""
    await registry(nodes.client(), "b").renew()
    here = registry(nodes.client(), "a")
    fresh = {node["id"]: node["lastSeen"] for node in await here.nodes()}
    nodes.advance(10)
    aged = {node["id"]: node["lastSeen"] for node in await here.nodes()}
    assert aged["id-b"] < fresh["id-b"]
    assert aged["id-a"] >= fresh["id-a"]


async def test_nobody_can_be_asked(nodes: Cluster) -> None:
    """Who wants to see the nodes while Redis is away is told that it is."""
    client = nodes.client()
    client.cut = True
    with pytest.raises(BrokerUnavailable):
        await registry(client, "a").nodes()


async def test_those_that_were_known(nodes: Cluster) -> None:
    """Need not be asked for: this one as it is now, and the others as they told when Redis was there."""
    client, draining = nodes.client(), False
    here = registry(client, "a", lambda: draining)
    assert [node["id"] for node in here.known()] == ["id-a"]
    await registry(nodes.client(), "b").renew()
    await here.renew()
    client.cut = draining = True
    await here.renew()
    assert {node["id"]: node["draining"] for node in here.known()} == {"id-a": True, "id-b": False}
