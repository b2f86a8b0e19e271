"""How a node judges alone: by its share and by what it knows of the others; addresses, which nobody waits for."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.cluster_rig import Client, Cluster, cluster
from tests.support.redis import RedisServer, serving
from tidings.cluster.leases import Leases
from tidings.cluster.slots import RedisSlots, SharedAddresses

LEASE = 15.0


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with serving() as started:
        yield started


@pytest.fixture
async def nodes(server: RedisServer) -> AsyncIterator[Cluster]:
    async with cluster(server) as made:
        yield made


def lease(nodes: Cluster, client: Client, name: str = "n") -> Leases:
    return Leases(client, name, lease=LEASE, clock=nodes.clock)


async def taken(slots: RedisSlots, count: int) -> int:
    return sum([await slots.acquire("u", 20) for _ in range(count)])


async def test_a_share_while_redis_is_away(nodes: Cluster) -> None:
    """A quarter of the limit on each of four nodes; what is held beyond it lives on."""
    client = nodes.client()
    slots = RedisSlots(lease(nodes, client), lambda: 4)
    assert await taken(slots, 3) == 3
    client.cut = True
    assert await taken(slots, 5) == 2
    slots.give("u")
    assert await taken(slots, 5) == 1


async def test_held_beyond_the_share(nodes: Cluster) -> None:
    """Nobody is thrown out by an outage, and nobody let in either."""
    client = nodes.client()
    slots = RedisSlots(lease(nodes, client), lambda: 4)
    assert await taken(slots, 12) == 12
    client.cut = True
    assert await taken(slots, 1) == 0
    for _ in range(8):
        slots.give("u")
    assert await taken(slots, 5) == 1


async def test_what_others_were_known_to_hold(nodes: Cluster) -> None:
    """It is left to them for as long as their leases would have lasted; after that they may have died."""
    client = nodes.client()
    other = RedisSlots(lease(nodes, nodes.client(), "other"))
    slots = RedisSlots(lease(nodes, client), lambda: 2)
    assert await taken(other, 17) == 17
    assert await taken(slots, 1) == 1
    client.cut = True
    assert await taken(slots, 20) == 2
    nodes.advance(LEASE)
    assert await taken(slots, 20) == 7


async def test_addresses_while_redis_is_away(nodes: Cluster) -> None:
    """Once it is known to be away, the share is what counts; what is held then is told when it is back."""
    client = nodes.client()
    leases = lease(nodes, client)
    addresses = SharedAddresses(leases, lambda: 4)
    client.cut = True
    assert addresses.take("ip", 200)
    assert not await leases.tell()
    assert sum(addresses.take("ip", 200) for _ in range(100)) == 49
    assert not addresses.take("other", 0)
    client.cut = False
    assert await leases.tell()
    other = RedisSlots(lease(nodes, nodes.client(), "other"))
    assert not await other.acquire("ip", 50)
    assert await other.acquire("ip", 51)


async def test_a_refused_address_is_asked_about_once_a_second(nodes: Cluster) -> None:
    """A flood from a full address makes no flood of questions."""
    client = nodes.client()
    leases = lease(nodes, client)
    addresses = SharedAddresses(leases)
    other = RedisSlots(lease(nodes, nodes.client(), "other"))
    assert all([await other.acquire("ip", 9) for _ in range(9)])
    assert addresses.take("ip", 10)
    assert await leases.tell()
    calls = client.calls
    for _ in range(3):
        for _ in range(100):
            assert not addresses.take("ip", 10)
            assert await leases.tell()
        nodes.advance(0.5)
    assert client.calls == calls + 1


async def test_an_address_that_fills_this_node_is_not_asked_about(nodes: Cluster) -> None:
    """What the others hold would change nothing. Nothing is kept of who was never let in."""
    client = nodes.client()
    leases = lease(nodes, client)
    addresses = SharedAddresses(leases)
    assert addresses.take("ip", 1)
    assert await leases.tell()
    nodes.advance(2)
    assert not addresses.take("ip", 1)
    assert await leases.tell()
    assert client.calls == 1
    addresses.give("ip")
    addresses.give("ip")
    assert await leases.tell()
    assert len(leases) == 0
