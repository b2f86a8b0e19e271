"""One Redis server that tenants live on, reached again and again.

While it is connected, what is heard is tuned and audited (``tuner``), and proven: an event that is published
as all are has to be heard. A subscription that turns out deaf ends the connections, and what was missed is
repaired with the next ones. Nobody who asks waits longer than the terms say; while the server is known to be
away, nobody waits at all.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from logging import DEBUG, WARNING

import structlog

from tidings.broker.base import BrokerUnavailable
from tidings.broker.redis.address import Address, Target
from tidings.broker.redis.backoff import backoff
from tidings.broker.redis.hearing import Counts, Hearing
from tidings.broker.redis.layout import whispered
from tidings.broker.redis.ledger import Ledger, Terms
from tidings.broker.redis.link import LinkLost, Refused, Reply
from tidings.broker.redis.server import Server, reach
from tidings.broker.redis.tuner import Ear, Tuner, fail
from tidings.domain.channel import Channel, ChannelKind
from tidings.domain.event import Event, EventClass
from tidings.domain.people import TenantId

_TICKS = 5
_TRIES = 1_000_000
_PROBE = Event("probe", b"", EventClass.PROGRESS)

Find = Callable[[], Awaitable[Address]]
"""Says where the server is now. Raises ``BrokerUnavailable``."""

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("tidings.broker")


class Shard:
    """``owns``: whether a tenant's home is here. ``lost`` is called whenever it cannot be reached."""

    def __init__(
        self,
        find: Find,
        target: Target,
        terms: Terms,
        ears: dict[bytes, Ear],
        owns: Callable[[TenantId], bool],
        lost: Callable[[], None],
        counts: Counts,
    ) -> None:
        self._find = find
        self._target = target
        self._terms = terms
        self._ledger = Ledger(target.database, terms)
        self._owns = owns
        self._lost = lost
        self._counts = counts
        self._server: Server | None = None
        self._reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._away: str | None = None
        self._pauses = backoff()
        self.tuner = Tuner(self._ledger, ears)
        self.probe: Hearing | None = None
        self.proof = asyncio.Event()

    @property
    def proven(self) -> bool:
        """Whether what is published has lately been heard."""
        return self.proof.is_set()

    @property
    def connections(self) -> int:
        """How many are open."""
        return 0 if self._server is None else self._server.connections

    async def server(self) -> Server:
        """The server, waited for while it is being connected to.

        Raises:
            BrokerUnavailable: it is away, or has not been reached in time.
        """
        if self._server is None:
            await self._wait(self._reached)
        if self._server is None:
            raise LinkLost("it was lost again")
        return self._server

    def whisper(self, channel: Channel, event: Event) -> None:
        """Tell who hears it, at once.

        Raises:
            BrokerUnavailable: the server is not there.
            ValueError: the event's name or key is too long.
        """
        message = whispered(event, time.time())
        if self._server is None:
            raise BrokerUnavailable("it is away")
        self._server.whisper(self._ledger.name(channel), message).add_done_callback(self._whispered)

    async def turn(self) -> None:
        """Wait until what was asked of the tuner before has been done.

        Raises:
            BrokerUnavailable: it is away, or it has not been done in time.
        """
        await self._wait(self.tuner.turned)

    async def run(self) -> None:
        """Reach it, serve, and begin again when it is lost, until cancelled."""
        try:
            while True:
                was_away = self._away is not None
                try:
                    await self._serve(await self._connect())
                except BrokerUnavailable as fault:
                    # While it stays away that is said once.
                    still_away = was_away and self._away is not None
                    _log.log(DEBUG if still_away else WARNING, "redis_lost", reason=str(fault))
                except Exception:  # noqa: BLE001 - whatever it was, the way back is the same
                    _log.exception("redis_failed")
                self._lost()
                await asyncio.sleep(next(self._pauses))
        finally:
            self._give_up("closed")

    async def _connect(self) -> Server:
        try:
            address = await self._find()
            server = await reach(address, self._target, self.tuner.hear, self._terms.patience)
        except BrokerUnavailable as fault:
            self._give_up(str(fault))
            raise
        self._away = None
        return server

    def _give_up(self, fault: str) -> None:
        """Nobody is to wait for it, from now on."""
        self._away = fault
        fail(self._reached, fault)
        self._reached = asyncio.get_running_loop().create_future()
        self.tuner.fail(fault)

    async def _serve(self, server: Server) -> None:
        """What there is to do while it is connected."""
        _log.info("redis_reached")
        self._server = server
        self._counts.connects += 1
        self._reached.set_result(None)
        self.tuner.begin(server)
        faults: list[str] = []
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.tuner.run())
                group.create_task(self._prove(server))
                group.create_task(self.tuner.audit(self._terms.audit))
                await server.over()
        except* BrokerUnavailable as raised:
            faults += map(str, raised.exceptions)
        finally:
            self.proof.clear()
            self._server = None
            self._reached = asyncio.get_running_loop().create_future()
            await server.close()
        raise LinkLost("; ".join(faults))

    async def _prove(self, server: Server) -> None:
        """See that what is published is heard, again and again."""
        tenant = self._own_tenant()
        channel = Channel(tenant, ChannelKind.GLOBAL, "probe")
        heard = asyncio.Event()
        self.probe = hearing = Hearing(tenant, lambda _: heard.set(), lambda _: None, Counts())
        hearing.enter(channel)
        self.tuner.enter(hearing, [channel])
        try:
            await asyncio.shield(self.tuner.turned)
            while True:
                heard.clear()
                if await self._publish_probe(server, channel) and await self._hears(heard):
                    self.proof.set()
                    self._pauses = backoff()
                else:
                    self.proof.clear()
                await asyncio.sleep(self._terms.probe)
        finally:
            hearing.leave(channel)
            self.tuner.leave(hearing, [channel])

    async def _publish_probe(self, server: Server, channel: Channel) -> bool:
        try:
            await server.run(self._ledger.publish(channel.tenant, [(channel, _PROBE)]))
        except Refused as fault:
            _log.warning("redis_refuses", reason=str(fault))
            server.refused(fault)
            return False
        return True

    async def _hears(self, heard: asyncio.Event) -> bool:
        """Short waits, not a long one: after a pause of this process the event may be there unread."""
        for _ in range(_TICKS):
            with suppress(TimeoutError):
                async with asyncio.timeout(self._terms.patience / _TICKS):
                    return await heard.wait()
        raise LinkLost("a subscription was deaf")

    def _own_tenant(self) -> TenantId:
        """A tenant of nobody's that lives here."""
        node = secrets.token_hex(8)
        for number in range(_TRIES):
            tenant = TenantId(f"probe-{node}-{number}")
            if self._owns(tenant):
                return tenant
        raise LinkLost("it has no slots")

    def _whispered(self, answer: asyncio.Future[Reply]) -> None:
        """Nobody is told what became of it. What is wrong with the server is found by those who need it."""
        fault = None if answer.cancelled() else answer.exception()
        if fault is not None:
            self._counts.unheard += 1
            _log.debug("whisper_lost", reason=str(fault))

    async def _wait(self, future: asyncio.Future[None]) -> None:
        if self._away is not None:
            raise BrokerUnavailable(self._away)
        try:
            async with asyncio.timeout(self._terms.patience):
                await asyncio.shield(future)
        except TimeoutError:
            raise BrokerUnavailable(f"not within {self._terms.patience} s") from None
