"""Simulated time, and servers that do one piece of work after the other: where waiting comes from."""

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count

Act = Callable[[], None]


class Clock:
    """Runs what is due in the order of its time, in seconds from 0."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Act]] = []
        self._order = count()

    def after(self, seconds: float, act: Act) -> None:
        heapq.heappush(self._due, (self.now + seconds, next(self._order), act))

    def run(self) -> None:
        """Until nothing is due any more."""
        while self._due:
            self.now, _, act = heapq.heappop(self._due)
            act()


class Line:
    """Work is done by so many ``cores``, in the order in which it came. ``worked`` counts seconds of one core."""

    def __init__(self, clock: Clock, cores: int = 1) -> None:
        self.worked = 0.0
        self._clock = clock
        self._idle = cores
        self._waiting: deque[tuple[float, Act]] = deque()

    def add(self, seconds: float, done: Act) -> None:
        """Work of so many seconds; ``done`` is called at its end."""
        self._waiting.append((seconds, done))
        self._begin()

    def _begin(self) -> None:
        if self._idle and self._waiting:
            seconds, done = self._waiting.popleft()
            self._idle -= 1
            self.worked += seconds
            self._clock.after(seconds, lambda: self._end(done))

    def _end(self, done: Act) -> None:
        self._idle += 1
        self._begin()
        done()
