"""What every ``Slots`` promises, in one process and over many nodes; nodes that die; a model of it all."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.cluster_rig import Client, Cluster, cluster, eventually, running
from tests.support.redis import RedisServer, serving
from tidings.cluster.leases import Leases
from tidings.cluster.slots import RedisSlots, SharedAddresses
from tidings.identity.limiter import LocalSlots, Slots

LEASE = 10.0
NODES = 3


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with serving() as started:
        yield started


@dataclass
class Node:
    """A process: its connection, its leases, and the slots that stand on them."""

    client: Client
    leases: Leases
    slots: RedisSlots
    addresses: SharedAddresses
    granted: Counter[str] = field(default_factory=Counter)


def node(nodes: Cluster, name: str) -> Node:
    """One whose time passes when the test says so."""
    client = nodes.client()
    leases = Leases(client, name, lease=LEASE, clock=nodes.clock)
    return Node(client, leases, RedisSlots(leases, lambda: NODES), SharedAddresses(leases, lambda: NODES))


@dataclass
class Rig:
    """Slots that are counted together; what was given back has been told when ``settle`` returns."""

    places: list[Slots]
    leases: list[Leases]

    async def settle(self) -> None:
        for each in self.leases:
            assert await each.tell()


@pytest.fixture(params=["memory", "redis"])
async def rig(request: pytest.FixtureRequest, server: RedisServer) -> AsyncIterator[Rig]:
    if request.param == "memory":
        yield Rig([LocalSlots()] * NODES, [])
    else:
        async with cluster(server) as nodes:
            made = [node(nodes, f"n{number}") for number in range(NODES)]
            yield Rig([each.slots for each in made], [each.leases for each in made])


async def test_the_twenty_first_connection_finds_no_slot(rig: Rig) -> None:
    """Contract, section 10: "per user 20, cluster-wide"; the 21st is refused, and one that ends makes room."""
    assert all([await rig.places[number % NODES].acquire("user:a", 20) for number in range(20)])
    for place in rig.places:
        assert not await place.acquire("user:a", 20)
    assert await rig.places[0].acquire("user:b", 20)
    rig.places[1].give("user:a")
    await rig.settle()
    assert await rig.places[2].acquire("user:a", 20)
    assert not await rig.places[0].acquire("user:a", 20)


async def test_many_at_once(rig: Rig) -> None:
    """Twenty of a hundred that come in the same moment are let in, on whatever nodes."""
    taken = await asyncio.gather(*(rig.places[number % NODES].acquire("u", 20) for number in range(100)))
    assert sum(taken) == 20


async def test_giving_back_what_was_not_taken_does_nothing(rig: Rig) -> None:
    """Neither on the node that holds one nor on any other."""
    for place in rig.places:
        place.give("u")
    assert await rig.places[0].acquire("u", 1)
    if rig.leases:
        rig.places[1].give("u")
    await rig.settle()
    assert not await rig.places[1].acquire("u", 1)
    rig.places[0].give("u")
    rig.places[0].give("u")
    await rig.settle()
    assert await rig.places[1].acquire("u", 1)
    assert not await rig.places[2].acquire("u", 1)


async def test_nothing_stays(server: RedisServer) -> None:
    """A key of which nothing is held is nowhere."""
    async with cluster(server) as nodes:
        one, two = node(nodes, "one"), node(nodes, "two")
        for each in (one, two):
            assert await each.slots.acquire("u", 2)
        assert not await one.slots.acquire("u", 2)
        assert not await two.slots.acquire("v", 0)
        for each in (one, two):
            each.slots.give("u")
            assert await each.leases.tell()
            assert len(each.leases) == 0
        assert nodes.keys() == "[]"


async def test_the_slots_of_a_node_that_died(server: RedisServer) -> None:
    """Leases die with a node: what it held is free when they have run out, and what others hold is not."""
    async with cluster(server) as nodes:
        client = nodes.client()
        lost, lives = Leases(client, "lost", lease=0.3), Leases(nodes.client(), "lives", lease=0.3)

        async def outlived() -> bool:
            return client.calls >= 15 + 4

        slots = RedisSlots(lives)
        async with running(lives):
            async with running(lost):
                assert all([await RedisSlots(lost).acquire("u", 20) for _ in range(15)])
                assert all([await slots.acquire("u", 20) for _ in range(5)])
                await eventually(outlived)
                assert not await slots.acquire("u", 20)
            for _ in range(15):
                await eventually(lambda: slots.acquire("u", 20))
            assert not await slots.acquire("u", 20)


async def test_addresses_of_all_nodes_together(server: RedisServer) -> None:
    """Contract, section 10: "per IP 200": what the other nodes hold counts as soon as it has been heard of."""
    async with cluster(server) as nodes:
        one, two = node(nodes, "one"), node(nodes, "two")
        assert all(one.addresses.take("ip", 200) for _ in range(150))
        assert await one.leases.tell()
        assert two.addresses.take("ip", 200)
        assert await two.leases.tell()
        assert sum(two.addresses.take("ip", 200) for _ in range(100)) == 49
        assert await two.leases.tell()
        one.leases.renew()
        assert await one.leases.tell()
        assert not one.addresses.take("ip", 200)
        for _ in range(50):
            two.addresses.give("ip")
        assert await two.leases.tell()
        nodes.clock.now += 1
        assert not one.addresses.take("ip", 200)
        assert await one.leases.tell()
        assert sum(one.addresses.take("ip", 200) for _ in range(100)) == 50


async def test_an_address_on_two_nodes_at_the_same_time(server: RedisServer) -> None:
    """Beyond the limit comes at most what both take before they have heard of each other, and never again."""
    async with cluster(server) as nodes:
        pair = [node(nodes, "one"), node(nodes, "two")]
        assert sum(each.addresses.take("ip", 10) for each in pair for _ in range(8)) == 16
        for each in pair * 2:
            assert await each.leases.tell()
            each.leases.renew()
        assert not any(each.addresses.take("ip", 10) for each in pair)
        for _ in range(8):
            pair[0].addresses.give("ip")
        for each in pair:
            each.leases.renew()
            assert await each.leases.tell()
        assert sum(pair[1].addresses.take("ip", 10) for _ in range(5)) == 2


names = st.sampled_from(["acquire", "acquire", "acquire", "give", "give", "lose", "die", "wait", "flush"])
steps = st.lists(st.tuples(names, st.integers(0, NODES - 1), st.sampled_from("ab")), max_size=40)


class Model:
    """Nodes, what each was granted, and what the dead ones held, with how much of their leases is left."""

    def __init__(self, nodes: Cluster, limit: int) -> None:
        self.nodes = nodes
        self.limit = limit
        self.made = 0
        self.living = [self.born() for _ in range(NODES)]
        self.dead: list[tuple[Counter[str], float]] = []

    def born(self) -> Node:
        self.made += 1
        return node(self.nodes, f"n{self.made}")

    def live(self, key: str) -> int:
        return sum(each.granted[key] for each in self.living)

    def taken(self, key: str) -> int:
        return self.live(key) + sum(held[key] for held, _ in self.dead)

    async def acquire(self, number: int, key: str) -> None:
        """Exactly what the limit leaves is granted."""
        each, room = self.living[number], self.taken(key) < self.limit
        assert await each.slots.acquire(key, self.limit) == room
        each.granted[key] += room

    async def lose(self, number: int, key: str) -> None:
        """The answer is lost, and the node judges alone. The limit it is given is what the model can check."""
        each = self.living[number]
        limit = self.limit - self.live(key) + each.granted[key]
        each.client.deaf = True
        each.granted[key] += await each.slots.acquire(key, limit)
        each.client.deaf = False

    async def give(self, number: int, key: str) -> None:
        each = self.living[number]
        each.slots.give(key)
        each.granted[key] -= each.granted[key] > 0

    async def die(self, number: int, key: str) -> None:
        self.dead.append((self.living[number].granted, LEASE))
        self.living[number] = self.born()

    async def wait(self, number: int, key: str) -> None:
        """More than half a lease goes by; those that live renew theirs."""
        self.nodes.advance(0.6 * LEASE)
        self.dead = [(held, left - 0.6 * LEASE) for held, left in self.dead if left > 0.6 * LEASE]
        for each in self.living:
            each.leases.renew()

    async def flush(self, number: int, key: str) -> None:
        """Redis forgets everything, and the dead for good."""
        self.nodes.flush()
        self.dead = []
        for each in self.living:
            each.leases.renew()


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(limit=st.integers(1, 5), steps=steps)
async def test_never_more_than_the_limit(
    server: RedisServer, limit: int, steps: list[tuple[str, int, str]]
) -> None:
    """Model: nodes come and go, and at no time more is held than the limit, nor less granted than it leaves."""
    async with cluster(server) as nodes:
        model = Model(nodes, limit)
        for name, number, key in steps:
            await getattr(model, name)(number, key)
            for each in model.living:
                assert await each.leases.tell()
            assert all(model.live(key) <= limit for key in "ab")
        for each in model.living:
            held = {key for key, count in each.granted.items() if count}
            assert set(each.leases._holdings) == held
