"""Contract, section 9: "Redis down, slow, flushed, restarted: no crash, no fail-open", of limits, slots, records."""

import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from tests.support.cluster_rig import Client, Cluster, cluster, eventually, running
from tests.support.processes import free_port
from tests.support.redis import RedisServer, serving
from tidings.cluster.leases import Leases, name_of
from tidings.cluster.limiter import RedisLimiter
from tidings.cluster.records import RedisRecords
from tidings.cluster.slots import RedisSlots
from tidings.delivery.records import Record
from tidings.delivery.resume import Place
from tidings.domain.people import Role, TenantId, UserId
from tidings.domain.position import Cursor, Position

PATIENCE = 0.4
LEASE = 0.6
BEGAN = Place(Cursor(Position("e", 5), Position("g", 0)))
RECORD = Record(UserId("ann"), TenantId("acme"), Role.USER, BEGAN, BEGAN)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with serving() as started:
        yield started


class Node:
    """One of two, with everything it shares with the other."""

    def __init__(self, nodes: Cluster, name: str) -> None:
        self.client = client = nodes.client(PATIENCE)
        self.leases = Leases(client, name, lease=LEASE)
        self.slots = RedisSlots(self.leases, lambda: 2)
        self.limiter = RedisLimiter(client, name, 20, 60, nodes=lambda: 2)
        self.records = RedisRecords(client)

    async def hits(self, count: int) -> int:
        """How many of so many hits are let in."""
        return sum([(await self.limiter.hit("u")).allowed for _ in range(count)])

    async def takes(self, count: int) -> int:
        """How many of so many slots are taken."""
        return sum([await self.slots.acquire("u", 20) for _ in range(count)])


@asynccontextmanager
async def pair(server: RedisServer) -> AsyncIterator[tuple[Node, Node]]:
    async with cluster(server) as nodes:
        one, two = Node(nodes, "one"), Node(nodes, "two")
        async with running(one.leases, two.leases):
            yield one, two


@contextmanager
def paused(server: RedisServer) -> Iterator[None]:
    """Redis takes what it is sent, and does not answer."""
    server.child.send(signal.SIGSTOP)
    try:
        yield
    finally:
        server.child.send(signal.SIGCONT)


@contextmanager
def known_away(*nodes: Node) -> Iterator[None]:
    """Nobody waits for a Redis that has not answered before."""
    for node in nodes:
        node.client.cut = True
    yield
    for node in nodes:
        node.client.cut = False


async def test_flushed(server: RedisServer) -> None:
    """What a node let in counts on, and what it holds is told again."""
    async with pair(server) as (one, two):
        assert await one.hits(30) == 20
        assert await one.takes(20) == 20
        server.say("FLUSHALL")
        assert await one.hits(5) == 0
        await eventually(lambda: _full(server, 1, 20))
        assert await two.takes(1) == 0


async def test_flushed_before_the_limit_was_reached(server: RedisServer) -> None:
    """The key's next hit tells Redis of those before, and so the other node."""
    async with pair(server) as (one, two):
        assert await one.hits(15) == 15
        server.say("FLUSHALL")
        assert await one.hits(1) == 1
        assert await two.hits(10) == 4


async def test_paused_and_back(server: RedisServer) -> None:
    """Waits are bounded; alone each lets in its half, less what it let in before; and then all of it counts."""
    async with pair(server) as (one, two):
        assert await one.hits(6) == 6
        assert await one.takes(6) == 6
        with paused(server):
            began = time.monotonic()
            assert await one.hits(1) + await two.takes(1) == 2
            assert time.monotonic() - began < 4 * PATIENCE
            with known_away(one, two):
                assert await one.hits(5) == 3
                assert await one.takes(6) == 4
                assert await two.takes(12) == 9
                assert await two.hits(11) == 10
        await eventually(lambda: _full(server, 2, 20))
        for each in (one, two):
            await each.limiter.catch_up()
        assert await one.hits(1) + await two.hits(1) + await one.hits(1) == 0
        assert await one.takes(1) + await two.takes(1) == 0
        one.slots.give("u")
        await eventually(lambda: two.slots.acquire("u", 20))


async def test_restarted_with_nothing() -> None:
    """Away for longer than a lease, then back and empty: what is held is told again, what was given back is not."""
    port = free_port()
    with serving(port) as server:
        async with pair(server) as (one, two):
            assert await one.takes(12) == 12
            assert await two.takes(8) == 8
            server.child.stop(signal.SIGKILL)
            for _ in range(4):
                one.slots.give("u")
            assert await one.takes(9) == 2
            with serving(port) as again:
                await eventually(lambda: _full(again, 2, 18))
                assert await two.takes(5) == 2


async def test_records_of_a_redis_that_is_away(server: RedisServer) -> None:
    """A connect does not fail for it, and nobody waits for long; what was kept before is found afterwards."""
    async with pair(server) as (one, two):
        await one.records.keep("before", RECORD)
        with paused(server):
            began = time.monotonic()
            await two.records.keep("meanwhile", RECORD)
            assert await two.records.find("before") is None
            assert time.monotonic() - began < 4 * PATIENCE
        assert await two.records.find("before") == RECORD


async def test_scripts_forgotten(server: RedisServer) -> None:
    """``SCRIPT FLUSH`` is not noticed."""
    async with pair(server) as (one, two):
        assert await one.hits(5) == 5
        server.say("SCRIPT", "FLUSH")
        assert await two.hits(20) == 15
        assert await two.takes(1) == 1


async def _full(server: RedisServer, nodes: int, slots: int) -> bool:
    """Whether Redis knows so many slots of so many nodes, read as an operator would."""
    client = Client(server.port)
    try:
        leases = await client.values(name_of("u"))
    finally:
        await client.close()
    return len(leases) == nodes and sum(int(each.split()[0]) for each in leases) == slots
