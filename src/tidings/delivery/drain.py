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

RECONNECT_SECONDS = 10.0
"""Over how long clients are told to come back, however soon they are released."""


async def release(sessions: Iterable[Session], window: float, hurry: asyncio.Event) -> None:
    """Close all sessions within ``window`` seconds, or at once when ``hurry`` is set.

    Who is told to come back early is released early.
    """
    leaving = [(random.random(), session) for session in sessions]  # noqa: S311  a spread is no secret
    leaving.sort(key=lambda pair: pair[0])
    for share, session in leaving:
        after = round(share * RECONNECT_SECONDS * 1000)
        session.wire.tell("system:draining", b'{"reconnectAfterMs":%d}' % after)
    begun = time.monotonic()
    for share, session in leaving:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(hurry.wait(), max(0.0, begun + share * window - time.monotonic()))
        session.wire.close(CloseReason.DRAINING)
