"""The bodies of long-polling against the Engine.IO documents, version 4 and version 3."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.transports.socketio import payload
from tidings.transports.socketio.engine import Engine, Revision
from tidings.transports.socketio.packet import MalformedPacket
from tidings.transports.socketio.payload import Payload, decode

FRAMINGS = {Revision.V3: payload.V3, Revision.V4: payload.V4}
BODY = 64 * 1024
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
SENT = st.lists(st.tuples(st.sampled_from("0123456"), TEXTS) | st.binary(max_size=20), max_size=6)


def read(body: bytes, revision: Revision, *, binary: bool = False, most: int = 16) -> list[str | bytes]:
    return decode(body, revision, binary=binary, max_packets=most)


def framed(framing: Payload, sent: list[tuple[str, str] | bytes]) -> bytes:
    return b"".join(
        framing.binary(each) if isinstance(each, bytes) else framing.text("".join(each).encode())
        for each in sent
    )


@pytest.mark.parametrize(
    ("body", "packets"),
    [
        (b"4hello", ["4hello"]),
        ("4hello\x1e2\x1e4€".encode(), ["4hello", "2", "4€"]),
        (b"4hello\x1ebAQIDBA==", ["4hello", "bAQIDBA=="]),
    ],
)
def test_separated(body: bytes, packets: list[str | bytes]) -> None:
    """Version 4: ``<packet type>[<data>]\\x1e<packet type>[<data>]``, binary data in base64 behind a ``b``."""
    assert read(body, Revision.V4) == packets


@pytest.mark.parametrize("body", [b"\x1e", b"4a\x1e", b"\x1e4a", b"4a\x1e\x1e4b"])
def test_separated_with_an_empty_packet(body: bytes) -> None:
    """A packet has a type at least; test-suite: "closes the session upon invalid packet format"."""
    with pytest.raises(MalformedPacket, match="empty packet"):
        read(body, Revision.V4)


def test_binary_body_of_version_4() -> None:
    """Version 4 has no binary form; the stock server answers 400."""
    with pytest.raises(MalformedPacket, match="binary payload"):
        read(b"4hello", Revision.V4, binary=True)


@pytest.mark.parametrize(
    ("body", "packets"),
    [
        ("6:4hello2:4€", ["4hello", "4€"]),
        ("1:26:4a1:b:10:b4AQIDBA==", ["2", "4a1:b:", "b4AQIDBA=="]),
        ("3:4𝄞3:4𝄞", ["4𝄞", "4𝄞"]),
        ("11:4aaaaaaaaaa", ["4aaaaaaaaaa"]),
    ],
)
def test_counted(body: str, packets: list[str | bytes]) -> None:
    """Version 3: ``<length>:<packet>``, a character outside the basic plane counting twice, as in JavaScript."""
    assert read(body.encode(), Revision.V3) == packets


@pytest.mark.parametrize(
    "body",
    [
        *(
            "4hello",
            ":4hello",
            "0:",
            "1:20:",
            "-1:2",
            "+1:2",
            " 1:2",
            "01:2",
            "1.0:2",
            "1e0:2",
            "٢:42",
            "0x1:2",
        ),
        *("1", "1:2x", "1:21", "1:2 ", "9" * 5000 + ":2", "1:22:"),
    ],
)
def test_counted_wrongly(body: str) -> None:
    """A length is a canonical number of at least 1, and what it counts is there."""
    with pytest.raises(MalformedPacket, match=r"illegal length|incomplete packet"):
        read(body.encode(), Revision.V3)


@pytest.mark.parametrize("body", ["2:4", "7:4hello", "999999999:4", "3:4€", "1:22:4"])
def test_counted_beyond_the_end(body: str) -> None:
    """A length that promises more than there is."""
    with pytest.raises(MalformedPacket, match="incomplete packet"):
        read(body.encode(), Revision.V3)


def test_counted_into_a_character() -> None:
    """A length that ends between the two halves of a character leaves no text."""
    with pytest.raises(MalformedPacket, match="not UTF"):
        read("2:4𝄞".encode(), Revision.V3)


@pytest.mark.parametrize("body", [b"\xff", b"4\xc3", b"4\xed\xa0\x80", b"4\xc0\x80", b"2:4\xff"])
@pytest.mark.parametrize("revision", Revision)
def test_no_utf8(body: bytes, revision: Revision) -> None:
    """Text is UTF-8, without surrogates and overlong forms."""
    with pytest.raises(MalformedPacket, match="not UTF"):
        read(body, revision)


def test_binary_form() -> None:
    """Version 3: ``<0 for text, 1 for binary><length, digit by digit><255><packet>``."""
    body = b"\0\6\xff4hello" + b"\1\4\xff\4\1\2\3" + "\0\1\3".encode("latin-1") + b"\xff" + "4€€€€".encode()
    assert read(body, Revision.V3, binary=True) == ["4hello", b"\4\1\2\3", "4€€€€"]


@pytest.mark.parametrize(
    "body",
    [
        *(b"4hello", b"\0", b"\0\xff", b"\0\0\xff", b"\0\0\1\xff2", b"\0\1\xff", b"\0\2\xff2", b"\2\1\xff2"),
        *(b"\0\x0a\xff2", b"\0\xff\1\xff2", b"\0\1\xff2\0", b"\1" + b"\1" * 5000 + b"\xff", b"\0\1:2"),
    ],
)
def test_binary_form_counted_wrongly(body: bytes) -> None:
    """The same rules hold for the binary form's lengths."""
    with pytest.raises(MalformedPacket, match=r"illegal length|incomplete packet"):
        read(body, Revision.V3, binary=True)


def test_binary_form_with_text_that_is_none() -> None:
    """What is announced as text is UTF-8; what is binary may be anything."""
    assert read(b"\1\2\xff\4\xff", Revision.V3, binary=True) == [b"\4\xff"]
    with pytest.raises(MalformedPacket, match="not UTF"):
        read(b"\0\2\xff4\xff", Revision.V3, binary=True)


FORMS: list[tuple[Revision, bool, bytes]] = [
    (Revision.V4, False, b"2\x1e"),
    (Revision.V3, False, b"1:2"),
    (Revision.V3, True, b"\0\1\xff2"),
]


@pytest.mark.parametrize(("revision", "binary", "one"), FORMS)
def test_number_of_packets(revision: Revision, binary: bool, one: bytes) -> None:  # noqa: FBT001  a parameter of the test
    """As many packets as are allowed, and no work for more; none at all is no payload."""
    full = (one * 16).removesuffix(b"\x1e")
    assert read(full, revision, binary=binary) == ["2"] * 16
    with pytest.raises(MalformedPacket, match="too many packets"):
        read(one * 16 + one.removesuffix(b"\x1e"), revision, binary=binary)
    with pytest.raises(MalformedPacket, match="empty payload"):
        read(b"", revision, binary=binary)


@pytest.mark.parametrize("filler", [b"1:2", b"\x1e", b"9", b"\0\1\xff2", b"\1", "𝄞".encode(), b"1:"])
@pytest.mark.parametrize(("revision", "binary", "one"), FORMS)
def test_large_body(revision: Revision, binary: bool, one: bytes, filler: bytes) -> None:  # noqa: FBT001  likewise
    """Section 10: "message in 64 KiB" - a body of that size costs no more than reading it a few times."""
    try:
        packets = read((filler * BODY)[:BODY], revision, binary=binary, most=BODY)
    except MalformedPacket:
        return
    assert sum(map(len, packets)) <= BODY


@pytest.mark.parametrize(("revision", "wire"), [(Revision.V3, b"2:4a1:2"), (Revision.V4, b"4a\x1e2")])
def test_body(revision: Revision, wire: bytes) -> None:
    """Packets are framed one by one and joined; the body is what the document shows."""
    framing = FRAMINGS[revision]
    assert framing.body(framing.text(b"4a") + framing.text(b"2")) == wire


@pytest.mark.parametrize(("revision", "wire"), [(Revision.V3, b"10:b4AQIDBA=="), (Revision.V4, b"bAQIDBA==")])
def test_binary_message(revision: Revision, wire: bytes) -> None:
    """Binary is base64: behind ``b`` in version 4, behind ``b`` and the packet's type in version 3."""
    framing = FRAMINGS[revision]
    assert framing.body(framing.binary(b"\1\2\3\4")) == wire


def test_length_of_text() -> None:
    """Version 3 counts UTF-16 code units, not bytes and not characters."""
    assert payload.V3.text("4€𝄞".encode()) == "4:4€𝄞".encode()


@pytest.mark.parametrize("revision", Revision)
@given(sent=SENT)
def test_split_is_the_inverse(revision: Revision, sent: list[tuple[str, str] | bytes]) -> None:
    """What waits for a poll can go on over another carrier: packets come out as they were put in."""
    framing = FRAMINGS[revision]
    expected = [each if isinstance(each, bytes) else "".join(each) for each in sent]
    assert framing.split(framed(framing, sent)) == expected


@pytest.mark.parametrize("revision", Revision)
@given(sent=SENT.filter(bool))
def test_client_reads_what_is_sent(revision: Revision, sent: list[tuple[str, str] | bytes]) -> None:
    """Bodies that are written here are read here, the data of binary messages through the engine."""
    framing = FRAMINGS[revision]
    packets = read(framing.body(framed(framing, sent)), revision)
    engine = Engine(0.0, revision=revision)
    for packet, each in zip(packets, sent, strict=True):
        if isinstance(each, bytes):
            assert engine.receive(packet) == each
        else:
            assert packet == "".join(each)


@given(
    st.binary()
    | st.from_regex(rb"\A([0-9]{1,2}:4?[a-z]{0,9}|[\x00\x01][\x00-\x0a]{1,2}\xff4[a-z]{0,9}|\x1e)*\Z"),
    st.sampled_from(Revision),
    st.booleans(),
    st.integers(1, 4),
)
def test_any_body_is_cut_or_malformed(body: bytes, revision: Revision, binary: bool, most: int) -> None:  # noqa: FBT001
    """Whatever a client posts: a bounded list of packets none of which is empty, or MalformedPacket."""
    try:
        packets = read(body, revision, binary=binary, most=most)
    except MalformedPacket:
        return
    assert 1 <= len(packets) <= most
    assert all(packets)
    assert sum(map(len, packets)) <= len(body)
