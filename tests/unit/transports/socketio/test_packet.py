"""Socket.IO packets against the protocol documents (5 and 4) and what the test-suite asks of a server."""

from typing import Any

import pytest

from tidings.domain.errors import CloseReason
from tidings.transports.socketio.packet import (
    MAX_ATTACHMENTS,
    MalformedConnect,
    MalformedPacket,
    Packet,
    PacketType,
    ProtocolViolation,
    Revision,
    decode,
    encode_ack,
    encode_args,
    encode_connect,
    encode_connect_error,
    encode_disconnect,
    encode_event,
    reconstruct,
)


def placeholder(num: object) -> dict[str, object]:
    return {"_placeholder": True, "num": num}


def binary_event(*args: Any, attachments: int = 1) -> Packet:
    return Packet(PacketType.BINARY_EVENT, "/", ["upload", *args], None, attachments)


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        ("0", Packet(PacketType.CONNECT, "/")),
        ("0/admin,", Packet(PacketType.CONNECT, "/admin")),
        ('0{"token":"123"}', Packet(PacketType.CONNECT, "/", {"token": "123"})),
        ('0/admin,{"token":"123"}', Packet(PacketType.CONNECT, "/admin", {"token": "123"})),
        ("1", Packet(PacketType.DISCONNECT, "/")),
        ("1/admin,", Packet(PacketType.DISCONNECT, "/admin")),
        ('2["foo"]', Packet(PacketType.EVENT, "/", ["foo"])),
        ('2/admin,["bar"]', Packet(PacketType.EVENT, "/admin", ["bar"])),
        ('2/,["bar"]', Packet(PacketType.EVENT, "/", ["bar"])),
        ('212["foo"]', Packet(PacketType.EVENT, "/", ["foo"], 12)),
        ('2/admin,13["foo"]', Packet(PacketType.EVENT, "/admin", ["foo"], 13)),
        ('20["foo"]', Packet(PacketType.EVENT, "/", ["foo"], 0)),
        ("312[]", Packet(PacketType.ACK, "/", [], 12)),
        ('3/admin,13["bar"]', Packet(PacketType.ACK, "/admin", ["bar"], 13)),
        (
            '51-["baz",{"_placeholder":true,"num":0}]',
            Packet(PacketType.BINARY_EVENT, "/", ["baz", placeholder(0)], None, 1),
        ),
        (
            '52-/admin,14["baz",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]',
            Packet(PacketType.BINARY_EVENT, "/admin", ["baz", placeholder(0), placeholder(1)], 14, 2),
        ),
        (
            '61-15["bar",{"_placeholder":true,"num":0}]',
            Packet(PacketType.BINARY_ACK, "/", ["bar", placeholder(0)], 15, 1),
        ),
    ],
)
def test_example(text: str, packet: Packet) -> None:
    """Every client packet among the examples of the document's "Packet encoding" is read as it says."""
    assert decode(text) == packet


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        ("0/random", Packet(PacketType.CONNECT, "/random")),
        ("1/custom", Packet(PacketType.DISCONNECT, "/custom")),
    ],
)
def test_namespace_ends_with_the_text(text: str, packet: Packet) -> None:
    """The official test-suite sends ``40/random`` and ``41/custom``: no comma where nothing follows."""
    assert decode(text) == packet


@pytest.mark.parametrize("text", ["", "abc", "7", "9[]", "-1", "٢[]", ' 2["a"]', "{}"])
def test_unknown_type(text: str) -> None:
    """Test-suite: "should close the connection upon invalid format (unknown packet type)"."""
    with pytest.raises(MalformedPacket, match="unknown packet type"):
        decode(text)


@pytest.mark.parametrize(
    "text", ["2", "2/ns", "2{}", "2[]", "2[", "2null", '2"a"', "2[true]", "2[null]", '2[{"toString":"foo"}]']
)
def test_event_payload(text: str) -> None:
    """Sending data: "The payload is mandatory and MUST be a non-empty array" - and begins with a name."""
    with pytest.raises(MalformedPacket):
        decode(text)


def test_event_name_is_no_number() -> None:
    """The stock server takes a number as an event's name; no client sends one, and here it is refused."""
    with pytest.raises(MalformedPacket, match="event without a name"):
        decode("2[1]")


@pytest.mark.parametrize("text", ["31", "31{}", '31"a"', "3", "31[", "61-1{}"])
def test_ack_payload(text: str) -> None:
    """Acknowledgement: "The payload is mandatory and MUST be an array (possibly empty)"."""
    with pytest.raises(MalformedPacket):
        decode(text)


@pytest.mark.parametrize("text", ["3[]", "3/ns,[]", "61-[]"])
def test_ack_without_id(text: str) -> None:
    """An ack that answers nothing in particular is malformed."""
    with pytest.raises(MalformedPacket, match="ack without an id"):
        decode(text)


@pytest.mark.parametrize("digits", ["00", "01", "007", "1" * 17, "9" * 5000])
def test_illegal_id(digits: str) -> None:
    """An id is a canonical integer of at most 16 digits."""
    with pytest.raises(MalformedPacket, match="illegal ack id"):
        decode(f'2{digits}["a"]')


@pytest.mark.parametrize("text", ['2abc["a"]', '2-1["a"]', '2+1["a"]', '21.5["a"]', '2٣["a"]', '21e3["a"]'])
def test_id_that_is_no_integer(text: str) -> None:
    """Test-suite: "should close the connection upon invalid format (invalid ack id)"."""
    with pytest.raises(MalformedPacket):
        decode(text)


@pytest.mark.parametrize(
    "text", ["0[]", '0"token"', "0null", "0123", "0{", "0{}x", "0/ns,[1]", '0/ns,{"a":1,"a":2}']
)
def test_connect_payload(text: str) -> None:
    """Section 4: "so is a CONNECT whose payload is not an object" - its namespace is known to the answer."""
    with pytest.raises(MalformedConnect) as caught:
        decode(text)
    assert caught.value.namespace == ("/ns" if "/ns" in text else "/")


@pytest.mark.parametrize("text", ["1{}", "11", "1[]", "1/ns,{}", "1/ns,12", "1 "])
def test_disconnect_payload(text: str) -> None:
    """DISCONNECT has a namespace and nothing else."""
    with pytest.raises(MalformedPacket, match="DISCONNECT with a payload"):
        decode(text)


@pytest.mark.parametrize("text", ["4", '4{"message":"x"}', '4/ns,{"message":"x"}'])
def test_connect_error_from_a_client(text: str) -> None:
    """CONNECT_ERROR is the server's answer; the stock server closes when a client sends one."""
    with pytest.raises(MalformedPacket, match="CONNECT_ERROR from a client"):
        decode(text)


@pytest.mark.parametrize("text", ["/" + "n" * 128, "/a\nb", "/a\x00", "/\ud800", "/a\u202eb"])
def test_unusable_namespace(text: str) -> None:
    """A refused namespace is sent back and logged, so it is short and printable."""
    with pytest.raises(MalformedPacket, match="unusable namespace"):
        decode("0" + text + ",")


def test_query_in_a_namespace_is_part_of_its_name() -> None:
    """Protocol 5 has no query in a namespace, so none is cut off: such a namespace does not exist."""
    assert decode("0/notifications?token=x,").namespace == "/notifications?token=x"


@pytest.mark.parametrize(
    ("text", "namespace", "query"),
    [
        ("0/chat?token=x&y=?,", "/chat", "token=x&y=?"),
        ("0/chat?", "/chat", ""),
        ("0/?a", "/", "a"),
        ("0/chat?" + "q" * 5000, "/chat", "q" * 5000),
        ("0/chat", "/chat", ""),
        ("0", "/", ""),
    ],
)
def test_query_of_protocol_4(text: str, namespace: str, query: str) -> None:
    """Protocol 4, CONNECT: ``0/admin?token=1234&uid=abcd,``; the namespace is what stands before the "?"."""
    assert decode(text, revision=Revision.V3) == Packet(PacketType.CONNECT, namespace, query=query)


def test_query_of_protocol_4_is_in_connect_alone() -> None:
    """A stock client names the bare namespace in all that follows."""
    assert decode('2/chat?a,["b"]', revision=Revision.V3).namespace == "/chat?a"


@pytest.mark.parametrize("text", ["0{}", '0/chat,{"token":"x"}', "0/chat?a,{}", "0/chat,1"])
def test_connect_payload_of_protocol_4(text: str) -> None:
    """Protocol 4: CONNECT has a namespace and a query, no payload."""
    with pytest.raises(MalformedConnect, match="illegal CONNECT payload"):
        decode(text, revision=Revision.V3)


@pytest.mark.parametrize(
    "text", ['5["a"]', '50-["a"]', '5-["a"]', '501-["a"]', '5x-["a"]', '51000-["a"]', '51["a"]']
)
def test_illegal_attachment_count(text: str) -> None:
    """Packet encoding: a binary type is followed by the number of its attachments and a dash."""
    with pytest.raises(MalformedPacket, match="illegal number of attachments"):
        decode(text)


@pytest.mark.parametrize("text", ['21-["a"]', "31-1[]", "01-", "11-"])
def test_attachments_of_a_packet_that_has_none(text: str) -> None:
    """Only types 5 and 6 have attachments."""
    with pytest.raises(MalformedPacket, match="illegal number of attachments"):
        decode(text)


def test_attachment_limit() -> None:
    """Section 10: "binary attachments in a Socket.IO packet ... at most 10"."""
    assert decode('510-["a"]').attachments == MAX_ATTACHMENTS == 10
    with pytest.raises(MalformedPacket, match="too many attachments"):
        decode('511-["a"]')


def test_attachment_limit_of_none() -> None:
    """Section 10: "binary attachments in a Socket.IO packet 0 on `/notifications`"."""
    with pytest.raises(MalformedPacket, match="too many attachments"):
        decode('51-["a"]', max_attachments=0)


def test_depth_counts_the_events_array() -> None:
    """Section 11: "its depth counts the event's array"; section 10: "JSON depth 32"."""
    assert decode('2["a",' + "[" * 31 + "]" * 31 + "]").type is PacketType.EVENT
    with pytest.raises(MalformedPacket, match="nested too deep"):
        decode('2["a",' + "[" * 32 + "]" * 32 + "]")


@pytest.mark.parametrize("argument", ["NaN", "9007199254740993", '{"a":1,"a":1}', r'"\ud800"', "1e999"])
def test_strict_json(argument: str) -> None:
    """Section 3: "duplicate keys, lone surrogates, NaN, integers beyond 2^53" are malformed."""
    with pytest.raises(MalformedPacket, match="payload: "):
        decode(f'2["a",{argument}]')


def test_reason_repeats_no_input() -> None:
    """Section 3: "No ... echoed input ever reaches a client"."""
    with pytest.raises(ProtocolViolation) as caught:
        decode('2["swordfish"')
    assert caught.value.reason is CloseReason.MALFORMED
    assert "swordfish" not in str(caught.value)


def test_placeholder_in_a_text_event_is_data() -> None:
    """Only a binary packet has placeholders; elsewhere the same object is what it looks like."""
    text = '2["a",{"_placeholder":true,"num":0}]'
    assert decode(text).data == ["a", placeholder(0)]


def test_reconstruct_event() -> None:
    """The attachments take their placeholders' places, however deep, and the packet is an EVENT."""
    head = Packet(PacketType.BINARY_EVENT, "/ns", ["a", {"x": [placeholder(1)]}, placeholder(0)], 7, 2)
    packet = reconstruct(head, [b"zero", b"one"])
    assert packet == Packet(PacketType.EVENT, "/ns", ["a", {"x": [b"one"]}, b"zero"], 7)


def test_reconstruct_ack() -> None:
    """A BINARY_ACK becomes an ACK."""
    packet = reconstruct(Packet(PacketType.BINARY_ACK, "/", [placeholder(0)], 7, 1), [b"x"])
    assert packet == Packet(PacketType.ACK, "/", [b"x"], 7)


@pytest.mark.parametrize("num", [1, -1, 10**15, 0.0, 0.5, "0", True, None, [], {}])
def test_forged_placeholder(num: object) -> None:
    """A placeholder whose number is no index of an attachment is malformed."""
    with pytest.raises(MalformedPacket, match="placeholder without an attachment"):
        reconstruct(binary_event([placeholder(num)]), [b"x"])


def test_placeholder_without_a_number() -> None:
    """A placeholder that names no attachment at all is malformed."""
    with pytest.raises(MalformedPacket, match="placeholder without an attachment"):
        reconstruct(binary_event({"_placeholder": True}), [b"x"])


@pytest.mark.parametrize("mark", [False, 1, "true", None])
def test_placeholder_that_is_not_true(mark: object) -> None:
    """Only ``true`` marks a placeholder, as in the official parser."""
    data = {"_placeholder": mark, "num": 0}
    assert reconstruct(binary_event(data), [b"x"]).data == ["upload", data]


def test_attachment_referenced_twice_or_never() -> None:
    """The official parser does not count references, and neither do we."""
    packet = reconstruct(binary_event(placeholder(1), placeholder(1), attachments=2), [b"never", b"twice"])
    assert packet.data == ["upload", b"twice", b"twice"]


def test_encode_connect() -> None:
    """Packet encoding: ``0{"sid":...}`` and ``0/admin,{"sid":...}``; in protocol 4 nothing behind it."""
    assert encode_connect("/", b'{"sid":"x"}') == b'0{"sid":"x"}'
    assert encode_connect("/admin", b'{"sid":"x"}') == b'0/admin,{"sid":"x"}'
    assert encode_connect("/admin") == b"0/admin,"


def test_encode_connect_error() -> None:
    """Test-suite: an unknown namespace is answered ``44/random,{"message":"Invalid namespace"}``."""
    data = b'{"message":"Invalid namespace"}'
    assert encode_connect_error("/random", data) == b'4/random,{"message":"Invalid namespace"}'


def test_encode_disconnect() -> None:
    """Packet encoding: ``1`` and ``1/admin,``."""
    assert encode_disconnect("/") == b"1"
    assert encode_disconnect("/admin") == b"1/admin,"


def test_encode_event_with_position() -> None:
    """Section 4: "each event ends with its position, as the stock v4 client expects"."""
    assert encode_event("/n", "hi", b'{"a":1}', position="t.1.g.0") == b'2/n,["hi",{"a":1},"t.1.g.0"]'


def test_encode_event_with_ack() -> None:
    """Packet encoding: the id stands between the namespace and the payload."""
    assert encode_event("/", "hi", b"null", ack_id=0) == b'20["hi",null]'


def test_encode_ack() -> None:
    """Packet encoding: ``3/admin,13["bar"]``."""
    assert encode_ack("/admin", 13, b'"bar"') == b'3/admin,13["bar"]'


def test_encode_args() -> None:
    """Packet encoding: ``51-["baz",{"_placeholder":true,"num":0}]`` and the attachment behind it."""
    args = ["baz", b"\1", {"a": [b"\2", "_placeholder"]}]
    one, two = (b'{"_placeholder":true,"num":%d}' % number for number in range(2))
    assert encode_args(PacketType.EVENT, "/admin", args, 12) == (
        b'52-/admin,12["baz",%b,{"a":[%b,"_placeholder"]}]' % (one, two),
        [b"\1", b"\2"],
    )
    assert encode_args(PacketType.ACK, "/", [b""], 0) == (b"61-0[%b]" % one, [b""])


def test_encode_args_without_attachments() -> None:
    """Without binary it is a plain packet, whatever its objects look like."""
    assert encode_args(PacketType.EVENT, "/", ["a", placeholder(0)]) == (
        b'2["a",{"_placeholder":true,"num":0}]',
        [],
    )


def test_encode_args_refuses_what_would_be_misread() -> None:
    """Beside an attachment a user's own object must not turn into it at the other end."""
    text = '{"_placeholder":true,"num":0}'
    assert encode_args(PacketType.EVENT, "/", ["a", b"x", {text: text}])[1] == [b"x"]
    with pytest.raises(ValueError, match="looks like a placeholder"):
        encode_args(PacketType.EVENT, "/", ["a", b"x", [placeholder(0)]])
