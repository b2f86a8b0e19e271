"""The broker's ninth guarantee, on every implementation. Docstrings quote it."""

from collections.abc import AsyncIterator

import pytest

from tests.support.broker_rig import ANN, BOB, JOB, BrokerRig, broker_rig, event
from tests.support.redis import Arrangement
from tidings.broker.base import Limits
from tidings.domain.position import NOWHERE


@pytest.fixture
async def rig(broker_servers: Arrangement | None) -> AsyncIterator[BrokerRig]:
    async with broker_rig(broker_servers, Limits()) as made:
        yield made


async def test_to_those_who_hear(rig: BrokerRig) -> None:
    """What is whispered is delivered to those who hear the channel at that moment, and has no number."""
    await rig.broker.subscribe([ANN, JOB])
    rig.broker.whisper(BOB, event("nobody hears this"))
    rig.broker.whisper(JOB, event("psst", key="k"))
    await rig.broker.publish([(ANN, event())])
    await rig.settle()
    [whispered, published] = rig.heard
    assert (whispered.channel, whispered.event, whispered.position) == (
        JOB,
        event("psst", key="k"),
        NOWHERE,
    )
    assert published.channel == ANN
    assert abs(whispered.published_at - published.published_at) < 1


async def test_no_trace(rig: BrokerRig) -> None:
    """It moves nobody's position, and no history holds it."""
    await rig.broker.subscribe([JOB])
    [start] = await rig.broker.publish([(ANN, event())])
    rig.broker.whisper(JOB, event())
    history = await rig.broker.read([JOB, ANN], start)
    assert (history.upto, history.events) == (start, ())
    assert history.latest is not None
    assert history.latest.channel == ANN


async def test_until_unsubscribed(rig: BrokerRig) -> None:
    """Who hears the channel no more is told nothing."""
    await rig.broker.subscribe([ANN, JOB])
    await rig.broker.unsubscribe([JOB])
    rig.broker.whisper(JOB, event())
    await rig.broker.publish([(ANN, event())])
    await rig.settle()
    assert [each.channel for each in rig.heard] == [ANN]


async def test_never_fails(rig: BrokerRig) -> None:
    """Out of reach, nobody heard it."""
    await rig.broker.subscribe([JOB])
    await rig.broker.close()
    rig.broker.whisper(JOB, event())
    assert rig.heard == []
