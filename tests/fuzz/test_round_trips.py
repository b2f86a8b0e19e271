"""Socket.IO packets that Hypothesis makes up: what is written can be read, what cannot be read is refused."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tidings.domain.strictjson import dumps
from tidings.transports.socketio.packet import (
    MAX_ATTACHMENTS,
    MalformedPacket,
    Packet,
    PacketType,
    Revision,
    decode,
    encode_ack,
    encode_args,
    encode_connect,
    encode_disconnect,
    encode_event,
    reconstruct,
)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('aé€𝄞"\\\n')
)


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3)
        ),
        max_leaves=10,
    )


JSON = nested(SCALARS)
ARGUMENTS = nested(SCALARS | st.binary(max_size=4))
NAMESPACES = st.just("/") | st.from_regex(r"/[a-z0-9é_/.-]{1,20}", fullmatch=True)
IDS = st.none() | st.integers(0, 10**16 - 1)


def placeholder(num: object) -> dict[str, object]:
    return {"_placeholder": True, "num": num}


@given(
    st.sampled_from([PacketType.EVENT, PacketType.ACK]),
    NAMESPACES,
    st.lists(ARGUMENTS, max_size=4),
    st.integers(0, 10**16 - 1),
)
def test_args_round_trip(kind: PacketType, namespace: str, args: list[Any], ack_id: int) -> None:
    """What ``encode_args`` takes apart, ``decode`` and ``reconstruct`` put together."""
    sent = ["né", *args]
    wire, attachments = encode_args(kind, namespace, sent, ack_id)
    head = decode(wire.decode(), max_attachments=999)
    assert head.attachments == len(attachments)
    received = reconstruct(head, attachments) if attachments else head
    assert received == Packet(kind, namespace, sent, ack_id)


@given(NAMESPACES, JSON, st.none() | st.text("abc.0"), IDS)
def test_event_round_trip(namespace: str, argument: Any, position: str | None, ack_id: int | None) -> None:
    """What ``encode_event`` writes, ``decode`` reads."""
    wire = encode_event(namespace, "né", dumps(argument), position=position, ack_id=ack_id)
    args = [argument] if position is None else [argument, position]
    assert decode(wire.decode()) == Packet(PacketType.EVENT, namespace, ["né", *args], ack_id)


@given(NAMESPACES, JSON, st.integers(0, 10**16 - 1))
def test_ack_round_trip(namespace: str, argument: Any, ack_id: int) -> None:
    """What ``encode_ack`` writes, ``decode`` reads."""
    wire = encode_ack(namespace, ack_id, dumps(argument))
    assert decode(wire.decode()) == Packet(PacketType.ACK, namespace, [argument], ack_id)


@given(NAMESPACES, st.dictionaries(st.text("abc"), JSON, max_size=3))
def test_connect_and_disconnect_round_trip(namespace: str, auth: dict[str, Any]) -> None:
    """What ``encode_connect`` and ``encode_disconnect`` write, ``decode`` reads."""
    wire = encode_connect(namespace, dumps(auth))
    assert decode(wire.decode()) == Packet(PacketType.CONNECT, namespace, auth)
    assert decode(encode_disconnect(namespace).decode()) == Packet(PacketType.DISCONNECT, namespace)


@given(
    st.text() | st.from_regex(r"\A[0-9]{1,3}-?(/[a-z]*\??,?)?[0-9]*[\[{\"a-z_:,0-9\]}]*\Z"),
    st.sampled_from(Revision),
)
def test_any_text_is_a_packet_or_malformed(text: str, revision: Revision) -> None:
    """Whatever a client sends, ``decode`` returns a packet or raises MalformedPacket, nothing else."""
    try:
        packet = decode(text, revision=revision)
    except MalformedPacket:
        return
    assert text.startswith(f"{packet.type:d}")
    assert packet.attachments <= MAX_ATTACHMENTS


@given(st.lists(JSON | st.builds(placeholder, st.integers(-1, 3) | JSON)), st.lists(st.binary(), max_size=3))
def test_any_placeholders_are_filled_or_malformed(args: list[Any], attachments: list[bytes]) -> None:
    """``reconstruct`` leaves no placeholder behind, or raises MalformedPacket."""
    head = Packet(PacketType.BINARY_EVENT, "/", ["upload", *args], None, len(attachments))
    try:
        packet = reconstruct(head, attachments)
    except MalformedPacket:
        return
    assert "_placeholder" not in json.dumps(packet.data, default=repr)
