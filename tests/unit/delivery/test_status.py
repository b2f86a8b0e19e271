"""When clients are told that events are late, and when that they are not any more."""

from tidings.delivery.status import CALM_SECONDS, LATE_SECONDS, Status


def looks(status: Status, *seen: tuple[float, bool, float]) -> list[str]:
    """What is told in looks at (time, healthy, lag)."""
    told = []
    for now, healthy, lag in seen:
        if status.see(now, healthy=healthy, lag=lag):
            told.append(status.told().decode())
    return told


def test_a_broker_that_goes_and_comes() -> None:
    """ "Clients are told ``degraded``, then ``ok``": at once when it goes, once each."""
    status = Status()
    seen = [(0.0, True, 0.0), (1.0, False, 0.0), (2.0, False, 9.0), (3.0, True, 0.0), (5.0, True, 0.0)]
    assert looks(status, *seen, (6.0, True, 0.0)) == ['{"state":"degraded"}', '{"state":"ok"}']


def test_what_waits_too_long_is_late() -> None:
    """A healthy broker does not help if the relay is behind."""
    assert looks(Status(), (0.0, True, LATE_SECONDS)) == []
    assert looks(Status(), (0.0, True, LATE_SECONDS + 0.1)) == ['{"state":"degraded"}']


def test_a_relay_on_the_edge_is_told_of_once() -> None:
    """A lag that goes up and down around the limit, or is gone for a moment, is one fault."""
    status = Status()
    assert len(looks(status, *((n, True, 3.0 if n % 2 else 1.0) for n in range(20)))) == 1
    moments = [(20 + n * CALM_SECONDS, True, 3.0 if n % 2 else 0.0) for n in range(20)]
    assert looks(status, *moments) == []


def test_who_comes_in_is_told_how_things_stand() -> None:
    """Nothing while all is well, ``degraded`` while it is not."""
    status = Status()
    assert status.greeting() is None
    status.see(0.0, healthy=False, lag=0.0)
    assert status.degraded
    assert status.greeting() == b'{"state":"degraded"}'
