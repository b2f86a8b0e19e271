"""What is tried on the bytes of a hostile client: all that reads them before the application does.

``one_input`` takes any bytes. Their first says how the rest is to be taken; the rest is a body of long-polling,
or, where it is none, one packet. Only a refusal may come of it, and what is accepted has to be bounded and
come out the same when it is written and read again. ``fuzz_wire`` feeds it for hours, ``test_wire`` a few
known inputs; neither clock nor randomness is used, so that an input always does the same.
"""

from typing import Final

from tidings.domain.errors import CloseReason
from tidings.domain.strictjson import MAX_INTEGER, MalformedJson, dumps, loads
from tidings.transports.socketio import payload
from tidings.transports.socketio.engine import Beat, Engine, Ping, Probe, Signal
from tidings.transports.socketio.packet import (
    MAX_ATTACHMENTS,
    MalformedPacket,
    PacketType,
    ProtocolViolation,
    Revision,
    decode,
    encode_args,
    reconstruct,
)
from tidings.transports.socketio.protocol import (
    MAX_NAMESPACES,
    RESERVED_EVENTS,
    AckReceived,
    ConnectRequested,
    EventReceived,
    Protocol,
    Received,
)

MAX_BODY: Final = 64 * 1024
MAX_PACKETS: Final = 16
MAX_ATTACHMENT_BYTES: Final = 1024
NAMESPACES: Final = frozenset({"/", "/notifications"})
ENDS: Final = (
    *(None, CloseReason.PING_TIMEOUT),
    *(CloseReason.MALFORMED, CloseReason.RESERVED_EVENT, CloseReason.TOO_LARGE),
)
FRAMINGS: Final = {Revision.V3: payload.V3, Revision.V4: payload.V4}


def one_input(data: bytes) -> None:
    """Try one input. Raises AssertionError, or whatever else is not a refusal: a finding.

    Bits of the first byte: 0 protocol 3, 1 binary body, 2 CONNECTs are rejected, 3 time passes between packets.
    """
    flags, body = data[0] if data else 0, data[1 : 1 + MAX_BODY]
    revision = Revision.V3 if flags & 1 else Revision.V4
    _json(body)
    _probe(body)
    packets = _packets(body, revision, binary=bool(flags & 2))
    talk = _Talk(revision, grants=not flags & 4, seconds=20.0 if flags & 8 else 0.0)
    assert talk.hear(packets) in ENDS


class _Talk:
    """One connection, its application and its clock."""

    def __init__(self, revision: Revision, *, grants: bool, seconds: float) -> None:
        self._engine = Engine(0.0, revision=revision)
        self._protocol = Protocol(NAMESPACES, max_attachment_bytes=MAX_ATTACHMENT_BYTES, revision=revision)
        self._now = 0.0
        self._grants = grants
        self._seconds = seconds

    def hear(self, packets: list[str | bytes]) -> CloseReason | None:
        """Take packets until one of them, or silence, ends the connection; why it did."""
        for packet in packets:
            if self._passes():
                return CloseReason.PING_TIMEOUT
            try:
                self._take(packet)
            except ProtocolViolation as violation:
                return violation.reason
            self._check()
        return None

    def _passes(self) -> bool:
        self._now += self._seconds
        beat = self._engine.due(self._now)
        assert beat is Beat.TIMEOUT or self._engine.next_deadline() > self._now
        return beat is Beat.TIMEOUT

    def _take(self, packet: str | bytes) -> None:
        said = self._engine.receive(packet)
        if isinstance(said, Ping):
            answer = self._engine.answer(said, self._now)
            assert answer == b"3" + str(packet)[1:].encode()
            assert len(answer) <= 126
        elif not isinstance(said, Signal):
            assert len(said) <= len(packet)
            received = self._protocol.receive(said)
            if received is not None:
                self._answer(received)

    def _answer(self, received: Received) -> None:
        if isinstance(received, ConnectRequested):
            assert received.namespace in NAMESPACES
            decide = self._protocol.accept if self._grants else self._protocol.reject
            decide(received.namespace)
        elif isinstance(received, EventReceived):
            assert received.name not in RESERVED_EVENTS
            assert self._protocol.is_connected(received.namespace)
            _again(PacketType.EVENT, received.namespace, [received.name, *received.args], received.ack_id)
        elif isinstance(received, AckReceived):
            assert self._protocol.is_connected(received.namespace)
            _again(PacketType.ACK, received.namespace, received.args, received.id)

    def _check(self) -> None:
        """What is kept is little, whatever was said."""
        state = self._protocol
        assert set(state._pending).isdisjoint(state._connected)
        assert len(state._pending) + len(state._connected) + state._refused <= MAX_NAMESPACES
        if state._assembly is not None:
            waiting = state._assembly.attachments
            assert len(waiting) < state._assembly.head.attachments <= MAX_ATTACHMENTS
            assert sum(map(len, waiting)) <= MAX_ATTACHMENT_BYTES
        assert state.assembling is (state._assembly is not None)


def _packets(body: bytes, revision: Revision, *, binary: bool) -> list[str | bytes]:
    """The packets of a body, or the body as the one packet that a WebSocket frame would hold."""
    try:
        packets = payload.decode(body, revision, binary=binary, max_packets=MAX_PACKETS)
    except MalformedPacket:
        return [body if binary else body.decode(errors="replace")]
    assert 1 <= len(packets) <= MAX_PACKETS
    assert all(packets)
    assert sum(map(len, packets)) <= len(body)
    texts = [packet for packet in packets if isinstance(packet, str)]
    framing = FRAMINGS[revision]
    framed = framing.body(b"".join(framing.text(text.encode()) for text in texts))
    assert not texts or payload.decode(framed, revision, binary=False, max_packets=MAX_PACKETS) == texts
    return packets


def _again(kind: PacketType, namespace: str, args: list[object], ack_id: int | None) -> None:
    """What was read can be written, and what was written reads the same."""
    wire, attachments = encode_args(kind, namespace, args, ack_id)
    if len(attachments) > MAX_ATTACHMENTS:
        # One attachment stood in many places, and each place is written with its own.
        return
    head = decode(wire.decode())
    assert head.attachments == len(attachments)
    packet = reconstruct(head, attachments) if attachments else head
    assert (packet.type, packet.namespace, packet.data, packet.id) == (kind, namespace, args, ack_id)


def _probe(body: bytes) -> None:
    probe = Probe()
    try:
        for line in body.decode(errors="replace").split("\x1e", MAX_PACKETS):
            said = probe.receive(line)
            assert said is (Signal.PROBE if line == "2probe" else Signal.UPGRADE)
    except ProtocolViolation:
        return


def _json(body: bytes) -> None:
    try:
        value = loads(body)
    except MalformedJson:
        return
    assert loads(dumps(value)) == value
    assert not isinstance(value, int) or abs(value) <= MAX_INTEGER
