"""What nodes have in common: in this process's memory when it is alone, in Redis when the broker is there.

A page of the composition root: like ``app`` it may import everything, and only ``app`` imports it.
"""

import asyncio
import math
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from tidings import metrics
from tidings.broker.base import Broker, BrokerUnavailable, Limits
from tidings.broker.memory import MemoryBroker
from tidings.broker.redis.broker import RedisBroker
from tidings.broker.redis.ledger import Terms
from tidings.cluster.leases import Leases
from tidings.cluster.limiter import RedisLimiter
from tidings.cluster.records import RedisRecords
from tidings.cluster.registry import Registry, seen_now
from tidings.cluster.slots import RedisSlots, SharedAddresses
from tidings.delivery.records import LocalRecords, Records
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.node import NodeState
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

    def limiter(self, points: int, seconds: float, *, pace: float = math.inf) -> Limiter:
        """A window over all nodes, of which others spend at most ``pace`` a second. Made before ``run``."""

    def measure(self) -> None:
        """Bring the metrics of the connections up to date."""

    async def nodes(self) -> list[dict[str, Any]]:
        """The nodes that live, as each last told.

        Raises:
            TidingsError: UNAVAILABLE, nobody can be asked.
        """

    async def node(self, node_id: str) -> dict[str, Any] | None:
        """The node of that name, as it last told; None if there is none.

        While nobody can be asked, it is one of those last known.

        Raises:
            TidingsError: UNAVAILABLE, it is not among these, and yet may live.
        """

    async def run(self) -> None:
        """Keep what is held alive, until cancelled."""

    async def returned(self) -> None:
        """The broker works again: tell it what it missed. Harmless when it has gone once more."""

    async def leave(self) -> None:
        """This node goes: give back what it holds at once."""


def sharing(settings: Settings, state: Callable[[], NodeState]) -> Sharing:
    """What the settings' broker takes. ``state`` is how this node fares.

    Raises:
        ValueError: the broker's address is none.
    """
    return Alone(settings, state) if settings.embedded_broker else Together(settings, state)


def redis_broker(settings: Settings) -> RedisBroker:
    """The broker that several processes share.

    Raises:
        ValueError: the broker's address is none.
    """
    return RedisBroker(settings.broker_url, Terms(_limits(settings)))


class Alone:
    """One process."""

    def __init__(self, settings: Settings, state: Callable[[], NodeState]) -> None:
        self._state = state
        self.broker: Broker = MemoryBroker(_limits(settings), clock=time.time)
        self.records: Records = LocalRecords()
        self.users: Slots = LocalSlots()
        self.streams: Slots = LocalSlots()
        self.addresses: Addresses = LocalSlots()

    def limiter(self, points: int, seconds: float, *, pace: float = math.inf) -> Limiter:
        return SlidingWindow(points, seconds)

    def measure(self) -> None:
        """There are none."""

    async def nodes(self) -> list[dict[str, Any]]:
        return [seen_now(self._state())]

    async def node(self, node_id: str) -> dict[str, Any] | None:
        return _named(node_id, await self.nodes())

    async def run(self) -> None:
        """Nobody has to be told."""

    async def returned(self) -> None:
        """It never went."""

    async def leave(self) -> None:
        """Nobody else counts."""


class Together:
    """Many processes on one Redis, each under a name that is never given again."""

    def __init__(self, settings: Settings, state: Callable[[], NodeState]) -> None:
        broker = redis_broker(settings)
        self._node = secrets.token_hex(_NODE_BYTES)
        self._redis = broker
        self._registry = Registry(broker, self._node, state, least=settings.workers)
        self._leases = Leases(broker, self._node)
        self._limiters: list[RedisLimiter] = []
        self.broker: Broker = broker
        self.records: Records = RedisRecords(broker, lifetime=settings.connection_lifetime)
        self.users: Slots = RedisSlots(self._leases, self._registry.count)
        self.streams: Slots = self.users
        self.addresses: Addresses = SharedAddresses(self._leases, self._registry.count)

    def limiter(self, points: int, seconds: float, *, pace: float = math.inf) -> Limiter:
        nodes = self._registry.count
        made = RedisLimiter(self._redis, self._node, points, seconds, nodes=nodes, pace=pace)
        self._limiters.append(made)
        return made

    def measure(self) -> None:
        self._redis.measure()
        metrics.redis_connections.set(self._redis.connections)

    async def nodes(self) -> list[dict[str, Any]]:
        try:
            return await self._registry.nodes()
        except BrokerUnavailable as fault:
            raise TidingsError(ErrorCode.UNAVAILABLE, detail=repr(fault)) from fault

    async def node(self, node_id: str) -> dict[str, Any] | None:
        try:
            return _named(node_id, await self.nodes())
        except TidingsError:
            if (known := _named(node_id, self._registry.known())) is None:
                raise
            return known

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


def _named(node_id: str, nodes: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    return next((node for node in nodes if node["id"] == node_id), None)


def _limits(settings: Settings) -> Limits:
    return Limits(settings.history_events, settings.history_seconds)
