"""One node's ``RedisBroker`` with quick terms, and everything it was told: what the tests of faults need."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from tests.support.broker_rig import event
from tidings.broker.base import BrokerUnavailable, Limits
from tidings.broker.redis.broker import RedisBroker
from tidings.broker.redis.ledger import Terms
from tidings.domain.channel import Channel
from tidings.domain.event import Published

QUICK = Terms(Limits(events=1000, seconds=60.0), patience=0.5, probe=0.1, audit=0.5)
_WAIT_SECONDS = 20.0
_POLL_SECONDS = 0.005


@dataclass
class Node:
    """A started broker; ``told`` is what it delivered and ``lost`` what it gave up, as they came."""

    broker: RedisBroker
    told: list[Published] = field(default_factory=list)
    lost: list[Channel] = field(default_factory=list)

    def numbers(self, channel: Channel) -> list[int]:
        """What ``publish_numbers`` had published to a channel, as it was delivered."""
        return [int(published.event.data) for published in self.told if published.channel == channel]

    async def heard(self, channel: Channel, number: int) -> None:
        """Wait until a number has been delivered."""
        await until(lambda: number in self.numbers(channel))

    def in_order(self) -> bool:
        """Whether each tenant's events came in the order of its numbers, none twice."""
        return all(
            earlier.position.offset < later.position.offset
            for tenant in {published.channel.tenant for published in self.told}
            for earlier, later in pairwise(each for each in self.told if each.channel.tenant == tenant)
            if earlier.position.epoch == later.position.epoch
        )


@asynccontextmanager
async def node(url: str, terms: Terms = QUICK) -> AsyncIterator[Node]:
    made = Node(RedisBroker(url, terms))
    await made.broker.start(made.told.append, made.lost.append)
    try:
        yield made
    finally:
        await made.broker.close()


async def publish_numbers(broker: RedisBroker, channel: Channel, numbers: Iterable[int]) -> int:
    """Publish as the relay does: in order, each until it is known to be published. Returns how often it was not."""
    refused = 0
    for number in numbers:
        while True:
            try:
                await broker.publish([(channel, event(str(number), key=f"{channel.key} {number}"))])
            except BrokerUnavailable:
                refused += 1
                await asyncio.sleep(_POLL_SECONDS)
            else:
                break
    return refused


async def until(condition: Callable[[], bool], seconds: float = _WAIT_SECONDS) -> float:
    """Look again and again until the condition holds; how long that took.

    Raises:
        TimeoutError: it did not hold in that time.
    """
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            raise TimeoutError(f"not so within {seconds} s")
        await asyncio.sleep(_POLL_SECONDS)
    return time.monotonic() - begun
