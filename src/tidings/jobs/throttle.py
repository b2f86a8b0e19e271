"""How often an attempt's reports are told: each, as long as a stream and its history can bear it.

What is told is the newest report, which the caller keeps; here is only when.
"""

import asyncio
from collections.abc import Callable

from tidings import metrics

BURST = 1000
"""Reports that are each told, however quickly they come: as many as a channel's history holds."""
EACH_SECONDS = 0.02
"""How long it takes until one more may be. Who reports at no more than this pace is always told of."""


class Throttle:
    """``tell`` tells the newest report: at once, or when there is room again."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._paid_at = 0.0  # when all that was told will have been paid for, EACH_SECONDS a report
        self._timer: asyncio.TimerHandle | None = None

    def report(self) -> None:
        """There is a report, newer than all before."""
        if self._timer is not None:
            metrics.progress_dropped.labels("conflated").inc()
            return
        now = self._loop.time()
        self._paid_at = max(self._paid_at, now) + EACH_SECONDS
        wait = self._paid_at - now - BURST * EACH_SECONDS
        if wait > 0:
            self._timer = self._loop.call_later(wait, self.flush)
        else:
            self._tell()

    def flush(self) -> None:
        """Tell what waits, if anything does."""
        if self._timer is not None:
            self.drop()
            self._tell()

    def drop(self) -> None:
        """What waits is not to be told."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
