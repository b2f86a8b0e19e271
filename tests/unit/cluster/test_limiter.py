"""What ``RedisLimiter`` does when Redis is away, forgets, or loses an answer; how often it asks."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.cluster_rig import Cluster, cluster
from tests.support.redis import RedisServer, serving
from tidings.broker.base import BrokerUnavailable
from tidings.cluster.limiter import RedisLimiter
from tidings.identity.limiter import Verdict


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with serving() as started:
        yield started


@pytest.fixture
async def nodes(server: RedisServer) -> AsyncIterator[Cluster]:
    async with cluster(server) as made:
        yield made


async def let_in(limiter: RedisLimiter, count: int) -> int:
    return sum([(await limiter.hit("u")).allowed for _ in range(count)])


async def test_a_share_while_redis_is_away(nodes: Cluster) -> None:
    """A third of the limit on each of three nodes, and the verdict says what is in force."""
    client = nodes.client()
    client.cut = True
    limiter = RedisLimiter(client, "n", 20, 60, nodes=lambda: 3, clock=nodes.clock)
    for count in range(6):
        assert await limiter.hit("u") == Verdict(True, 6, 5 - count, 60, 0)
        nodes.clock.now += 1
    assert await limiter.hit("u") == Verdict(False, 6, 0, 60, 54)


async def test_what_was_let_in_before_counts_towards_the_share(nodes: Cluster) -> None:
    """Whoever is beyond the share already waits until enough has aged, and no longer."""
    client = nodes.client()
    limiter = RedisLimiter(client, "n", 20, 60, nodes=lambda: 2, clock=nodes.clock)
    for _ in range(15):
        assert (await limiter.hit("u")).allowed
        nodes.advance(1)
    client.cut = True
    assert await limiter.hit("u") == Verdict(False, 10, 0, 60, 50)
    nodes.advance(50)
    assert await limiter.hit("u") == Verdict(True, 10, 0, 60, 0)


async def test_a_share_is_never_nothing(nodes: Cluster) -> None:
    """With more nodes than points each lets in one."""
    client = nodes.client()
    client.cut = True
    limiter = RedisLimiter(client, "n", 2, 60, nodes=lambda: 5, clock=nodes.clock)
    assert await let_in(limiter, 3) == 1


async def test_a_flood_asks_redis_once(nodes: Cluster) -> None:
    """Once it is refused, nothing that could be asked would change that before the oldest hit has aged."""
    client = nodes.client()
    limiter = RedisLimiter(client, "n", 20, 60, clock=nodes.clock)
    assert await let_in(limiter, 1000) == 20
    assert client.calls == 21


async def test_a_refusal_outlives_redis(nodes: Cluster) -> None:
    """It holds on the node that heard it, whoever let the hits in, also when Redis goes or forgets."""
    client = nodes.client()
    other = RedisLimiter(nodes.client(), "other", 20, 60, clock=nodes.clock)
    limiter = RedisLimiter(client, "n", 20, 60, clock=nodes.clock)
    assert await let_in(other, 20) == 20
    assert await let_in(limiter, 1) == 0
    client.cut = True
    assert await let_in(limiter, 1) == 0
    client.cut = False
    nodes.flush()
    assert await let_in(limiter, 1) == 0


async def test_a_lost_answer_does_not_count_twice(nodes: Cluster) -> None:
    """A hit that Redis wrote down without our knowing, and that was let in here, is the same hit."""
    client = nodes.client()
    limiter = RedisLimiter(client, "n", 20, 60, clock=nodes.clock)
    client.deaf = True
    assert await let_in(limiter, 5) == 5
    client.deaf = False
    assert await limiter.hit("u") == Verdict(True, 20, 14, 60, 0)


async def test_catching_up(nodes: Cluster) -> None:
    """What was let in during an outage is known to the other nodes when it is over, and told once."""
    client, other = nodes.client(), RedisLimiter(nodes.client(), "other", 20, 60, clock=nodes.clock)
    limiter = RedisLimiter(client, "n", 20, 60, clock=nodes.clock)
    client.cut = True
    assert await let_in(limiter, 15) == 15
    with pytest.raises(BrokerUnavailable):
        await limiter.catch_up()
    client.cut = False
    nodes.advance(10)
    calls = client.calls
    await limiter.catch_up()
    await limiter.catch_up()
    assert client.calls == calls + 1
    assert await let_in(other, 10) == 5
    assert (await other.hit("u")).retry_after == 50


async def test_what_is_told_expires_too(nodes: Cluster) -> None:
    """Whether or not there was room for another one."""
    client = nodes.client()
    limiter = RedisLimiter(client, "n", 20, 60, clock=nodes.clock)
    client.cut = True
    assert await let_in(limiter, 20) == 20
    client.cut = False
    assert await let_in(limiter, 1) == 0
    nodes.advance(61)
    assert nodes.keys() == "[]"


async def test_more_than_fits_was_let_in(nodes: Cluster) -> None:
    """Shares and what came before may be more than the limit: then so much has to age that there is room."""
    pair = [nodes.client(), nodes.client()]
    one, two = (RedisLimiter(each, str(id(each)), 4, 60, clock=nodes.clock) for each in pair)
    for client in pair:
        client.cut = True
    for limiter in (one, two):
        assert await let_in(limiter, 4) == 4
        nodes.advance(10)
    for client in pair:
        client.cut = False
    for limiter in (one, two):
        await limiter.catch_up()
    third = RedisLimiter(nodes.client(), "third", 4, 60, clock=nodes.clock)
    assert await third.hit("u") == Verdict(False, 4, 0, 60, 50)


@pytest.mark.parametrize(("points", "seconds"), [(0, 60), (1, 0)])
async def test_a_window_that_allows_nothing_is_a_mistake(nodes: Cluster, points: int, seconds: float) -> None:
    """It would have no time to tell anyone to come back."""
    with pytest.raises(ValueError, match="at least one point"):
        RedisLimiter(nodes.client(), "n", points, seconds)
