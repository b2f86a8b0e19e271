"""A hard end for a process whose orderly one takes too long: the promise to be gone does not hang on a call
that may never return.

Nothing is lost by it that a crash would not lose, and what was accepted survives a crash. The exit code is 0,
for the process leaves because it was asked to.
"""

import os
import sys
import threading
import time

import structlog

_log = structlog.stdlib.get_logger("tidings")


class LastResort:
    """Armed by ``within``, and never disarmed. It runs in a thread, in case the event loop stands still."""

    def __init__(self) -> None:
        self._at: float | None = None

    def within(self, seconds: float) -> None:
        """End the process then, or earlier if that was asked for before."""
        at = time.monotonic() + seconds
        if self._at is not None and self._at <= at:
            return
        self._at = at
        timer = threading.Timer(seconds, _leave)
        timer.daemon = True
        timer.start()


def _leave() -> None:
    _log.critical("cut short: the orderly end took too long")
    sys.stdout.flush()
    os._exit(0)
