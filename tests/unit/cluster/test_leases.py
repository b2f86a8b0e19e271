"""How a node's holdings are told: late, twice, out of order, after an outage, and not for ever."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from tests.support.cluster_rig import Client, Cluster, cluster, eventually, running
from tests.support.redis import RedisServer, serving
from tidings.broker.redis.link import Word
from tidings.broker.redis.script import Script
from tidings.cluster.leases import Leases
from tidings.cluster.slots import RedisSlots

LEASE = 15.0


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with serving() as started:
        yield started


@pytest.fixture
async def nodes(server: RedisServer) -> AsyncIterator[Cluster]:
    async with cluster(server) as made:
        yield made


class Held:
    """A connection whose calls wait until the test lets each of them through."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.gates: list[asyncio.Event] = []

    async def run(self, script: Script, key: str | Sequence[str], *words: Word) -> object:
        self.gates.append(gate := asyncio.Event())
        await gate.wait()
        return await self._client.run(script, key, *words)

    async def waiting(self, count: int) -> None:
        async def waits() -> bool:
            return len(self.gates) == count

        await eventually(waits)


async def test_calls_that_overtake_each_other(nodes: Cluster) -> None:
    """Of two counts the later one stays, so that nobody else is let in for what is held here."""
    held = Held(nodes.client())
    slots = RedisSlots(Leases(held, "n", clock=nodes.clock))
    tasks = [asyncio.create_task(slots.acquire("u", 2)) for _ in range(2)]
    await held.waiting(2)
    for number in (1, 0):
        held.gates[number].set()
        assert await tasks[number]
    other = RedisSlots(Leases(nodes.client(), "other", clock=nodes.clock))
    assert not await other.acquire("u", 2)


async def test_a_slot_is_given_back_while_it_is_being_asked_for(nodes: Cluster) -> None:
    """``give`` takes nothing from those that are still asking, and the count that is told includes them."""
    held = Held(nodes.client())
    leases = Leases(held, "n", clock=nodes.clock)
    slots = RedisSlots(leases)
    task = asyncio.create_task(slots.acquire("u", 1))
    await held.waiting(1)
    slots.give("u")
    held.gates[0].set()
    assert await task
    other = RedisSlots(Leases(nodes.client(), "other", clock=nodes.clock))
    assert not await other.acquire("u", 1)


async def test_whoever_stops_waiting_holds_nothing(nodes: Cluster) -> None:
    """A cancelled ``acquire`` may have been granted without our knowing; Redis is told that it is not held."""
    client = nodes.client()
    held = Held(client)
    leases = Leases(held, "n", clock=nodes.clock)
    task = asyncio.create_task(RedisSlots(leases).acquire("u", 1))
    await held.waiting(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    telling = asyncio.create_task(leases.tell())
    await held.waiting(2)
    held.gates[1].set()
    assert await telling
    assert len(leases) == 0


async def test_given_back_while_redis_is_away(nodes: Cluster) -> None:
    """It is told until Redis has heard it."""
    client = nodes.client()
    leases = Leases(client, "n", lease=LEASE, clock=nodes.clock)
    slots = RedisSlots(leases)
    assert await slots.acquire("u", 1)
    client.cut = True
    slots.give("u")
    assert not await leases.tell()
    client.cut = False
    assert await leases.tell()
    assert nodes.keys() == "[]"
    assert len(leases) == 0


async def test_given_back_and_redis_is_away_for_long(nodes: Cluster) -> None:
    """When its lease has run out in Redis there is nothing left to be told."""
    client = nodes.client()
    leases = Leases(client, "n", lease=LEASE, clock=nodes.clock)
    slots = RedisSlots(leases)
    assert await slots.acquire("u", 1)
    client.cut = True
    slots.give("u")
    nodes.advance(LEASE - 1)
    assert not await leases.tell()
    nodes.advance(1)
    assert await leases.tell()
    assert len(leases) == 0


async def test_one_answer_tells_of_a_flush(nodes: Cluster) -> None:
    """Redis does not know what it was told: at once it is told everything again."""
    client = nodes.client()
    leases = Leases(client, "n", clock=nodes.clock)
    slots = RedisSlots(leases)
    for number in range(10):
        assert await slots.acquire(f"u{number}", 1)
    assert await leases.tell()
    nodes.flush()
    assert await slots.acquire("u0", 2)
    assert await leases.tell()
    other = RedisSlots(Leases(nodes.client(), "other", clock=nodes.clock))
    assert not any([await other.acquire(f"u{number}", 1) for number in range(10)])


async def test_back_with_nothing(nodes: Cluster) -> None:
    """After an outage everything is told again, whatever of it was tried meanwhile."""
    client = nodes.client()
    leases = Leases(client, "n", clock=nodes.clock)
    slots = RedisSlots(leases)
    for key in ("u", "v"):
        assert await slots.acquire(key, 1)
    client.cut = True
    assert not await slots.acquire("u", 1)
    nodes.flush()
    client.cut = False
    for _ in range(2):
        assert await leases.tell()
    other = RedisSlots(Leases(nodes.client(), "other", clock=nodes.clock))
    assert not await other.acquire("u", 1)
    assert not await other.acquire("v", 1)


async def test_away_is_found_out_by_the_first_batch(nodes: Cluster) -> None:
    """A node that holds thousands of keys does not try each of them again and again."""
    client = nodes.client()
    leases = Leases(client, "n", clock=nodes.clock)
    slots = RedisSlots(leases)
    for number in range(1200):
        assert await slots.acquire(f"u{number}", 1)
    client.cut = True
    client.calls = 0
    leases.renew()
    assert not await leases.tell()
    assert client.calls == 16
    client.cut = False
    assert await leases.tell()
    assert await leases.tell()
    assert client.calls == 16 + 256


async def test_what_is_held_is_renewed(nodes: Cluster) -> None:
    """A node that lives keeps what it holds, for many leases."""
    leases = Leases(nodes.client(), "n", lease=0.15)
    slots = RedisSlots(leases)
    other = RedisSlots(Leases(nodes.client(), "other", lease=0.15))
    loop = asyncio.get_running_loop()
    async with running(leases):
        assert await slots.acquire("u", 1)
        until = loop.time() + 5 * 0.15

        async def over() -> bool:
            assert not await other.acquire("u", 1)
            return loop.time() > until

        await eventually(over)


async def test_told_at_once(nodes: Cluster) -> None:
    """What is given back is free elsewhere long before the next renewal."""
    leases = Leases(nodes.client(), "n", lease=3600)
    slots = RedisSlots(leases)
    other = RedisSlots(Leases(nodes.client(), "other", lease=3600))
    async with running(leases):
        assert await slots.acquire("u", 1)
        slots.give("u")
        await eventually(lambda: other.acquire("u", 1))


async def test_tried_again_soon(nodes: Cluster) -> None:
    """Redis was away for a moment: what could not be told is told when it is back, and not at the next renewal."""
    client = nodes.client()
    leases = Leases(client, "n", lease=0.9)
    slots = RedisSlots(leases)
    async with running(leases):
        assert await slots.acquire("u", 1)
        client.cut = True
        slots.give("u")
        calls = client.calls

        async def tried() -> bool:
            return client.calls >= calls + 3

        await eventually(tried)
        client.cut = False

        async def empty() -> bool:
            return len(leases) == 0

        await eventually(empty)


async def test_many_keys_are_renewed_in_few_calls(nodes: Cluster) -> None:
    """What is held at rest costs a call for a hundred keys that lie together, and nothing of it is lost."""
    client = nodes.client()
    leases = Leases(client, "n", clock=nodes.clock)
    slots = RedisSlots(leases)
    users = [f"u{number}" for number in range(2000)]
    assert all([await slots.acquire(user, 1) for user in users])
    client.calls = 0
    leases.renew()
    assert await leases.tell()
    assert client.calls <= 256
    other = RedisSlots(Leases(nodes.client(), "other", clock=nodes.clock))
    assert not any([await other.acquire(user, 1) for user in users[:50]])
    for user in users:
        slots.give(user)
    assert await leases.tell()
    assert len(leases) == 0
    assert all([await other.acquire(user, 1) for user in users[:50]])
