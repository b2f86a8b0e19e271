"""What nodes have in common: in this process's memory when it is alone, in Redis when the broker is there.

A page of the composition root: like ``app`` it may import everything, and only ``app`` imports it.
"""

import asyncio
import secrets
import time
from typing import Protocol

from tidings.broker.base import Broker, BrokerUnavailable, Limits
from tidings.broker.memory import MemoryBroker
from tidings.broker.redis.broker import RedisBroker
from tidings.broker.redis.ledger import Terms
from tidings.cluster.commands import Script, Word
from tidings.cluster.leases import Leases
from tidings.cluster.limiter import RedisLimiter
from tidings.cluster.records import RedisRecords
from tidings.cluster.registry import Registry
from tidings.cluster.slots import RedisSlots, SharedAddresses
from tidings.delivery.records import LocalRecords, Records
from tidings.identity.limiter import Addresses, Limiter, LocalSlots, SlidingWindow, Slots
from tidings.settings import Settings

_NODE_BYTES = 8


class Sharing(Protocol):
    """Where everything is that more than one node must agree on. ``users`` and ``streams`` count apart by key."""

    broker: Broker
    records: Records
    users: Slots
    streams: Slots
    addresses: Addresses

    def limiter(self, points: int, seconds: float) -> Limiter:
        """A window over all nodes. Made before ``run``."""

    def connections(self) -> int:
        """Open connections to Redis."""

    async def run(self) -> None:
        """Keep what is held alive, until cancelled."""

    async def returned(self) -> None:
        """The broker works again: tell it what it missed. Harmless when it has gone once more."""

    async def leave(self) -> None:
        """This node goes: give back what it holds at once."""


def sharing(settings: Settings) -> Sharing:
    """What the settings' broker takes.

    Raises:
        ValueError: the broker's address is none.
    """
    return Alone(settings) if settings.embedded_broker else Together(settings)


class Alone:
    """One process."""

    def __init__(self, settings: Settings) -> None:
        self.broker: Broker = MemoryBroker(_limits(settings), clock=time.time)
        self.records: Records = LocalRecords()
        self.users: Slots = LocalSlots()
        self.streams: Slots = LocalSlots()
        self.addresses: Addresses = LocalSlots()

    def limiter(self, points: int, seconds: float) -> Limiter:
        return SlidingWindow(points, seconds)

    def connections(self) -> int:
        return 0

    async def run(self) -> None:
        """Nobody has to be told."""

    async def returned(self) -> None:
        """It never went."""

    async def leave(self) -> None:
        """Nobody else counts."""


class _Commands:
    """The broker's connection for commands, as the room ``cluster`` asks for it."""

    def __init__(self, broker: RedisBroker) -> None:
        self._broker = broker

    async def run(self, script: Script, key: str, *words: Word) -> object:
        return await self._broker.evaluate(script.sha, script.text, key, words)


class Together:
    """Many processes on one Redis, each under a name that is never given again."""

    def __init__(self, settings: Settings) -> None:
        broker = RedisBroker(settings.broker_url, Terms(_limits(settings)))
        self._node = secrets.token_hex(_NODE_BYTES)
        self._redis = broker
        self._commands = commands = _Commands(broker)
        self._registry = Registry(commands, self._node)
        self._leases = Leases(commands, self._node)
        self._limiters: list[RedisLimiter] = []
        self.broker: Broker = broker
        self.records: Records = RedisRecords(commands, lifetime=settings.connection_lifetime)
        self.users: Slots = RedisSlots(self._leases, self._registry.count)
        self.streams: Slots = self.users
        self.addresses: Addresses = SharedAddresses(self._leases, self._registry.count)

    def limiter(self, points: int, seconds: float) -> Limiter:
        made = RedisLimiter(self._commands, self._node, points, seconds, nodes=self._registry.count)
        self._limiters.append(made)
        return made

    def connections(self) -> int:
        return self._redis.connections

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._leases.run())
            group.create_task(self._registry.run())

    async def returned(self) -> None:
        try:
            for limiter in self._limiters:
                await limiter.catch_up()
        except BrokerUnavailable:
            return
        self._leases.renew()

    async def leave(self) -> None:
        await self._leases.tell()
        await self._registry.leave()


def _limits(settings: Settings) -> Limits:
    return Limits(settings.history_events, settings.history_seconds)
