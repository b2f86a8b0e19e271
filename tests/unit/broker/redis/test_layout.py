"""How things are written in Redis."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.broker_rig import ACME, ANN, event
from tidings.broker.redis.layout import (
    LOT_BYTES,
    LOT_EVENTS,
    Entry,
    channel_name,
    lots,
    pack,
    short,
    slot,
    slot_of_key,
    tenant_key,
    unpack,
    whispered,
)
from tidings.domain.event import Event, EventClass
from tidings.domain.people import TenantId
from tidings.domain.position import NOWHERE, Position

HEADER = b"0123456789abcdef" + bytes([0] * 7 + [9]) + bytes([0] * 7 + [4]) + (1_500_000).to_bytes(8, "big")


@given(st.text(max_size=50), st.binary(), st.sampled_from(EventClass), st.text(max_size=100))
def test_what_is_packed_is_unpacked(name: str, data: bytes, klass: EventClass, key: str) -> None:
    """An event comes out as it went in, with the place that the script wrote before it."""
    sent = Event(name, data, klass, key)
    published = unpack(ANN, HEADER + pack(sent))
    assert (published.channel, published.event) == (ANN, sent)
    assert published.position == Position("0123456789abcdef", 9)
    assert (published.prev, published.published_at) == (4, 1.5)


def test_a_whisper() -> None:
    """It is read as any message, and has no place."""
    published = unpack(ANN, whispered(event("a", key="k"), 1.5))
    assert (published.event, published.position) == (event("a", key="k"), NOWHERE)
    assert (published.prev, published.published_at) == (0, 1.5)


@pytest.mark.parametrize(
    "message", [b"", HEADER, HEADER + b"\xff\x00\x00\x00", HEADER + b"\x00\x01\x00\x00\xff"]
)
def test_what_is_none_of_ours(message: bytes) -> None:
    """Bytes of another layout are refused, not misread."""
    with pytest.raises(ValueError, match=r"layout|decode"):
        unpack(ANN, message)


def test_too_long() -> None:
    """A name or key that the header cannot hold is refused."""
    for sent in (Event("n" * 256, b"", EventClass.STATE), event(key="k" * 65_536)):
        with pytest.raises(ValueError, match="too long"):
            pack(sent)


def test_names() -> None:
    """All of a tenant shares its hash tag; the database is part of every name, since publishing knows none."""
    assert tenant_key(2, ACME) == "tidings:1:2:{acme}"
    assert channel_name(2, ANN) == b"tidings:1:2:{acme}/user/ann"
    assert short(ANN) == "user/ann"


def test_slot() -> None:
    """The slots of the Redis Cluster Specification: CRC16/XMODEM of the hash tag, modulo 16384."""
    assert slot(TenantId("123456789")) == 0x31C3 % 16_384


@pytest.mark.parametrize(
    ("key", "tag"),
    [
        ("user:ann", "user:ann"),
        ("{user1000}.following", "user1000"),
        ("foo{}{bar}", "foo{}{bar}"),
        ("foo{{bar}}zap", "{bar"),
        ("foo{bar}{zap}", "bar"),
        ("foo}bar{zap", "foo}bar{zap"),
    ],
)
def test_slot_of_a_key_with_braces(key: str, tag: str) -> None:
    """Redis Cluster specification, "Hash tags", with its own examples: only what is in the first braces counts."""
    assert slot_of_key(key) == slot(tag)


def test_lots() -> None:
    """What one call is given is bounded in events and in bytes, and in order; one large event goes alone."""
    small: list[tuple[int, Entry]] = [(number, (ANN, event())) for number in range(LOT_EVENTS + 1)]
    assert [len(lot) for lot in lots(small)] == [LOT_EVENTS, 1]
    large = [(0, (ANN, event("x"))), (1, (ANN, event("x" * LOT_BYTES))), (2, (ANN, event("x")))]
    assert [[number for number, _ in lot] for lot in lots(large)] == [[0], [1], [2]]
    assert [*lots([])] == []
