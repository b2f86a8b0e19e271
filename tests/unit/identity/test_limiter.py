"""Windows, slots and buckets, against the plainest model of each."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.identity_rig import HandClock
from tidings.identity.limiter import Limiter, LocalSlots, SlidingWindow, Slots, TokenBucket, Verdict


async def test_twenty_in_any_sixty_seconds() -> None:
    """Contract: "20 client events in any 60 s", and how long to wait "in whole seconds"."""
    clock = HandClock(0)
    window: Limiter = SlidingWindow(20, 60, clock)
    for count in range(20):
        assert await window.hit("u") == Verdict(True, 20, 19 - count, 60, 0)
        clock.now += 1
    assert await window.hit("u") == Verdict(False, 20, 0, 60, 40)
    clock.now = 59.5
    assert await window.hit("u") == Verdict(False, 20, 0, 60, 1)
    clock.now = 60
    assert (await window.hit("u")).allowed
    assert await window.hit("u") == Verdict(False, 20, 0, 60, 1)


async def test_no_burst_at_the_edge_of_a_window() -> None:
    """Contract: "any 60 s" slides: what was sent at the end of one minute counts in the next."""
    clock = HandClock(59)
    window = SlidingWindow(20, 60, clock)
    assert all([(await window.hit("u")).allowed for _ in range(20)])
    clock.now = 61
    assert not (await window.hit("u")).allowed


async def test_what_is_refused_does_not_count() -> None:
    """Contract: "Events over the limit do not count towards the window"."""
    clock = HandClock(0)
    window = SlidingWindow(1, 10, clock)
    assert (await window.hit("u")).allowed
    for clock.now in range(1, 10):
        assert not (await window.hit("u")).allowed
    clock.now = 10
    assert (await window.hit("u")).allowed


async def test_waiting_as_told_is_enough() -> None:
    """After ``retry_after`` seconds the next one is allowed, fractions of the window notwithstanding."""
    clock = HandClock(0.3)
    window = SlidingWindow(1, 2.5, clock)
    await window.hit("u")
    clock.now = 1.1
    refused = await window.hit("u")
    assert (refused.window, refused.retry_after) == (3, 2)
    clock.now += refused.retry_after
    assert (await window.hit("u")).allowed


async def test_keys_do_not_hinder_each_other() -> None:
    """A user's window is the user's own."""
    window = SlidingWindow(1, 60, HandClock(0))
    assert (await window.hit("a")).allowed
    assert (await window.hit("b")).allowed
    assert not (await window.hit("a")).allowed


async def test_keys_whose_hits_have_aged_are_swept() -> None:
    """Memory is for those who were seen within the window, not for everyone ever seen."""
    clock = HandClock(0)
    window = SlidingWindow(5, 60, clock)
    for number in range(1000):
        await window.hit(f"u{number}")
    clock.now = 61
    for _ in range(5):
        await window.hit("fresh")
    assert len(window) == 1000 - 10 + 1
    for number in range(600):
        await window.hit(f"v{number}")
    assert len(window) == 601


@pytest.mark.parametrize(("points", "seconds"), [(0, 60), (1, 0)])
def test_a_window_that_allows_nothing_is_a_mistake(points: int, seconds: float) -> None:
    """It would have no time to tell anyone to come back."""
    with pytest.raises(ValueError, match="at least one point"):
        SlidingWindow(points, seconds)


@given(
    st.integers(1, 4),
    st.integers(1, 8),
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abc")), max_size=60),
)
async def test_the_window_does_as_the_plain_list_does(
    points: int, seconds: int, steps: list[tuple[int, str]]
) -> None:
    """Model: every accepted hit is kept for ever, and the young ones are counted each time."""
    clock, accepted = HandClock(0), list[tuple[float, str]]()
    window = SlidingWindow(points, seconds, clock)
    for pause, key in steps:
        clock.now += pause
        young = [at for at, who in accepted if who == key and at > clock.now - seconds]
        verdict = await window.hit(key)
        assert verdict.allowed == (len(young) < points)
        if verdict.allowed:
            accepted.append((clock.now, key))
            assert (verdict.remaining, verdict.retry_after) == (points - len(young) - 1, 0)
        else:
            assert (verdict.remaining, verdict.retry_after) == (0, young[0] + seconds - clock.now)
    kept = {who for at, who in accepted if at > clock.now - seconds}
    assert kept <= window._hits.keys()


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("ab"), st.integers(0, 3)), max_size=60))
async def test_slots_are_counted_and_never_negative(steps: list[tuple[bool, str, int]]) -> None:
    """Model: a plain count by key, which stops at nought. A key with none taken is gone."""
    slots, taken = LocalSlots(), {"a": 0, "b": 0}
    for acquiring, key, limit in steps:
        if acquiring:
            assert await slots.acquire(key, limit) == (taken[key] < limit)
            taken[key] += taken[key] < limit
        else:
            slots.give(key)
            taken[key] = max(0, taken[key] - 1)
        assert slots._taken == {name: count for name, count in taken.items() if count}
    assert len(slots) == sum(count > 0 for count in taken.values())


async def test_the_twenty_first_connection_finds_no_slot() -> None:
    """Contract: "The 21st connection of a user is refused", and one that ends makes room."""
    slots: Slots = LocalSlots()
    assert all([await slots.acquire("user", 20) for _ in range(20)])
    assert not await slots.acquire("user", 20)
    slots.give("user")
    assert await slots.acquire("user", 20)


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    """Contract: "accepted at a bounded rate, the rest told when to come back"."""
    clock = HandClock(0)
    bucket = TokenBucket(rate=500, burst=2, clock=clock)
    assert [bucket.take(), bucket.take()] == [0, 0]
    assert math.isclose(bucket.take(), 1 / 500)
    clock.now = 1 / 1000
    assert math.isclose(bucket.take(), 1 / 1000)
    clock.now = 1 / 500
    assert bucket.take() == 0
    assert bucket.take() > 0


def test_a_bucket_holds_no_more_than_its_burst() -> None:
    """A quiet hour does not allow a flood."""
    clock = HandClock(0)
    bucket = TokenBucket(rate=1, burst=3, clock=clock)
    clock.now = 3600
    assert [bucket.take() for _ in range(4)] == [0, 0, 0, 1]


@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=50))
def test_a_bucket_never_exceeds_its_rate(pauses: list[float]) -> None:
    """In any stretch of time from the start no more than the burst and what has flowed in."""
    clock, given_out = HandClock(0), 0
    bucket = TokenBucket(rate=10, burst=3, clock=clock)
    for pause in pauses:
        clock.now += pause
        given_out += bucket.take() == 0
        assert given_out <= 3 + clock.now * 10 + 1e-6


def test_who_is_refused_is_given_places_at_the_rate() -> None:
    """Whoever comes when told finds room: the places are as far apart as tokens are, and no further than asked."""
    clock = HandClock(0)
    bucket = TokenBucket(rate=10, burst=1, clock=clock)
    assert [bucket.queue(1.0) for _ in range(3)] == pytest.approx([0.1, 0.2, 0.3])
    clock.now = 0.3
    assert bucket.queue(1.0) == pytest.approx(0.1)
    clock.now = 100
    assert bucket.queue(1.0) == pytest.approx(0.1)
    assert [bucket.queue(1.0) for _ in range(20)][-1] == 1.0
