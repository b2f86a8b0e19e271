"""What is asked of the tenants in Redis: the scripts, the words that they take, and what their replies mean.

It sends nothing.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import cast

from tidings.broker.base import Limits
from tidings.broker.redis.hearing import Answer, Line
from tidings.broker.redis.layout import Entry, channel_name, pack, short, tenant_key, unpack
from tidings.broker.redis.link import Reply, Word
from tidings.broker.redis.script import Script
from tidings.domain.channel import Channel
from tidings.domain.people import TenantId
from tidings.domain.position import Position

Wanted = Sequence[tuple[Channel, int]]
"""Channels, each with the number after which its events are wanted."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a broker holds to. ``patience`` is how long Redis may take to answer, in seconds.

    ``probe`` and ``audit`` are the seconds between two; a deaf subscription is found within ``probe`` and
    ``patience``. A tenant that nobody hears is forgotten ``memory`` seconds after it was last asked for, and
    so are last numbers, of which there are at most ``memory_channels``. An idempotency key is known for at least
    ``memory`` seconds too, among the latest ``memory_keys`` of its tenant: a relay repeats what it could not
    delete while its database was away, and has hardly more than a batch of that.
    """

    limits: Limits
    patience: float = 2.0
    probe: float = 2.0
    audit: float = 30.0
    memory: float = 86_400.0
    memory_channels: int = 1_000_000
    memory_keys: int = 10_000


def _script(name: str) -> Script:
    folder = files("tidings.broker.redis")
    return Script("".join(folder.joinpath(part).read_text(encoding="utf-8") for part in ("tenant.lua", name)))


PUBLISH = _script("publish.lua")
READ = _script("read.lua")


@dataclass(frozen=True, slots=True)
class Request:
    """A script to be run for one tenant. ``memory`` is in milliseconds."""

    tenant: TenantId
    script: Script
    key: str
    memory: int
    words: tuple[Word, ...]


class Ledger:
    """The tenants in one database, on these terms."""

    def __init__(self, database: int, terms: Terms) -> None:
        self._database = database
        self._limits = terms.limits
        self._memory = round(max(terms.memory, terms.limits.seconds) * 1000)
        self._bounds = (
            terms.limits.events,
            round(terms.limits.seconds * 1000),
            terms.memory_channels,
            terms.memory_keys,
        )

    def name(self, channel: Channel) -> bytes:
        """What a channel is subscribed to by."""
        return channel_name(self._database, channel)

    def publish(self, tenant: TenantId, lot: Iterable[Entry]) -> Request:
        """Publish events of one tenant.

        Raises:
            ValueError: the name or the key of one is too long.
        """
        words: list[Word] = ["", *self._bounds]
        for channel, event in lot:
            words += (short(channel), event.key, pack(event))
        return self._request(tenant, PUBLISH, words)

    def read(
        self, tenant: TenantId, wanted: Wanted, *, epoch: str = "", latest: bool = False, end: str = ""
    ) -> Request:
        """Ask where a tenant stands and what followed on these channels.

        ``epoch``: the numbers are of this one, and mean nothing in another. ``end``: this epoch is not to go on.
        """
        words: list[Word] = [end, epoch, "1" if latest else "0"]
        for channel, after in wanted:
            words += (short(channel), after)
        return self._request(tenant, READ, words)

    def numbers(self, reply: Reply) -> tuple[str, list[int]]:
        """What ``publish`` replied: the epoch, and each event's number, negative if it was there before."""
        epoch, *numbers = cast("list[bytes | int]", reply)
        return cast("bytes", epoch).decode(), cast("list[int]", numbers)

    def answer(self, wanted: Wanted, reply: Reply) -> Answer:
        """What ``read`` replied.

        Raises:
            ValueError: something that is no message of ours is in the history.
        """
        epoch, counter, now, newest, message, *lines = cast("list[bytes]", reply)
        # The script's numbers come as numbers; a list has one type only.
        at, oldest = cast("int", newest), cast("int", now) / 1e6 - self._limits.seconds
        latest = unpack(wanted[at - 1][0], message) if at else None
        return Answer(
            Position(epoch.decode(), cast("int", counter)),
            {
                channel: _line(channel, after, cast("list[bytes]", line), oldest)
                for (channel, after), line in zip(wanted, lines, strict=True)
            },
            None if latest is None or latest.published_at < oldest else latest,
        )

    def _request(self, tenant: TenantId, script: Script, words: Collection[Word]) -> Request:
        return Request(tenant, script, tenant_key(self._database, tenant), self._memory, tuple(words))


def _line(channel: Channel, after: int, line: list[bytes], oldest: float) -> Line:
    """What has aged is gone, whether Redis still has it or not."""
    last, *messages = line
    number = cast("int", last)
    events = [unpack(channel, message) for message in reversed(messages)]
    while events and events[0].published_at < oldest:
        del events[0]
    return Line(number, tuple(events), number <= after or (bool(events) and events[0].prev <= after))
