"""How long a dead worker stays dead."""

import pytest

from tidings.crew.backoff import FIRST_SECONDS, LONGEST_SECONDS, SOUND_SECONDS, Backoff


def test_doubles_to_the_longest() -> None:
    """From death to early death."""
    backoff = Backoff(lambda: 1.0)
    waits = [backoff.after(0.0) for _ in range(9)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0])
    assert max(waits) == LONGEST_SECONDS


def test_begins_again_after_a_sound_life() -> None:
    """What has worked for a while did not die of its start."""
    backoff = Backoff(lambda: 1.0)
    for _ in range(5):
        backoff.after(0.0)
    assert backoff.after(SOUND_SECONDS) == FIRST_SECONDS


def test_jitter_takes_up_to_half() -> None:
    """Workers that died together come back apart."""
    assert Backoff(lambda: 0.0).after(0.0) == FIRST_SECONDS / 2
