"""How often, how many, how fast: a sliding window, counted slots and a token bucket, all in this process.

``Limiter`` and ``Slots`` are asynchronous because a cluster counts in a shared place. Nothing here knows what
is counted; the callers' keys say that.
"""

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

_SWEEP_PER_HIT = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """``window`` and ``retry_after`` are whole seconds; the latter is 0 when allowed, else at least 1."""

    allowed: bool
    limit: int
    remaining: int
    window: int
    retry_after: int


class Limiter(Protocol):
    async def hit(self, key: str) -> Verdict:
        """Ask for one more. What is refused does not count."""


class SlidingWindow:
    """At most ``points`` hits of a key in any ``seconds``, exactly: the time of each one is kept.

    A hit stops counting when it is ``seconds`` old. What is kept is at most ``points`` times for each key
    that was hit in the last window, give or take the few that a hit has yet to sweep.
    """

    def __init__(self, points: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` gives seconds and never goes back.

        Raises:
            ValueError: less than one point, or no time at all.
        """
        if points < 1 or seconds <= 0:
            raise ValueError("a window has at least one point and some time")
        self._points = points
        self._seconds = seconds
        self._clock = clock
        # In the order of each key's latest hit, so that what has aged stands in front.
        self._hits: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        """How many keys are kept."""
        return len(self._hits)

    async def hit(self, key: str) -> Verdict:
        now = self._clock()
        self._sweep(now)
        hits = self._hits.get(key)
        if hits is None:
            hits = self._hits[key] = deque()
        while hits and hits[0] + self._seconds <= now:
            hits.popleft()
        if len(hits) >= self._points:
            return self._verdict(remaining=0, retry_after=math.ceil(hits[0] + self._seconds - now))
        hits.append(now)
        self._hits.move_to_end(key)
        return self._verdict(remaining=self._points - len(hits), retry_after=0)

    def _verdict(self, *, remaining: int, retry_after: int) -> Verdict:
        return Verdict(retry_after == 0, self._points, remaining, math.ceil(self._seconds), retry_after)

    def _sweep(self, now: float) -> None:
        for _ in range(_SWEEP_PER_HIT):
            oldest = next(iter(self._hits.values()), None)
            if oldest is None or oldest[-1] + self._seconds > now:
                return
            self._hits.popitem(last=False)


class Slots(Protocol):
    async def acquire(self, key: str, limit: int) -> bool:
        """Take one slot of the key unless ``limit`` are taken. Each one taken needs its ``give``."""

    def give(self, key: str) -> None:
        """Give one slot back, without waiting. Giving back what was not taken does nothing."""


class Addresses(Protocol):
    """``Slots`` where nobody can wait."""

    def take(self, key: str, limit: int) -> bool:
        """Take one slot of the key unless ``limit`` are known to be taken. Each one taken needs its ``give``."""

    def give(self, key: str) -> None:
        """Give one slot back. Giving back what was not taken does nothing."""


class LocalSlots:
    """Slots of this process. A key with none taken is not kept."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def __len__(self) -> int:
        """How many keys have slots taken."""
        return len(self._taken)

    async def acquire(self, key: str, limit: int) -> bool:
        return self.take(key, limit)

    def take(self, key: str, limit: int) -> bool:
        """``acquire`` where nobody can wait."""
        taken = self._taken.get(key, 0)
        if taken >= limit:
            return False
        self._taken[key] = taken + 1
        return True

    def give(self, key: str) -> None:
        """Give one slot back."""
        taken = self._taken.get(key, 0)
        if taken > 1:
            self._taken[key] = taken - 1
        else:
            self._taken.pop(key, None)


class TokenBucket:
    """``rate`` a second in the long run, ``burst`` at once."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._filled_at = self._queued_until = clock()

    def take(self) -> float:
        """0 when one was taken; else the seconds until there will be one, and none was taken.

        Everyone who is refused in the same moment is told the same: whoever passes it on adds jitter.
        """
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0

    def queue(self, most: float) -> float:
        """In how many seconds one more who was refused should come again, so that each finds room; ``most`` at most.

        Places are given at the bucket's rate, one after another.
        """
        now = self._clock()
        self._queued_until = min(max(self._queued_until, now) + 1 / self._rate, now + most)
        return self._queued_until - now


def user_key(user_id: str) -> str:
    """The key under which a user's connections are counted."""
    return f"user:{user_id}"


def stream_key(user_id: str) -> str:
    """The key under which a user's streams are counted, apart from the connections."""
    return f"streams:{user_id}"


def ip_key(address: str) -> str:
    """The key under which connections and streams of an address are counted together."""
    return f"ip:{address}"
