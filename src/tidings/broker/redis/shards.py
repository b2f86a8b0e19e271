"""Which Redis server is a tenant's home: the only one, the one that sentinels name, or one of a cluster.

It knows no channel; a shard that it is told about moves what is heard of a tenant.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from logging import DEBUG, WARNING
from typing import Protocol, cast

import structlog

from tidings.broker.base import BrokerUnavailable
from tidings.broker.redis.address import Address, Arrangement, Login, Target
from tidings.broker.redis.backoff import backoff
from tidings.broker.redis.hearing import Counts
from tidings.broker.redis.layout import SLOTS, slot
from tidings.broker.redis.ledger import Terms
from tidings.broker.redis.link import LinkLost, Reply, connect
from tidings.broker.redis.shard import Find, Shard
from tidings.broker.redis.tuner import Ear, fail
from tidings.domain.people import TenantId

_PAUSE = 0.1
"""Seconds between two looks at a cluster's map, at least; after one that failed it is the back-off's."""

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("tidings.broker")


class Shards(Protocol):
    """The servers of one arrangement."""

    def all(self) -> Sequence[Shard]:
        """Those that are known now."""

    def of(self, tenant: TenantId) -> Shard:
        """The tenant's home.

        Raises:
            BrokerUnavailable: nobody knows it now.
        """

    def at(self, place: int) -> Shard:
        """The home of a slot. Raises as ``of`` does."""

    async def look(self) -> None:
        """Find out anew where tenants live; return when that is known.

        Raises:
            BrokerUnavailable: nobody says so in time.
        """

    async def run(self) -> None:
        """Serve until cancelled."""


def shards(target: Target, terms: Terms, ears: dict[bytes, Ear], counts: Counts) -> Shards:
    """What the target's arrangement takes."""
    if target.arrangement is Arrangement.CLUSTER:
        return Cluster(target, terms, ears, counts)
    return Single(target, terms, ears, counts)


class Single:
    """One server leads: always the same, or the one that the sentinels name when it is looked for."""

    def __init__(self, target: Target, terms: Terms, ears: dict[bytes, Ear], counts: Counts) -> None:
        find: Find = (
            _Sentinels(target, terms.patience).leader
            if target.arrangement is Arrangement.SENTINEL
            else partial(_stay, target.addresses[0])
        )
        self._shard = Shard(find, target, terms, ears, lambda _: True, lambda: None, counts)

    def all(self) -> Sequence[Shard]:
        return (self._shard,)

    def of(self, tenant: TenantId) -> Shard:
        return self._shard

    def at(self, place: int) -> Shard:
        return self._shard

    async def look(self) -> None:
        """There is nothing to find out."""

    async def run(self) -> None:
        await self._shard.run()


class Cluster:
    """A server for each range of slots. The map is looked at again whenever it proves wrong."""

    def __init__(self, target: Target, terms: Terms, ears: dict[bytes, Ear], counts: Counts) -> None:
        self._target = target
        self._terms = terms
        self._ears = ears
        self._counts = counts
        self._homes: list[Address | None] = [None] * SLOTS
        self._shards: dict[Address, Shard] = {}
        self._tasks: dict[Address, asyncio.Task[None]] = {}
        self._doubt = asyncio.Event()
        self._looked: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def all(self) -> Sequence[Shard]:
        return tuple(self._shards.values())

    def of(self, tenant: TenantId) -> Shard:
        return self.at(slot(tenant))

    def at(self, place: int) -> Shard:
        home = self._homes[place]
        if home is None:
            raise BrokerUnavailable("no server of the cluster has the slot")
        return self._shards[home]

    async def look(self) -> None:
        self._doubt.set()
        try:
            async with asyncio.timeout(self._terms.patience):
                await asyncio.shield(self._looked)
        except TimeoutError:
            raise BrokerUnavailable("nobody knows the cluster's map") from None

    async def run(self) -> None:
        pauses, failed = backoff(), False
        try:
            self._doubt.set()
            while True:
                await self._doubt.wait()
                try:
                    await self._draw()
                except Exception as fault:  # noqa: BLE001 - a map that cannot be read is looked at again
                    self._doubt.set()
                    # While it stays unknown that is said once.
                    level, strange = DEBUG if failed else WARNING, not isinstance(fault, BrokerUnavailable)
                    _log.log(level, "cluster_map_unknown", reason=str(fault), exc_info=strange)
                    failed = True
                    await asyncio.sleep(next(pauses))
                else:
                    pauses, failed = backoff(), False
                    await asyncio.sleep(_PAUSE)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _draw(self) -> None:
        """Draw the map anew and move whoever lives elsewhere.

        Raises:
            BrokerUnavailable: none of the servers has one.
        """
        self._doubt.clear()
        faults = []
        looked, self._looked = self._looked, asyncio.get_running_loop().create_future()
        proven = [address for address, shard in self._shards.items() if shard.proven]
        for address in dict.fromkeys((*proven, *self._shards, *self._target.addresses)):
            try:
                ranges = await _slots(address, self._target, self._terms.patience)
            except BrokerUnavailable as fault:
                faults.append(str(fault))
                continue
            await self._settle(ranges)
            looked.set_result(None)
            return
        reason = "; ".join(faults)
        fail(looked, f"nobody knows the cluster's map: {reason}")
        raise BrokerUnavailable(reason)

    async def _settle(self, ranges: Iterable[tuple[int, int, Address]]) -> None:
        """Let everyone live where the map says. Who lives nowhere stays, and waits."""
        homes: list[Address | None] = [None] * SLOTS
        for first, last, address in ranges:
            homes[first : last + 1] = [address] * (last + 1 - first)
        self._homes = homes
        leading = {address for address in homes if address is not None}
        for address in leading - self._shards.keys():
            shard = Shard(
                partial(_stay, address),
                self._target,
                self._terms,
                self._ears,
                partial(self._lives_at, address),
                self._doubt.set,
                self._counts,
            )
            self._shards[address] = shard
            self._tasks[address] = asyncio.create_task(shard.run())
        for address, shard in list(self._shards.items()):
            self._move_from(shard)
            if address not in leading and set(shard.tuner.hearings) <= {shard.probe}:
                del self._shards[address]
                task = self._tasks.pop(address)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def _lives_at(self, address: Address, tenant: TenantId) -> bool:
        return self._homes[slot(tenant)] == address

    def _move_from(self, shard: Shard) -> None:
        for hearing in list(shard.tuner.hearings):
            home = self._homes[slot(hearing.tenant)]
            if hearing is shard.probe or home is None or self._shards[home] is shard:
                continue
            shard.tuner.release(hearing)
            hearing.hold()
            self._shards[home].tuner.enter(hearing, list(hearing.channels))


async def _stay(address: Address) -> Address:
    return address


async def _slots(address: Address, target: Target, patience: float) -> list[tuple[int, int, Address]]:
    """The ranges of slots that a node of the cluster knows, each with the server that leads it."""
    reply = await _ask(address, target, target.login, patience, "CLUSTER", "SLOTS")
    ranges = []
    for first, last, leader, *_ in cast("list[tuple[int, int, list[bytes | int | None]]]", reply):
        host, port = cast("bytes | None", leader[0]), cast("int", leader[1])
        # A node that does not know its own name is where it was asked.
        ranges.append((first, last, Address(host.decode() if host else address.host, port)))
    return ranges


class _Sentinels:
    """Asked in turn, so that one which names a server that does not lead (any more) is not believed for ever."""

    def __init__(self, target: Target, patience: float) -> None:
        self._target = target
        self._patience = patience
        self._turns = deque(target.addresses)

    async def leader(self) -> Address:
        """The leading server, as the next sentinel says that answers.

        Raises:
            LinkLost: none of them knows.
        """
        faults = []
        words = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._target.master)
        for _ in self._target.addresses:
            address = self._turns[0]
            self._turns.rotate(-1)
            try:
                reply = await _ask(address, self._target, self._target.sentinel_login, self._patience, *words)
            except BrokerUnavailable as fault:
                faults.append(str(fault))
                continue
            if reply is not None:
                host, port = cast("list[bytes]", reply)
                return Address(host.decode(), int(port))
            faults.append(f"{address} knows no master of that name")
        raise LinkLost("; ".join(faults))


async def _ask(address: Address, target: Target, login: Login, patience: float, *words: str) -> Reply:
    """One question on a connection of its own."""
    link = await connect(address, target.tls, lambda _: None, lambda _: None, patience)
    try:
        if login.password:
            await link.call("AUTH", login.user, login.password)
        return await link.call(*words)
    finally:
        await link.close()
