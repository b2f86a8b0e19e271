"""The timing wheel: nothing fires early, nothing is forgotten, nothing fires twice."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from tidings.hub.wheel import OFF, Wheel


@dataclass(eq=False)
class Item:
    """Notes when it was called and asks for what it is told to ask for."""

    following: list[float | None] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)
    tick: int = OFF

    def due(self, now: float) -> float | None:
        self.calls.append(now)
        return self.following.pop(0) if self.following else None


def test_fires_once_its_time_has_come() -> None:
    """A deadline is not met before it has come, and once it has, at the next advance."""
    wheel, item = Wheel(100.0, resolution=0.1), Item()
    wheel.schedule(item, 101.0)
    wheel.advance(101.0)
    assert item.calls == []
    wheel.advance(101.2)
    assert item.calls == [101.2]
    assert len(wheel) == 0


def test_asks_anew_after_each_call() -> None:
    """What ``due`` returns is the next deadline."""
    wheel, item = Wheel(0.0, resolution=0.1), Item(following=[2.0, None])
    wheel.schedule(item, 1.0)
    for now in (1.2, 1.9, 2.2, 9.0):
        wheel.advance(now)
    assert item.calls == [1.2, 2.2]
    assert item.tick == OFF


def test_a_fault_costs_nobody_else_a_deadline() -> None:
    """Whatever one item does: those that are due with it are called, and so is it when it is scheduled anew."""

    class Faulty(Item):
        def due(self, now: float) -> float | None:
            super().due(now)
            raise RuntimeError

    wheel, items = Wheel(0.0, resolution=0.1), [Faulty(), Item(), Faulty(), Item()]
    for item in items:
        wheel.schedule(item, 1.0)
    wheel.advance(1.2)
    for item in items:
        wheel.schedule(item, 2.0)
    wheel.advance(2.2)
    assert [item.calls for item in items] == [[1.2, 2.2]] * 4


def test_only_an_earlier_deadline_moves_an_item() -> None:
    """A later one waits for the call that comes anyway, which asks anew."""
    wheel, item = Wheel(0.0, resolution=0.1), Item()
    wheel.schedule(item, 5.0)
    wheel.schedule(item, 9.0)
    wheel.schedule(item, 2.0)
    assert len(wheel) == 1
    wheel.advance(2.2)
    assert item.calls == [2.2]


def test_a_cancelled_item_is_not_called() -> None:
    """Cancelling takes it off; doing so again, or one that never was on, is harmless."""
    wheel, item = Wheel(0.0), Item()
    wheel.schedule(item, 1.0)
    wheel.cancel(item)
    wheel.cancel(item)
    wheel.advance(10.0)
    assert item.calls == []
    assert len(wheel) == 0


def test_an_item_may_cancel_another_of_the_same_tick() -> None:
    """Closing one connection may end another that is due in the same moment."""
    wheel = Wheel(0.0, resolution=0.1)
    items = [Item(), Item()]

    class Canceller(Item):
        def due(self, now: float) -> float | None:
            for item in items:
                wheel.cancel(item)
            return super().due(now)

    first = Canceller()
    for item in (first, *items):
        wheel.schedule(item, 1.0)
    wheel.advance(2.0)
    assert len(first.calls) == 1
    assert all(len(item.calls) <= 1 and item.tick == OFF for item in items)
    assert len(wheel) == 0


@given(
    deadlines=st.lists(st.floats(0, 50), max_size=30),
    steps=st.lists(st.floats(0.001, 7), min_size=1, max_size=30),
)
def test_every_deadline_is_met_once_and_in_time(deadlines: list[float], steps: list[float]) -> None:
    """Whatever the steps of the clock: each item is called at the first advance a tick behind its deadline."""
    resolution = 0.05
    wheel = Wheel(0.0, resolution=resolution)
    items = [(Item(), deadline) for deadline in deadlines]
    for item, deadline in items:
        wheel.schedule(item, deadline)
    now = 0.0
    for step in steps:
        now += step
        wheel.advance(now)
        for item, deadline in items:
            if item.calls:
                assert len(item.calls) == 1
                assert item.calls[0] >= deadline
            else:
                assert now <= deadline + 2 * resolution
