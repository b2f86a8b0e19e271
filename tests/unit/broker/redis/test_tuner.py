"""Turns: what is wanted of a server's subscriptions, worked off in batches."""

from collections.abc import AsyncIterator, Iterator

import pytest
from structlog.testing import capture_logs

from tests.support.broker_rig import ACME, ANN, BOB, OTHER, event
from tests.support.redis import RedisServer, serving
from tests.support.redis_node import Node, node, publish_numbers, until
from tidings.broker.redis.layout import channel_name
from tidings.broker.redis.tuner import Tuner
from tidings.domain.channel import job_channel


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with serving() as server:
        yield server


@pytest.fixture
async def one(redis: RedisServer) -> AsyncIterator[Node]:
    redis.say("FLUSHALL")
    async with node(redis.url) as made:
        yield made


def tuner_of(one: Node) -> Tuner:
    [shard] = one.broker._started().all()
    return shard.tuner


async def test_foreign_messages(redis: RedisServer, one: Node) -> None:
    """What somebody else publishes to a channel of ours is logged and ignored."""
    await one.broker.subscribe([ANN])
    with capture_logs() as lines:
        redis.say("SPUBLISH", channel_name(0, ANN).decode(), "nonsense")
        await one.broker.publish([(ANN, event())])
        await one.broker.position(ACME)
    assert len(one.told) == 1
    assert [line["channel"] for line in lines if line["event"] == "foreign_message"] == [ANN.key]


async def test_a_subscription_that_redis_ends(one: Node) -> None:
    """One that Redis ends by itself, as when a slot moves, is begun again, and what was missed is told."""
    await one.broker.subscribe([ANN])
    tuner = tuner_of(one)
    assert tuner._server is not None
    tuner._server.unsubscribe([channel_name(0, ANN)])
    await publish_numbers(one.broker, ANN, range(5))
    await one.heard(ANN, 4)
    assert one.numbers(ANN) == [*range(5)]
    assert one.lost == []


async def test_audited_in_slices(one: Node) -> None:
    """An audit asks about a few channels at a time, and about each of them."""
    channels = [job_channel(tenant, str(number)) for tenant in (ACME, OTHER) for number in range(700)]
    await one.broker.subscribe(channels)
    slices = list(tuner_of(one)._slices())
    assert len(slices) >= 3
    assert all(sum(map(len, part.values())) <= 1000 for part in slices)
    audited = [channel for part in slices for group in part.values() for channel in group]
    assert set(channels) < set(audited)


async def test_disorder_ends_the_epoch(redis: RedisServer, one: Node) -> None:
    """A message that was dropped below what was told since: the epoch ends, for every node, and says so."""
    async with node(redis.url) as other:
        for each in (one, other):
            await each.broker.subscribe([ANN, BOB])
        tuner = tuner_of(one)
        ear = tuner._ears.pop(channel_name(0, ANN))
        await publish_numbers(other.broker, ANN, [0])
        await publish_numbers(other.broker, BOB, [0])
        await one.heard(BOB, 0)
        tuner._ears[channel_name(0, ANN)] = ear
        await until(lambda: sorted(one.lost) == sorted(other.lost) == [ANN, BOB])
        assert one.broker.counts.disorders == 1
        await publish_numbers(other.broker, ANN, [1])
        for each in (one, other):
            await each.heard(ANN, 1)
