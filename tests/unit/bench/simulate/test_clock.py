"""Simulated time and lines, checked against what can be worked out by hand and by queueing theory."""

import random
from functools import partial

import pytest

from bench.simulate.clock import Clock, Line


def test_in_the_order_of_time() -> None:
    """What is due runs by its time, of equal times in the order in which it was asked for."""
    clock, seen = Clock(), list[tuple[str, float]]()
    for name, seconds in (("late", 2.0), ("early", 1.0), ("also early", 1.0)):
        clock.after(seconds, lambda name=name: seen.append((name, clock.now)))  # type: ignore[misc]  # bound now
    clock.run()
    assert seen == [("early", 1.0), ("also early", 1.0), ("late", 2.0)]


@pytest.mark.parametrize(("cores", "ends"), [(1, [1.0, 2.0, 3.0]), (2, [1.0, 1.0, 2.0]), (3, [1.0] * 3)])
def test_cores_share_a_line(cores: int, ends: list[float]) -> None:
    """Three pieces of a second each, on so many cores."""
    clock, seen = Clock(), list[float]()
    line = Line(clock, cores)
    for _ in range(3):
        line.add(1.0, lambda: seen.append(clock.now))
    clock.run()
    assert seen == ends
    assert line.worked == 3.0


def test_waiting_is_what_theory_says() -> None:
    """Random arrivals, fixed work, half loaded: the mean wait is half a piece of work (Pollaczek-Khinchine)."""
    clock, waits = Clock(), list[float]()
    line, chance, at = Line(clock), random.Random(7), 0.0

    def come() -> None:
        begun = clock.now
        line.add(1.0, lambda: waits.append(clock.now - begun - 1.0))

    for _ in range(50_000):
        at += chance.expovariate(0.5)
        clock.after(at, partial(come))
    clock.run()
    assert sum(waits) / len(waits) == pytest.approx(0.5, rel=0.05)
