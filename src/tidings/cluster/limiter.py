"""How often, counted over all nodes: the exact sliding window of ``identity.limiter``, kept in Redis.

It does not know what is counted, and does not decide how long Redis may take: ``Commands`` does.
"""

import asyncio
import itertools
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from tidings.broker.base import BrokerUnavailable
from tidings.broker.redis.link import Word
from tidings.cluster.commands import Commands, load
from tidings.cluster.share import Nodes, alone, share
from tidings.identity.limiter import Verdict

_HIT = load("limiter.lua")
_TELL = -1
_MICRO = 1_000_000
_SWEEP_PER_HIT = 2
_BATCH = 500


class _Hit(NamedTuple):
    """One that was let in here. The number is its name, never given twice."""

    number: int
    at: float


@dataclass(slots=True)
class _Own:
    """What this node knows of a key: its own hits, the oldest first, and until when the window is known to be full.

    ``untold``: some of the hits were let in without Redis. ``left``: how many more there was room for, and when
    Redis was asked that; ``asked``: hits of which it has not answered yet; ``ahead``: it is told of one that was let in.
    """

    touched: float
    full_until: float = 0.0
    untold: bool = False
    left: int = 0
    left_at: float = -math.inf
    asked: int = 0
    ahead: asyncio.Task[None] | None = None
    hits: deque[_Hit] = field(default_factory=deque)


class RedisLimiter:
    """At most ``points`` hits of a key in any ``seconds``, over all nodes, by the clock of Redis.

    While Redis is there this is exact. A refusal holds until the oldest hit has aged, so a flood of what is
    refused asks Redis once. Each node remembers what it let in itself: hits that Redis does not know, after an
    outage, a restart or a flush, are told to it with the key's next hit, and those of an outage by ``catch_up``.

    While Redis is away a node lets in its share, ``points`` divided by the ``nodes`` last known to live (at
    least one hit), and what it let in before the outage counts towards it. So no node ever lets in more than
    ``points``, all of them together not more than ``points`` in a window of the outage (unless there are more
    nodes than points, or some have started meanwhile, which know of no others than those that were started with
    them), and a node that is alone does exactly as if Redis were there. In the window in which an outage or a
    flush begins, a user of several nodes may get up to their shares beyond what another one let in.

    With a ``pace``, nobody waits for Redis of whose window more was left than could have been spent elsewhere since,
    at so many hits a second. Redis is told all the same, one hit of a key at a time, and its answer counts for the
    next. That is as exact; only where more is spent elsewhere a node may let in one more than there was room for.
    """

    def __init__(
        self,
        commands: Commands,
        node: str,
        points: int,
        seconds: float,
        *,
        nodes: Nodes = alone,
        pace: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``node`` names this process and no other, ever. ``clock`` gives seconds and never goes back.

        Raises:
            ValueError: less than one point, or no time at all.
        """
        if points < 1 or seconds <= 0:
            raise ValueError("a window has at least one point and some time")
        self._commands = commands
        self._node = node
        self._points = points
        self._seconds = seconds
        self._nodes = nodes
        self._pace = pace
        self._clock = clock
        self._numbers = itertools.count()
        # In the order in which they were last asked for, so that what has aged stands in front.
        self._keys: OrderedDict[str, _Own] = OrderedDict()

    def __len__(self) -> int:
        """How many keys are remembered here."""
        return len(self._keys)

    async def hit(self, key: str) -> Verdict:
        """Ask for one more. What is refused does not count."""
        own = self._own(key)
        if own.full_until > own.touched:
            return self._refuse(self._points, own.full_until - own.touched)
        number = next(self._numbers)
        if own.ahead is not None:
            await asyncio.wait([own.ahead])
        elif self._ample(own):
            own.ahead = asyncio.create_task(self._tell(key, _Hit(number, own.touched), own))
            return self._allow(self._points, own.left - own.asked - 1)
        try:
            granted, value = await self._ask(key, number, own)
        except BrokerUnavailable:
            return self._judge(self._own(key), number)
        own = self._own(key)
        if not granted:
            own.full_until = own.touched + value / _MICRO
            return self._refuse(self._points, value / _MICRO)
        own.hits.append(_Hit(number, own.touched))
        return self._allow(self._points, value)

    async def catch_up(self) -> None:
        """Tell Redis what was let in while it was away: to be called when it is back.

        Raises:
            BrokerUnavailable: it is away again.
        """
        untold = [(key, own) for key, own in self._keys.items() if own.untold]
        for start in range(0, len(untold), _BATCH):
            batch = untold[start : start + _BATCH]
            await asyncio.gather(*(self._ask(key, "", own) for key, own in batch))

    def _ample(self, own: _Own) -> bool:
        """Whether the next hit is certain to be let in, as far as anybody could know."""
        spent = self._pace * (own.touched - own.left_at)
        return not own.untold and own.left - own.asked > spent + 1

    async def _tell(self, key: str, hit: _Hit, own: _Own) -> None:
        """Tell Redis of a hit that is let in whatever it says."""
        try:
            granted, value = await self._ask(key, hit.number, own)
        except BrokerUnavailable:
            own.untold = True
        else:
            if not granted:
                own.full_until = self._clock() + value / _MICRO
        finally:
            own.hits.append(hit)
            own.ahead = None

    async def _ask(self, key: str, number: int | str, own: _Own) -> list[int]:
        """Whether it is let in, then how many more are, or the microseconds to wait."""
        at = self._clock()
        own.asked += 1
        try:
            granted, value = await self._answer(key, number, own)
        except BaseException:
            own.left = 0
            raise
        finally:
            own.asked -= 1
        own.left, own.left_at = value if granted else 0, at
        return [granted, value]

    async def _answer(self, key: str, number: int | str, own: _Own) -> list[int]:
        if not own.untold:
            reply = await self._run(key, number, own.hits[-1].number if own.hits else "")
            if reply[0] != _TELL:
                return reply
        own.untold = False
        try:
            return await self._run(key, number, "", *self._ages(own.hits))
        except BaseException:
            own.untold = True
            raise

    def _ages(self, known: Iterable[_Hit]) -> Iterator[int]:
        """Each hit's number and age, as the script takes them."""
        now = self._clock()
        for hit in known:
            yield hit.number
            yield round((now - hit.at) * _MICRO)

    async def _run(self, key: str, number: int | str, before: int | str, *told: Word) -> list[int]:
        window = round(self._seconds * _MICRO)
        words = (self._points, window, self._node, number, before, *told)
        return cast("list[int]", await self._commands.run(_HIT, f"tidings:1:limit:{key}", *words))

    def _judge(self, own: _Own, number: int) -> Verdict:
        """Decide alone."""
        limit = share(self._points, self._nodes)
        spare = limit - len(own.hits)
        if spare <= 0:
            return self._refuse(limit, own.hits[-spare].at + self._seconds - own.touched)
        own.untold = True
        own.hits.append(_Hit(number, own.touched))
        return self._allow(limit, spare - 1)

    def _own(self, key: str) -> _Own:
        """What is known of the key now."""
        now = self._clock()
        self._sweep(now)
        own = self._keys.setdefault(key, _Own(now))
        own.touched = now
        self._keys.move_to_end(key)
        while own.hits and own.hits[0].at + self._seconds <= now:
            own.hits.popleft()
        return own

    def _sweep(self, now: float) -> None:
        for _ in range(_SWEEP_PER_HIT):
            oldest = next(iter(self._keys.values()), None)
            if oldest is None or oldest.touched + self._seconds > now:
                return
            self._keys.popitem(last=False)

    def _allow(self, limit: int, remaining: int) -> Verdict:
        return Verdict(True, limit, remaining, math.ceil(self._seconds), 0)

    def _refuse(self, limit: int, wait: float) -> Verdict:
        return Verdict(False, limit, 0, math.ceil(self._seconds), math.ceil(wait))
