"""How long to wait before a worker that died is started again. Knows no clock; chance is passed in."""

from collections.abc import Callable

FIRST_SECONDS = 0.1
LONGEST_SECONDS = 10.0
SOUND_SECONDS = 10.0
"""A worker that lived so long did not die of its start."""


class Backoff:
    """One worker's. ``chance`` gives numbers from 0 to 1, so that workers that died together come back apart."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._seconds = FIRST_SECONDS

    def after(self, lived: float) -> float:
        """Seconds to wait after a life of so many: doubled from death to early death, up to the longest."""
        if lived >= SOUND_SECONDS:
            self._seconds = FIRST_SECONDS
        seconds = self._seconds
        self._seconds = min(2 * seconds, LONGEST_SECONDS)
        return seconds * (0.5 + self._chance() / 2)
