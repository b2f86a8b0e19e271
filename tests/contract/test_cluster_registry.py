"""How many nodes live, as each of them knows. Time passes in Redis."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.cluster_rig import Cluster, cluster
from tests.support.redis import RedisServer, serving
from tidings.cluster.registry import Registry


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with serving() as started:
        yield started


@pytest.fixture
async def nodes(server: RedisServer) -> AsyncIterator[Cluster]:
    async with cluster(server) as made:
        yield made


async def test_nodes_know_of_each_other(nodes: Cluster) -> None:
    """Each says that it lives; a node that goes says so too."""
    here, there = Registry(nodes.client(), "a"), Registry(nodes.client(), "b")
    assert here.count() == 1
    await here.renew()
    await there.renew()
    await here.renew()
    assert (here.count(), there.count()) == (2, 2)
    await there.leave()
    await here.renew()
    assert here.count() == 1


async def test_a_dead_node_is_forgotten(nodes: Cluster) -> None:
    """Within a lease of its last word, and not before."""
    here, dead = Registry(nodes.client(), "a"), Registry(nodes.client(), "b")
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
    here, there = Registry(client, "a"), Registry(nodes.client(), "b")
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
