"""What the scripts keep of a tenant, and for how long: bounded in everything, and never half there."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.broker_rig import ACME, ANN, BOB, event
from tests.support.redis import Arrangement, standalone
from tests.support.redis_node import QUICK, node, publish_numbers
from tidings.broker.base import Limits
from tidings.broker.redis.ledger import Terms
from tidings.domain.channel import job_channel
from tidings.domain.position import Position

TERMS = Terms(
    Limits(events=5, seconds=60.0), patience=0.5, probe=60.0, audit=60.0, memory=1000.0, memory_channels=10
)


@pytest.fixture(scope="module")
def servers() -> Iterator[Arrangement]:
    with standalone() as arrangement:
        yield arrangement


@pytest.fixture
def redis(servers: Arrangement) -> Arrangement:
    servers.flush()
    return servers


def keys(redis: Arrangement) -> int:
    """How many keys there are of the tenant."""
    return redis.servers[0].say("KEYS", "*{acme}*").count("tidings")


async def test_everything_expires(redis: Arrangement) -> None:
    """Nothing stays: histories go after their time, the tenant and its idempotency keys when nobody asks for long."""
    async with node(redis.url, TERMS) as one:
        await publish_numbers(one.broker, ANN, range(10))
        assert keys(redis) == 4
        redis.age(61)
        assert keys(redis) == 3
        redis.age(1000)
        assert keys(redis) == 0


async def test_busy_channel_keeps_what_is_young(redis: Arrangement) -> None:
    """What has aged leaves a history with the next events, though they keep its key alive."""
    async with node(redis.url, TERMS) as one:
        await publish_numbers(one.broker, ANN, range(4))
        redis.age(40)
        await publish_numbers(one.broker, ANN, [4])
        redis.age(40)
        await publish_numbers(one.broker, ANN, range(5, 7))
        [line] = [key for key in redis.servers[0].say("KEYS", "*:line:*").split("'") if "line" in key]
        assert redis.servers[0].say("LLEN", line) == "3"


async def test_last_numbers_are_bounded(redis: Arrangement) -> None:
    """Of too many channels the last numbers of the quietest are forgotten; below the floor nothing is promised."""
    async with node(redis.url, TERMS) as one:
        start = await one.broker.position(ACME)
        await publish_numbers(one.broker, ANN, [1])
        after = await one.broker.position(ACME)
        await one.broker.publish([(job_channel(ACME, str(number)), event()) for number in range(20)])
        assert not (await one.broker.read([ANN], after)).complete
        assert (await one.broker.read([ANN], Position(start.epoch, 11))).complete
        [again] = await one.broker.publish([(ANN, event())])
        [published] = (await one.broker.read([ANN], Position(start.epoch, 21))).events
        assert (published.position, published.prev) == (again, 11)


async def test_last_numbers_age(redis: Arrangement) -> None:
    """A channel that was quiet for longer than the memory is forgotten, while its tenant lives on."""
    async with node(redis.url, TERMS) as one:
        start = await one.broker.position(ACME)
        await publish_numbers(one.broker, ANN, [1])
        for number in range(5):
            redis.age(500)
            await publish_numbers(one.broker, BOB, [number])
        history = await one.broker.read([ANN], start)
        assert (history.complete, history.upto.epoch) == (False, start.epoch)
        [key] = [key for key in redis.servers[0].say("KEYS", "*{acme}*:last").split("'") if "last" in key]
        assert redis.servers[0].say("ZCARD", key) == "1"


async def test_idempotency_keys_are_bounded(redis: Arrangement) -> None:
    """Of too many the oldest is forgotten, and its event published again."""
    async with node(redis.url, replace(TERMS, memory_keys=2)) as one:
        await one.broker.publish([(ANN, event(key=key)) for key in "abc"])
        again = await one.broker.publish([(ANN, event(key=key)) for key in "bca"])
        assert [position.offset for position in again] == [2, 3, 4]
        [key] = [key for key in redis.servers[0].say("KEYS", "*{acme}*:keys").split("'") if "keys" in key]
        assert redis.servers[0].say("ZCARD", key) == "2"


async def test_evicted_numbers_end_the_epoch(redis: Arrangement) -> None:
    """Last numbers that are gone would let a gap pass for none: the counter begins anew, and says so."""
    async with node(redis.url, TERMS) as one:
        start = await one.broker.position(ACME)
        await publish_numbers(one.broker, ANN, [1])
        [key] = [key for key in redis.servers[0].say("KEYS", "*{acme}*:last").split("'") if "last" in key]
        redis.servers[0].say("DEL", key)
        history = await one.broker.read([ANN], start)
        assert (history.complete, history.upto.offset) == (False, 0)
        assert history.upto.epoch != start.epoch


async def test_long_history(redis: Arrangement) -> None:
    """All that a long history holds is read, oldest first."""
    async with node(redis.url, replace(QUICK, limits=Limits(events=1000))) as one:
        start = await one.broker.position(ACME)
        await one.broker.publish([(ANN, event(str(number))) for number in range(1000)])
        events = (await one.broker.read([ANN], start)).events
        assert [each.event.data for each in events] == [str(number).encode() for number in range(1000)]
        tail = (await one.broker.read([ANN], Position(start.epoch, 984))).events
        assert len(tail) == 16
