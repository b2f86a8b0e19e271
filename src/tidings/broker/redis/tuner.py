"""What one server is listened to for: subscriptions, repairs and audits, worked off in turns.

A turn begins and ends subscriptions in batches, asks the history about channels that are new, torn or due,
waits until the bus has brought what was published before that, and settles. Whatever is wanted meanwhile is
for the next turn, so a storm of joins makes few of them. Nothing runs per message or per channel.

It does not connect and does not publish.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

import structlog

from tidings.broker.base import BrokerUnavailable
from tidings.broker.redis.hearing import Answer, Hearing
from tidings.broker.redis.layout import unpack
from tidings.broker.redis.ledger import Ledger
from tidings.broker.redis.link import Refused
from tidings.broker.redis.server import Server
from tidings.domain.channel import Channel
from tidings.domain.people import TenantId
from tidings.domain.position import NOWHERE

_BATCH = 500
"""Channels that one command names at most."""
_QUESTIONS = 8
_MESSAGES = frozenset({b"message", b"smessage"})
_ENDED = frozenset({b"unsubscribe", b"sunsubscribe"})
T = TypeVar("T")

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("tidings.broker")


class Ear(NamedTuple):
    """Who takes what comes of a channel."""

    hearing: Hearing
    channel: Channel


class Tuner:
    """Outlives the connections. ``ears`` are those of the whole broker, by the channels' names."""

    def __init__(self, ledger: Ledger, ears: dict[bytes, Ear]) -> None:
        self._ledger = ledger
        self._ears = ears
        self._server: Server | None = None
        self._hearings: set[Hearing] = set()
        self._fresh: dict[Hearing, set[Channel]] = {}
        self._stale: dict[TenantId, set[bytes]] = {}
        self._due: dict[Hearing, set[Channel]] = {}
        self._changed = asyncio.Event()
        self._turned: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def hearings(self) -> Collection[Hearing]:
        return self._hearings

    @property
    def turned(self) -> asyncio.Future[None]:
        """Done when a turn is over that began later than now. Not to be cancelled: shield it."""
        self._changed.set()
        return self._turned

    def enter(self, hearing: Hearing, channels: Collection[Channel]) -> None:
        """Listen for these, soon."""
        self._hearings.add(hearing)
        self._fresh.setdefault(hearing, set()).update(channels)
        stale = self._stale.get(hearing.tenant, set())
        for channel in channels:
            name = self._ledger.name(channel)
            self._ears[name] = Ear(hearing, channel)
            stale.discard(name)
        self._changed.set()

    def leave(self, hearing: Hearing, channels: Iterable[Channel]) -> None:
        """Listen for these no more; ``hearing`` has done so already. The server is told in the next turn."""
        stale = self._stale.setdefault(hearing.tenant, set())
        for channel in channels:
            name = self._ledger.name(channel)
            self._ears.pop(name, None)
            stale.add(name)
            self._fresh.get(hearing, set()).discard(channel)
        if not hearing.channels:
            self._forget(hearing)
        self._changed.set()

    def release(self, hearing: Hearing) -> None:
        """Another server is its home, and this one has no say in it any more."""
        for channel in hearing.channels:
            self._ears.pop(self._ledger.name(channel), None)
        self._forget(hearing)

    def check(self, hearing: Hearing, channels: Collection[Channel]) -> None:
        """Ask the history about these in the next turn."""
        if hearing in self._hearings:
            self._due.setdefault(hearing, set()).update(channels)
            self._changed.set()

    def hear(self, push: Sequence[bytes]) -> None:
        """Take what the server says unasked."""
        ear = self._ears.get(push[1])
        if ear is None or ear.hearing not in self._hearings:
            return
        if push[0] in _MESSAGES:
            self._hear(ear, push[2])
        elif push[0] in _ENDED and ear.channel not in self._fresh.get(ear.hearing, ()) and self._server:
            self._server.cut("it has given a slot away")

    def begin(self, server: Server) -> None:
        """A server was connected to: everything is subscribed anew, and held until that is settled."""
        self._server = server
        self._stale, self._due = {}, {}
        for hearing in self._hearings:
            hearing.hold()
            self._fresh[hearing] = set(hearing.channels)
        self._changed.set()

    def fail(self, fault: str) -> None:
        """Nobody is to wait for the next turn: there is no server."""
        turned, self._turned = self._turned, asyncio.get_running_loop().create_future()
        fail(turned, fault)

    async def run(self) -> None:
        """Take turns until the server is lost.

        Raises:
            BrokerUnavailable: it is.
        """
        while True:
            await self._changed.wait()
            self._changed.clear()
            turned, self._turned = self._turned, asyncio.get_running_loop().create_future()
            try:
                await self._turn()
            except BaseException as fault:
                fail(turned, str(fault))
                raise
            turned.set_result(None)

    async def audit(self, seconds: float) -> None:
        """Check everything that is heard, a few channels at a time, once in so many seconds."""
        while True:
            slices = list(self._slices())
            for part in slices:
                for hearing, channels in part.items():
                    self.check(hearing, channels)
                await asyncio.sleep(seconds / len(slices))
            if not slices:
                await asyncio.sleep(seconds)

    async def _turn(self) -> None:
        assert self._server is not None
        fresh, self._fresh = self._fresh, {}
        stale, self._stale = self._stale, {}
        due, self._due = self._due, {}
        for left in stale.values():
            for names in _batches(left, _BATCH):
                self._server.unsubscribe(names)
        for hearing, channels in fresh.items():
            for names in _batches(map(self._ledger.name, channels), _BATCH):
                self._server.subscribe(names)
            due.setdefault(hearing, set()).update(channels)
        if fresh or stale:
            await self._server.passed()
        if due:
            answers = await self._ask(self._server, due)
            await self._server.passed()
            for hearing, given in answers.items():
                if not hearing.settle(given, fresh.get(hearing, ())):
                    self.check(hearing, hearing.channels)

    async def _ask(self, server: Server, due: dict[Hearing, set[Channel]]) -> dict[Hearing, list[Answer]]:
        """What the history says about these."""
        questions = [
            (hearing, wanted)
            for hearing, channels in due.items()
            for wanted in list(_batches(hearing.wanting(channels), _BATCH)) or [[]]
        ]
        answers: dict[Hearing, list[Answer]] = {}
        # A few at a time: what all have missed after a cut may be more than can be told in one's patience.
        for some in _batches(questions, _QUESTIONS):
            requests = [
                self._ledger.read(hearing.tenant, wanted, end=_end(hearing)) for hearing, wanted in some
            ]
            try:
                replies = await asyncio.gather(*map(server.run, requests))
            except Refused as fault:
                server.cut(f"it refused to tell the history: {fault}")
                raise
            for (hearing, wanted), reply in zip(some, replies, strict=True):
                answers.setdefault(hearing, []).append(self._ledger.answer(wanted, reply))
        return answers

    def _hear(self, ear: Ear, message: bytes) -> None:
        try:
            published = unpack(ear.channel, message)
        except ValueError:
            _log.warning("foreign_message", channel=ear.channel.key)
            return
        if published.position is NOWHERE:
            ear.hearing.overhear(published)
        elif not ear.hearing.hear(published):
            self.check(ear.hearing, ear.hearing.channels)

    def _forget(self, hearing: Hearing) -> None:
        self._hearings.discard(hearing)
        self._fresh.pop(hearing, None)
        self._due.pop(hearing, None)

    def _slices(self) -> Iterator[dict[Hearing, list[Channel]]]:
        """All that is heard, in parts that are small enough to be asked about at once."""
        part: dict[Hearing, list[Channel]] = {}
        size = 0
        for hearing in list(self._hearings):
            for channels in _batches(list(hearing.channels), _BATCH):
                part.setdefault(hearing, []).extend(channels)
                size += len(channels)
                if size >= _BATCH:
                    yield part
                    part, size = {}, 0
        if part:
            yield part


def _end(hearing: Hearing) -> str:
    """The epoch that is not to go on, if there is one."""
    return hearing.epoch if hearing.disordered and hearing.epoch else ""


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def fail(future: asyncio.Future[None], fault: str) -> None:
    """Tell whoever waits; that nobody does is no fault."""
    if not future.done():
        future.set_exception(BrokerUnavailable(fault))
        future.exception()
