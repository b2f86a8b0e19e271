"""How long to wait before Redis is tried again. It waits for nobody itself."""

import random
from collections.abc import Iterator

_FIRST = 0.05
_MOST = 2.0


def backoff() -> Iterator[float]:
    """Seconds to wait before each attempt, doubling, and spread so that not all nodes come at once."""
    pause = _FIRST
    while True:
        yield pause * random.uniform(0.5, 1.0)  # noqa: S311  a spread is no secret
        pause = min(2 * pause, _MOST)
