"""The broker of many processes. The guarantees of ``base`` hold for all nodes on one Redis.

Publishing and asking go straight to the servers as scripts, many at once on one connection each; hearing is
the shards'. Here is what joins the two: subscriptions are counted, and what is read of a channel that is
heard has been delivered before it is returned.

Redis must keep what it is given until it expires (``maxmemory-policy noeviction``). A restart, a failover or
a flush ends the epochs, because each may have lost what was published last.
"""

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from dataclasses import replace

import structlog

from tidings import metrics
from tidings.broker.base import BrokerUnavailable, Deliver, History, Lost
from tidings.broker.redis.address import parse
from tidings.broker.redis.hearing import Answer, Counts, Hearing
from tidings.broker.redis.layout import Entry, lots, slot_of_key
from tidings.broker.redis.ledger import Ledger, Request, Terms, Wanted
from tidings.broker.redis.link import Refused, Reply, Word
from tidings.broker.redis.script import Script
from tidings.broker.redis.server import Server
from tidings.broker.redis.shard import Shard
from tidings.broker.redis.shards import Shards, shards
from tidings.domain.channel import Channel
from tidings.domain.event import Event
from tidings.domain.people import TenantId
from tidings.domain.position import Position

_COUNTERS = {
    "connects": metrics.broker_connects,
    "repaired": metrics.broker_repaired,
    "lost": metrics.broker_lost,
    "disorders": metrics.broker_disorders,
    "unheard": metrics.broker_whispers_lost,
}

_ATTEMPTS = 3

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("tidings.broker")


class RedisBroker:
    """``Broker`` on the Redis of a URL (``address``). ``counts`` is what happened so far.

    Raises:
        ValueError: the URL is none; the message names the fault.
    """

    def __init__(self, url: str, terms: Terms) -> None:
        self._target = parse(url)
        self._terms = terms
        self._ledger = Ledger(self._target.database, self._terms)
        self.counts = Counts()
        self._measured = Counts()
        self._channels: dict[Channel, int] = {}
        self._hearings: dict[TenantId, Hearing] = {}
        self._shards: Shards | None = None
        self._task: asyncio.Task[None] | None = None
        self._deliver: Deliver = lambda _: None
        self._lost: Lost = lambda _: None

    async def start(self, deliver: Deliver, lost: Lost = lambda _: None) -> None:
        """Connect. While Redis cannot be reached this returns after a while, and goes on trying.

        ``lost`` is called for each subscribed channel of which something was missed that nobody has any more.
        """
        self._deliver, self._lost = deliver, lost
        self._shards = shards(self._target, self._terms, {}, self.counts)
        self._task = asyncio.create_task(self._shards.run())
        with contextlib.suppress(BrokerUnavailable, TimeoutError):
            async with asyncio.timeout(self._terms.patience):
                await self._shards.look()
                for shard in self._shards.all():
                    await shard.proof.wait()

    async def close(self) -> None:
        self._shards = None
        self._hearings.clear()
        self._channels.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def publish(self, batch: Sequence[tuple[Channel, Event]]) -> list[Position]:
        """One round trip for each hundred events of a tenant, of all tenants at once.

        Raises:
            BrokerUnavailable: not started, closed or out of reach; publish the batch again with the same keys.
            ValueError: an event's name is longer than 255 bytes, or its key than 65,535.
        """
        self._started()
        tenants: dict[TenantId, list[tuple[int, Entry]]] = {}
        for index, entry in enumerate(batch):
            tenants.setdefault(entry[0].tenant, []).append((index, entry))
        waiting = {tenant: lots(entries) for tenant, entries in tenants.items()}
        positions: dict[int, Position] = {}
        while len(positions) < len(batch):
            turn = [(tenant, lot) for tenant, rest in waiting.items() if (lot := next(rest, None))]
            requests = [self._ledger.publish(tenant, [entry for _, entry in lot]) for tenant, lot in turn]
            for (_, lot), reply in zip(turn, await self._ask(requests), strict=True):
                epoch, numbers = self._ledger.numbers(reply)
                for (index, (_, event)), number in zip(lot, numbers, strict=True):
                    positions[index] = Position(epoch, abs(number))
                    if number > 0:
                        metrics.events_published.labels(event.name).inc()
        return [positions[index] for index in range(len(batch))]

    def whisper(self, channel: Channel, event: Event) -> None:
        """No script, but a plain command.

        Raises:
            ValueError: as ``publish``.
        """
        try:
            self._started().of(channel.tenant).whisper(channel, event)
        except BrokerUnavailable as fault:
            self.counts.unheard += 1
            _log.debug("whisper_lost", reason=str(fault))

    async def subscribe(self, channels: Collection[Channel]) -> None:
        """Counted. Begun in batches with whatever else is subscribed to meanwhile.

        Raises:
            BrokerUnavailable: it could not be begun; nothing is counted.
        """
        begun: list[Channel] = []
        try:
            for channel in channels:
                begun.append(channel)
                self._channels[channel] = self._channels.get(channel, 0) + 1
                if self._channels[channel] == 1:
                    self._enter(channel)
            for channel in begun:
                await self._settled(channel)
        except BaseException:
            await self.unsubscribe(begun)
            raise

    async def unsubscribe(self, channels: Collection[Channel]) -> None:
        """Counted. Redis is told soon; what still comes is ignored at once."""
        for channel in channels:
            count = self._channels.pop(channel, 0) - 1
            if count > 0:
                self._channels[channel] = count
            elif count == 0:
                self._leave(channel)

    async def position(self, tenant: TenantId) -> Position:
        """Where the tenant's counter stands.

        Raises:
            BrokerUnavailable: nobody knows now.
        """
        return (await self._answer(tenant, ())).upto

    async def read(self, channels: Collection[Channel], after: Position) -> History:
        """What followed, as far as all of it is still there.

        Raises:
            ValueError: the channels are not those of exactly one tenant.
            BrokerUnavailable: nobody knows now.
        """
        tenants = {channel.tenant for channel in channels}
        if len(tenants) != 1:
            raise ValueError("channels of exactly one tenant are read at once")
        wanted = [(channel, after.offset) for channel in dict.fromkeys(channels)]
        answer = await self._answer(tenants.pop(), wanted, epoch=after.epoch, latest=True)
        known = answer.upto.epoch == after.epoch and answer.upto.offset >= after.offset
        if not known or not all(line.whole for line in answer.lines.values()):
            return History((), answer.upto, complete=False, latest=answer.latest)
        events = [published for line in answer.lines.values() for published in line.events]
        events.sort(key=lambda published: published.position.offset)
        return History(tuple(events), answer.upto, complete=True, latest=answer.latest)

    async def run(self, script: Script, key: str | Sequence[str], *words: Word) -> Reply:
        """Run a script of somebody else's on its key, or on keys of one slot, on the connection for commands.

        Raises:
            BrokerUnavailable: it was not run, or nobody knows.
        """
        keys = (key,) if isinstance(key, str) else key
        for _ in range(_ATTEMPTS):
            server = await self._started().at(slot_of_key(keys[0])).server()
            try:
                return await server.call("EVALSHA", script.sha, len(keys), *keys, *words)
            except Refused as fault:
                if fault.code == "NOSCRIPT":
                    await server.call("SCRIPT", "LOAD", script.text)
                else:
                    await self._remedy(server, fault)
        raise BrokerUnavailable(f"not within {_ATTEMPTS} attempts")

    def healthy(self) -> bool:
        """Whether every server has lately been proven to deliver what is published."""
        known = self._shards.all() if self._shards else ()
        return bool(known) and all(shard.proven for shard in known)

    def measure(self) -> None:
        """Add to the metrics what has happened since the last time."""
        for name, counter in _COUNTERS.items():
            counter.inc(getattr(self.counts, name) - getattr(self._measured, name))
        self._measured = replace(self.counts)

    @property
    def connections(self) -> int:
        """How many are open."""
        return sum(shard.connections for shard in self._shards.all()) if self._shards else 0

    async def _settled(self, channel: Channel) -> None:
        """Wait until a channel is heard."""
        hearing = self._hearings.get(channel.tenant)
        if hearing is None:
            raise BrokerUnavailable("closed")
        while not hearing.settled(channel):
            await self._home(hearing).turn()

    async def _answer(
        self, tenant: TenantId, wanted: Wanted, *, epoch: str = "", latest: bool = False
    ) -> Answer:
        """Ask the history, and return when what it says of the channels that are heard has been delivered."""
        self._started()
        [reply] = await self._ask([self._ledger.read(tenant, wanted, epoch=epoch, latest=latest)])
        answer = self._ledger.answer(wanted, reply)
        hearing = self._hearings.get(tenant)
        if hearing is None or hearing.epoch is None or not hearing.lags(answer):
            return answer
        home = self._home(hearing)
        await (await home.server()).passed()
        if hearing.lacks(answer):
            if hearing.whole:
                hearing.hold()
            home.tuner.check(hearing, hearing.channels)
            while not hearing.whole and self._hearings.get(tenant) is hearing:
                await self._home(hearing).turn()
        hearing.promise(answer.upto)
        return answer

    async def _ask(self, requests: Sequence[Request]) -> list[Reply]:
        """Run scripts, many at once. What only another server or a second try takes is tried again.

        Raises:
            BrokerUnavailable: one of them could not be run.
        """
        replies: dict[int, Reply] = {}
        for _ in range(_ATTEMPTS):
            homes = self._started()
            asked = [
                (index, await homes.of(request.tenant).server())
                for index, request in enumerate(requests)
                if index not in replies
            ]
            calls = [server.run(requests[index]) for index, server in asked]
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            for (index, server), outcome in zip(asked, outcomes, strict=True):
                if isinstance(outcome, BaseException):
                    await self._remedy(server, outcome)
                else:
                    replies[index] = outcome
            if len(replies) == len(requests):
                return [replies[index] for index in range(len(requests))]
        raise BrokerUnavailable(f"not within {_ATTEMPTS} attempts")

    async def _remedy(self, server: Server, fault: BaseException) -> None:
        """Do what lets the next attempt succeed; raise what nothing can be done about."""
        if not isinstance(fault, Refused):
            raise fault
        if fault.code == "NOSCRIPT":
            await server.load()
        elif fault.code == "MOVED":
            await self._started().look()
        else:
            server.refused(fault)
            raise fault

    def _started(self) -> Shards:
        if self._shards is None:
            raise BrokerUnavailable("not started, or closed")
        return self._shards

    def _home(self, hearing: Hearing) -> Shard:
        """The shard that listens for it."""
        homes = self._started()
        return next(
            (shard for shard in homes.all() if hearing in shard.tuner.hearings), homes.of(hearing.tenant)
        )

    def _enter(self, channel: Channel) -> None:
        hearing = self._hearings.get(channel.tenant)
        if hearing is None:
            hearing = Hearing(channel.tenant, self._deliver, self._lost, self.counts)
        home = self._home(hearing)
        self._hearings[channel.tenant] = hearing
        hearing.enter(channel)
        home.tuner.enter(hearing, [channel])

    def _leave(self, channel: Channel) -> None:
        hearing = self._hearings.get(channel.tenant)
        if hearing is None or self._shards is None:
            return
        home = self._home(hearing)
        hearing.leave(channel)
        home.tuner.leave(hearing, [channel])
        if not hearing.channels:
            del self._hearings[channel.tenant]
