"""Releasing a node's clients before it goes away: told when to come back, and spread so that they do not all
come back at once.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Iterable

from tidings.domain.errors import CloseReason
from tidings.hub.session import Session


async def release(sessions: Iterable[Session], window: float, hurry: asyncio.Event) -> None:
    """Close all sessions within ``window`` seconds, or at once when ``hurry`` is set."""
    leaving = [(random.uniform(0, window), session) for session in sessions]  # noqa: S311  a spread is no secret
    leaving.sort(key=lambda pair: pair[0])
    for after, session in leaving:
        session.wire.tell("system:draining", b'{"reconnectAfterMs":%d}' % round(after * 1000))
    begun = time.monotonic()
    for after, session in leaving:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(hurry.wait(), max(0.0, begun + after - time.monotonic()))
        session.wire.close(CloseReason.DRAINING)
