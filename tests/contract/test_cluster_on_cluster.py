"""What nodes share, on a Redis Cluster, through the broker's own connections: the promises of the four parts hold
whatever server a key lives on, and whatever braces an id has."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from tests.support.redis import Arrangement, cluster
from tests.support.redis_node import node
from tidings.broker.base import Limits
from tidings.broker.redis.broker import RedisBroker
from tidings.broker.redis.layout import SLOTS, slot
from tidings.broker.redis.ledger import Terms
from tidings.cluster.leases import Leases
from tidings.cluster.limiter import RedisLimiter
from tidings.cluster.records import RedisRecords
from tidings.cluster.registry import Registry
from tidings.cluster.slots import RedisSlots
from tidings.cluster.vitals import Vitals
from tidings.delivery.records import Record
from tidings.delivery.resume import Place
from tidings.domain.people import Role, TenantId, UserId
from tidings.domain.position import Cursor, Position

SERVERS = 3
BEGAN = Place(Cursor(Position("e", 5), Position("g", 0)))
RECORD = Record(UserId("ann"), TenantId("acme"), Role.USER, BEGAN, BEGAN)


def at_home_on(server: int) -> str:
    """A tag that lives on this server of the cluster."""
    tags = (f"ann-{number}" for number in range(SLOTS))
    return next(tag for tag in tags if slot(tag) // (SLOTS // SERVERS + 1) == server)


IDS = ["ann", "{}ann", "ann{", "a}b", *(f"auth0|{{{at_home_on(server)}}}" for server in range(SERVERS))]
"""On every server there is one whose tag lives there."""


@pytest.fixture(scope="module")
def servers() -> Iterator[Arrangement]:
    with cluster(SERVERS) as arrangement:
        yield arrangement


@pytest.fixture
async def brokers(servers: Arrangement) -> AsyncIterator[list[RedisBroker]]:
    """Those of two nodes."""
    servers.flush()
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(node(servers.url, Terms(Limits()))) for _ in range(2)]
        yield [each.broker for each in nodes]


@pytest.mark.parametrize("user", IDS)
async def test_limits(brokers: list[RedisBroker], user: str) -> None:
    """Contract, section 4: "20 client events in any 60 s and user, counted over ... all nodes"."""
    nodes = [RedisLimiter(broker, f"n{number}", 20, 60) for number, broker in enumerate(brokers)]
    verdicts = [await nodes[count % 2].hit(f"user:{user}") for count in range(30)]
    assert [verdict.allowed for verdict in verdicts] == [True] * 20 + [False] * 10


@pytest.mark.parametrize("user", IDS)
async def test_slots(brokers: list[RedisBroker], user: str) -> None:
    """Contract, section 10: "per user 20, cluster-wide"; one that ends makes room on the other node."""
    leases = [Leases(broker, f"n{number}") for number, broker in enumerate(brokers)]
    here, there = (RedisSlots(each) for each in leases)
    assert all([await (here, there)[count % 2].acquire(user, 20) for count in range(20)])
    assert not await here.acquire(user, 20)
    assert not await there.acquire(user, 20)
    here.give(user)
    assert await leases[0].tell()
    assert await there.acquire(user, 20)


async def test_records(brokers: list[RedisBroker]) -> None:
    """Contract, section 4: "on any node": what one keeps the other finds, whatever server has it."""
    here, there = (RedisRecords(broker) for broker in brokers)
    await asyncio.gather(*(here.keep(pid, RECORD) for pid in IDS))
    assert await asyncio.gather(*(there.find(pid) for pid in IDS)) == [RECORD] * len(IDS)
    assert here.unrecorded == 0


async def test_registry(brokers: list[RedisBroker]) -> None:
    """The nodes know of each other."""
    here, there = (
        Registry(broker, name, Vitals(f"id-{name}", 0, lambda: False))
        for name, broker in zip("ab", brokers, strict=True)
    )
    await here.renew()
    await there.renew()
    assert {each["id"] for each in await here.nodes()} == {"id-a", "id-b"}
    assert (here.count(), there.count()) == (2, 2)
