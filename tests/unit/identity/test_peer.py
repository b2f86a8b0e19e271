"""Who is on the other end of a wire."""

import pytest

from tidings.domain.audit import Peer
from tidings.identity.peer import Peers, values

PROXIES = Peers(["10.0.0.0/8", "::1"])


def forwarded(*lines: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-forwarded-for", line.encode()) for line in lines]


def test_the_address_is_the_connections_own() -> None:
    """Contract, section 11: "``X-Forwarded-For`` counts only from ``TIDINGS_TRUSTED_PROXIES``"."""
    assert Peers([]).of("203.0.113.7", forwarded("198.51.100.1")).ip == "203.0.113.7"
    assert PROXIES.of("203.0.113.7", forwarded("198.51.100.1")).ip == "203.0.113.7"


@pytest.mark.parametrize(
    ("lines", "ip"),
    [
        (("198.51.100.1",), "198.51.100.1"),
        (("6.6.6.6, 198.51.100.1",), "198.51.100.1"),
        (("6.6.6.6", "198.51.100.1, 10.1.1.1"), "198.51.100.1"),
        (("10.1.1.1",), "10.1.1.1"),
        (("nonsense",), "10.0.0.1"),
        (("198.51.100.1, nonsense",), "10.0.0.1"),
        ((), "10.0.0.1"),
    ],
)
def test_a_proxy_of_ours_is_believed_one_hop_at_a_time(lines: tuple[str, ...], ip: str) -> None:
    """The nearest hop that is no proxy of ours; what a client wrote before it counts for nothing."""
    assert PROXIES.of("10.0.0.1", forwarded(*lines)).ip == ip


def test_what_the_log_may_hold_is_short() -> None:
    """Headers of any length and any bytes can be shown."""
    headers = [(b"origin", b"http://a"), (b"user-agent", b"\xff" * 9000), (b"origin", b"second")]
    assert Peers([]).of(None, headers) == Peer(None, "http://a", "\xff" * 256)
    assert values(headers, b"origin") == ["http://a", "second"]
