"""One timing wheel for every deadline of a process: no timer object and no task per connection.

An item is on the wheel at most once, at its nearest deadline. When that comes, its ``due(now)`` does what is
due and returns the next deadline, or None to leave. Times are seconds of any one clock; the wheel reads none.
"""

from typing import Protocol

import structlog

OFF = -1
"""The ``tick`` of an item that is not on the wheel."""

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("tidings.hub")


class Timed(Protocol):
    """Something with deadlines. It keeps its place on the wheel itself, which saves a look-up table."""

    tick: int

    def due(self, now: float) -> float | None:
        """Do what is due at ``now``; return the next deadline, or None. Must not raise."""


class Wheel:
    """Deadlines rounded up to ticks of ``resolution`` seconds; nothing fires early."""

    def __init__(self, now: float, *, resolution: float = 0.05) -> None:
        self.resolution = resolution
        self._slots: dict[int, set[Timed]] = {}
        self._done = int(now / resolution)

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def schedule(self, item: Timed, when: float) -> None:
        """Call ``item.due`` once ``when`` has come, unless it is called before; that call asks anew."""
        tick = max(int(when / self.resolution) + 1, self._done + 1)
        if item.tick != OFF:
            if item.tick <= tick:
                return
            self._drop(item)
        item.tick = tick
        self._slots.setdefault(tick, set()).add(item)

    def cancel(self, item: Timed) -> None:
        """Take the item off; harmless if it is not on."""
        if item.tick != OFF:
            self._drop(item)

    def advance(self, now: float) -> None:
        """Call everything that has come due."""
        current = int(now / self.resolution)
        while self._done < current:
            self._done += 1
            for item in self._slots.pop(self._done, ()):
                if item.tick != self._done:
                    continue
                item.tick = OFF
                try:
                    following = item.due(now)
                except Exception:  # noqa: BLE001  one connection's fault must not cost the others their deadlines
                    _log.exception("a deadline failed")
                    continue
                if following is not None:
                    self.schedule(item, following)

    def _drop(self, item: Timed) -> None:
        slot = self._slots.get(item.tick)
        if slot is not None:
            slot.discard(item)
            if not slot:
                del self._slots[item.tick]
        item.tick = OFF
