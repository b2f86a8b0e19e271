"""What a broker URL says."""

import pytest

from tidings.broker.redis.address import Address, Arrangement, Login, parse


def test_standalone() -> None:
    """redis://, with everything that it may say."""
    target = parse("redis://ann:p%40ss@redis.example:6380/3")
    assert target.arrangement is Arrangement.STANDALONE
    assert target.addresses == (Address("redis.example", 6380),)
    assert target.login == Login("ann", "p@ss")
    assert target.database == 3
    assert target.tls is None


def test_as_short_as_can_be() -> None:
    """The port is Redis's own, the user its default one."""
    target = parse("redis://localhost")
    assert (target.addresses, target.login, target.database) == ((Address("localhost", 6379),), Login(), 0)
    assert parse("redis://:secret@localhost").login == Login("default", "secret")


def test_tls() -> None:
    """rediss://, or ``tls=true`` for the others."""
    assert parse("rediss://localhost").tls is not None
    assert parse("redis+cluster://localhost?tls=true").tls is not None
    assert parse("redis+cluster://localhost?tls=false").tls is None


def test_cluster() -> None:
    """redis+cluster:// names some of the servers."""
    target = parse("redis+cluster://:secret@one:7001,two,[::1]:7003")
    assert target.arrangement is Arrangement.CLUSTER
    assert target.addresses == (Address("one", 7001), Address("two", 7000), Address("::1", 7003))


def test_sentinel() -> None:
    """redis+sentinel:// names sentinels and the master that they watch."""
    target = parse("redis+sentinel://ann:one@a,b:5000/leader/2?sentinel_user=bob&sentinel_password=two")
    assert target.arrangement is Arrangement.SENTINEL
    assert target.addresses == (Address("a", 26379), Address("b", 5000))
    assert (target.master, target.database) == ("leader", 2)
    assert (target.login, target.sentinel_login) == (Login("ann", "one"), Login("bob", "two"))


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("memory://", "scheme"),
        ("redis://", "host:port"),
        ("redis://host:port", "host:port"),
        ("redis://host:0", "no such port"),
        ("redis://host:65536", "no such port"),
        ("redis://host/first", "number of a database"),
        ("redis://host/1/2", "number of a database"),
        ("redis+cluster://host/1", "database 0"),
        ("redis+sentinel://host", "master's name"),
        ("redis://host?timeout=3", "unknown option: timeout"),
    ],
)
def test_no_url(url: str, fault: str) -> None:
    """The message names the fault."""
    with pytest.raises(ValueError, match=fault):
        parse(url)


def test_passwords_are_not_shown() -> None:
    """Neither the password nor the sentinels' is in what is printed of a target."""
    assert "secret" not in repr(parse("redis+sentinel://:secret@a/leader?sentinel_password=secret"))
