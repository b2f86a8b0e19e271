"""How long to wait before Redis is tried again."""

from itertools import islice

from tidings.broker.redis.backoff import backoff


def test_doubles_to_a_bound_and_spreads() -> None:
    """50 ms doubling to 2 s; each is between half of that and the whole."""
    whole = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    for pause, most in zip(islice(backoff(), len(whole)), whole, strict=True):
        assert most / 2 <= pause <= most
    assert len({next(backoff()) for _ in range(20)}) > 1
