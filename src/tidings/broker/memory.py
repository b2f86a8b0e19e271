"""The broker of one process: numbers, histories and subscriptions in plain memory.

It runs the product when no Redis is configured, so it gives the guarantees of ``base`` in full and nothing in
it grows without bound. What has aged is let go of a little with every publish, a tenant at a time, so that
the quiet are freed by whoever is busy. Publishing and subscribing complete without suspending.

What it does not do: it reaches no other process and survives no restart. A new process has new epochs, and
so refuses the old one's positions.
"""

import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from tidings.broker.base import BrokerUnavailable, Deliver, History, Limits, Lost
from tidings.domain.channel import Channel
from tidings.domain.event import Event, Published
from tidings.domain.people import TenantId
from tidings.domain.position import NOWHERE, Position
from tidings.metrics import events_published

_SWEEP = 16
"""Aged things freed per publish, at most. More than the two a publish can add, so the sweep keeps up."""

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("tidings.broker")


@dataclass(frozen=True, slots=True)
class Remember:
    """What outlives the histories, for each tenant.

    A channel's last number is known for ``seconds`` after it was given, and of the ``channels`` published to
    last; beyond that number even a fresh history goes. An idempotency key is known for ``seconds`` too, and
    among the latest ``keys``.
    """

    seconds: float = 86_400.0
    channels: int = 100_000
    keys: int = 10_000


class MemoryBroker:
    """``Broker`` in one process. ``clock`` gives Unix seconds, as ``Published.published_at`` has to.

    ``new_epoch`` gives a word that was never an epoch before, of at most 16 lower-case letters and digits.
    """

    def __init__(
        self,
        limits: Limits,
        clock: Callable[[], float] = time.time,
        new_epoch: Callable[[], str] = lambda: secrets.token_hex(8),
        *,
        remember: Remember | None = None,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._new_epoch = new_epoch
        self._remember = remember or Remember()
        self._deliver: Deliver | None = None
        self._tenants: OrderedDict[TenantId, _Tenant] = OrderedDict()  # the first is swept next

    async def start(self, deliver: Deliver, lost: Lost = lambda _: None) -> None:
        """Nothing is ever lost between a broker and a hub of one process."""
        self._deliver = deliver

    async def close(self) -> None:
        self._deliver = None

    async def publish(self, batch: Sequence[tuple[Channel, Event]]) -> list[Position]:
        """Number, keep and hand over, all before anyone else runs.

        Raises:
            BrokerUnavailable: before ``start`` and after ``close``. Nothing was published.
        """
        deliver = self._deliver
        if deliver is None:
            raise BrokerUnavailable("not started, or closed")
        now = self._clock()
        positions = []
        for channel, event in batch:
            positions.append(self._publish(channel, event, now, deliver))
            self._sweep(now)
        return positions

    def whisper(self, channel: Channel, event: Event) -> None:
        now = self._clock()
        if self._deliver is not None and channel in self._tenant(channel.tenant, now).heard:
            _hand_over(Published(channel, NOWHERE, 0, event, now), self._deliver)

    async def subscribe(self, channels: Collection[Channel]) -> None:
        now = self._clock()
        for channel in channels:
            heard = self._tenant(channel.tenant, now).heard
            heard[channel] = heard.get(channel, 0) + 1

    async def unsubscribe(self, channels: Collection[Channel]) -> None:
        now = self._clock()
        for channel in channels:
            heard = self._tenant(channel.tenant, now).heard
            count = heard.pop(channel, 0) - 1
            if count > 0:
                heard[channel] = count

    async def position(self, tenant: TenantId) -> Position:
        return self._tenant(tenant, self._clock()).position

    async def read(self, channels: Collection[Channel], after: Position) -> History:
        """What followed, as far as all of it is still here.

        Raises:
            ValueError: the channels are not those of exactly one tenant.
        """
        names = {channel.tenant for channel in channels}
        if len(names) != 1:
            raise ValueError("channels of exactly one tenant are read at once")
        now = self._clock()
        tenant = self._tenant(names.pop(), now)
        oldest = now - self._limits.seconds
        known = (tenant.latest(channel, oldest) for channel in channels)
        latest = max((event for event in known if event), key=_offset, default=None)
        refused = History((), tenant.position, complete=False, latest=latest)
        if after.epoch != tenant.epoch or after.offset > tenant.counter:
            return refused
        merged: list[Published] = []
        for channel in set(channels):
            newer = tenant.newer(channel, after.offset, oldest)
            if newer is None:
                return refused
            merged += newer
        merged.sort(key=_offset)
        return History(tuple(merged), tenant.position, complete=True, latest=latest)

    def healthy(self) -> bool:
        return self._deliver is not None

    def _tenant(self, name: TenantId, now: float) -> "_Tenant":
        """The tenant's state, begun anew under a new epoch if there is none."""
        tenant = self._tenants.get(name)
        if tenant is None:
            tenant = self._tenants[name] = _Tenant(self._new_epoch())
        tenant.touched = now
        return tenant

    def _publish(self, channel: Channel, event: Event, now: float, deliver: Deliver) -> Position:
        tenant = self._tenant(channel.tenant, now)
        if event.key:
            first = tenant.first_under(event.key, now - self._remember.seconds)
            if first is not None:
                return first
        published = tenant.append(channel, event, now, self._limits)
        tenant.keep_within(self._remember)
        events_published.labels(event.name).inc()
        if channel in tenant.heard:
            _hand_over(published, deliver)
        return published.position

    def _sweep(self, now: float) -> None:
        """Free what has aged of one tenant; come back to it first if that was too much for one time."""
        name, tenant = next(iter(self._tenants.items()))
        history, memory = now - self._limits.seconds, now - self._remember.seconds
        for _ in range(_SWEEP):
            if not tenant.free_one(history, memory):
                break
        else:
            return
        if tenant.over(memory):
            del self._tenants[name]
        else:
            self._tenants.move_to_end(name)


def _hand_over(published: Published, deliver: Deliver) -> None:
    try:
        deliver(published)
    except Exception:  # noqa: BLE001 - the event is numbered and can be read; the batch must go on
        _log.exception("deliver_failed", channel=published.channel.key, event_name=published.event.name)


class _Last(NamedTuple):
    """What is still known of a channel whose history has aged: its last number, and when it was given."""

    offset: int
    at: float


class _Seen(NamedTuple):
    """The first event that was published under a key."""

    position: Position
    at: float


def _offset(published: Published) -> int:
    return published.position.offset


@dataclass(slots=True)
class _Line:
    """A channel with a history. ``last`` and ``at`` are its latest event's, which may itself be gone."""

    last: int
    at: float
    events: deque[Published]

    def trim(self, before: float) -> None:
        events = self.events
        while events and events[0].published_at < before:
            events.popleft()


@dataclass(slots=True)
class _Tenant:
    """One counter and all that was numbered by it.

    Every channel is in ``lively`` (it has a history), then in ``quiet``, then forgotten, which raises
    ``floor``: no forgotten channel has a higher number. Both maps are in the order of the channels' last
    numbers, and every number in ``quiet`` is below all in ``lively``, so the first is always the oldest.
    """

    epoch: str
    touched: float = 0.0
    counter: int = 0
    floor: int = 0
    lively: OrderedDict[Channel, _Line] = field(default_factory=OrderedDict)
    quiet: OrderedDict[Channel, _Last] = field(default_factory=OrderedDict)
    keys: OrderedDict[str, _Seen] = field(default_factory=OrderedDict)
    heard: dict[Channel, int] = field(default_factory=dict)

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.counter)

    def first_under(self, key: str, before: float) -> Position | None:
        """Where an event with this key stands, unless that was before ``before``."""
        seen = self.keys.get(key)
        return None if seen is None or seen.at < before else seen.position

    def append(self, channel: Channel, event: Event, now: float, limits: Limits) -> Published:
        """Give the event the next number and a place in its channel's history."""
        line = self.lively.get(channel)
        if line is None:
            line = self._enliven(channel, limits)
        self.counter += 1
        published = Published(channel, Position(self.epoch, self.counter), line.last, event, now)
        line.last, line.at = self.counter, now
        line.events.append(published)
        line.trim(now - limits.seconds)
        self.lively.move_to_end(channel)
        if event.key:
            self.keys[event.key] = _Seen(published.position, now)
            self.keys.move_to_end(event.key)
        return published

    def newer(self, channel: Channel, offset: int, before: float) -> list[Published] | None:
        """The channel's events after ``offset``, newest first; None if one of them is or may be gone."""
        line = self.lively.get(channel)
        if line is None:
            return [] if self._last_of_quiet(channel) <= offset else None
        if line.last <= offset:
            return []
        line.trim(before)
        events: list[Published] = []
        for published in reversed(line.events):
            if published.position.offset <= offset:
                break
            events.append(published)
        return events if events and events[-1].prev <= offset else None

    def latest(self, channel: Channel, before: float) -> Published | None:
        """The channel's newest event, unless it was published before ``before``."""
        line = self.lively.get(channel)
        return None if line is None or line.at < before else line.events[-1]

    def keep_within(self, remember: Remember) -> None:
        """Let go of the oldest channel and key that are too many."""
        if len(self.lively) + len(self.quiet) > remember.channels:
            self._forget_oldest()
        if len(self.keys) > remember.keys:
            self.keys.popitem(last=False)

    def free_one(self, history: float, memory: float) -> bool:
        """Let go of one thing from before ``history`` or ``memory``; False when there was none."""
        if self.lively and next(iter(self.lively.values())).at < history:
            channel, line = self.lively.popitem(last=False)
            self.quiet[channel] = _Last(line.last, line.at)
        elif self.quiet and next(iter(self.quiet.values())).at < memory:
            self._forget_oldest()
        elif self.keys and next(iter(self.keys.values())).at < memory:
            self.keys.popitem(last=False)
        else:
            return False
        return True

    def over(self, memory: float) -> bool:
        """Whether nobody hears it or has asked since ``memory``, so that the next to come may begin anew.

        Numbers and keys are not looked at: untouched for that long, they have aged as well.
        """
        return self.touched < memory and not (self.lively or self.heard)

    def _enliven(self, channel: Channel, limits: Limits) -> _Line:
        last = self._last_of_quiet(channel)
        self.quiet.pop(channel, None)
        line = self.lively[channel] = _Line(last, 0.0, deque(maxlen=limits.events))
        return line

    def _last_of_quiet(self, channel: Channel) -> int:
        """A number that no event of a channel without a history is above.

        Of a channel that nobody knows (any more) that is the floor: it may have been forgotten.
        """
        known = self.quiet.get(channel)
        return self.floor if known is None else known.offset

    def _forget_oldest(self) -> None:
        if self.quiet:
            _, oldest = self.quiet.popitem(last=False)
            self.floor = oldest.offset
        else:
            _, line = self.lively.popitem(last=False)
            self.floor = line.last
