"""One connection against a model of it: whatever is said and decided in whatever order, both agree.

The model is what the documents say, in sets and numbers. It speaks through ``Engine`` and ``Protocol`` as a
carrier would. What is legal is said by rules of its own and answered as the model says; what is not is said
by one rule, and has to raise.
"""

from copy import deepcopy
from typing import Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tidings.transports.socketio.engine import Beat, Engine, Ping, Signal
from tidings.transports.socketio.packet import PacketType, ProtocolViolation, Revision, encode_args
from tidings.transports.socketio.protocol import (
    AckReceived,
    ConnectMalformed,
    ConnectRefused,
    ConnectRequested,
    Disconnected,
    EventReceived,
    Protocol,
    Received,
)

NAMESPACES: Final = ("/", "/one", "/two")
MAX_NAMESPACES: Final = 4
MAX_ATTACHMENTS: Final = 3
MAX_BYTES: Final = 12
INTERVAL, TIMEOUT = 25.0, 20.0

ARGUMENTS = st.lists(st.integers(0, 9) | st.text("ab", max_size=2), max_size=2)
ATTACHMENTS = st.lists(st.binary(max_size=MAX_BYTES // MAX_ATTACHMENTS), min_size=1, max_size=MAX_ATTACHMENTS)
IDS = st.none() | st.integers(0, 99)


class ConnectionMachine(RuleBasedStateMachine):
    """A client and an application that do as they like. ``awaited`` is what a binary packet will come to."""

    revision = Revision.V4

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.begin()

    def begin(self) -> None:
        self.engine = Engine(self.now, revision=self.revision, ping_interval=INTERVAL, ping_timeout=TIMEOUT)
        self.protocol = Protocol(
            frozenset(NAMESPACES),
            max_attachments=MAX_ATTACHMENTS,
            max_attachment_bytes=MAX_BYTES,
            max_namespaces=MAX_NAMESPACES,
            revision=self.revision,
        )
        self.pending: list[str] = []
        self.connected: list[str] = []
        self.refused = 0
        self.awaited: EventReceived | AckReceived | None = None
        self.attachments: list[bytes] = []
        self.room = MAX_BYTES
        self.pinged = self.now
        self.unanswered = self.revision is Revision.V3

    def say(self, message: str | bytes) -> Received | None:
        if isinstance(message, str):
            packet: str | bytes = f"4{message}"
        else:
            packet = message if self.revision is Revision.V4 else b"\x04" + message
        said = self.engine.receive(packet)
        assert isinstance(said, str | bytes)
        return self.protocol.receive(said)

    @property
    def full(self) -> bool:
        return len(self.pending) + len(self.connected) + self.refused >= MAX_NAMESPACES

    # What the client may say.

    @precondition(lambda self: self.awaited is None and not self.full)
    @rule(data=st.data(), token=st.sampled_from(["x", "y"]))
    def connect(self, data: st.DataObject, token: str) -> None:
        """With a payload in protocol 5, with a query in protocol 4."""
        free = [name for name in (*NAMESPACES, "/none") if name not in self.pending + self.connected]
        name = data.draw(st.sampled_from(free))
        auth, query = ({"token": token}, "") if self.revision is Revision.V4 else (None, f"token={token}")
        said = self.say(f"0{name}?{query}" if query else f'0{name},{{"token":"{token}"}}')
        if name in NAMESPACES:
            assert said == ConnectRequested(name, auth, query)
            self.pending.append(name)
        else:
            assert said == ConnectRefused(name, query)
            self.refused += 1

    @precondition(lambda self: self.awaited is None and not self.full)
    @rule(name=st.sampled_from(NAMESPACES))
    def connect_with_a_bad_payload(self, name: str) -> None:
        assert self.say(f"0{name},[]") == ConnectMalformed(name)
        self.refused += 1

    @precondition(lambda self: self.awaited is None and self.connected)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.connected))
        assert self.say(f"1{name}") == Disconnected(name)
        self.connected.remove(name)

    @precondition(lambda self: self.awaited is None and self.connected)
    @rule(data=st.data(), args=ARGUMENTS, sent=st.just([]) | ATTACHMENTS, ack_id=IDS)
    def emit(self, data: st.DataObject, args: list[object], sent: list[bytes], ack_id: int | None) -> None:
        name = data.draw(st.sampled_from(self.connected))
        whole = EventReceived(name, "hello", [*args, *sent], ack_id)
        wire, attachments = encode_args(PacketType.EVENT, name, ["hello", *whole.args], ack_id)
        self.expect(whole, wire, attachments)

    @precondition(lambda self: self.awaited is None and self.connected)
    @rule(data=st.data(), args=ARGUMENTS, sent=st.just([]) | ATTACHMENTS, ack_id=st.integers(0, 99))
    def acknowledge(self, data: st.DataObject, args: list[object], sent: list[bytes], ack_id: int) -> None:
        name = data.draw(st.sampled_from(self.connected))
        whole = AckReceived(name, ack_id, [*args, *sent])
        wire, attachments = encode_args(PacketType.ACK, name, whole.args, ack_id)
        self.expect(whole, wire, attachments)

    def expect(self, whole: EventReceived | AckReceived, wire: bytes, attachments: list[bytes]) -> None:
        said = self.say(wire.decode())
        if attachments:
            assert said is None
            self.awaited, self.attachments, self.room = whole, attachments, MAX_BYTES
        else:
            assert said == whole

    @precondition(lambda self: self.awaited is not None)
    @rule()
    def attach(self) -> None:
        """What the application has ended meanwhile comes to nothing."""
        assert self.awaited is not None
        self.room -= len(self.attachments[0])
        said = self.say(self.attachments.pop(0))
        if self.attachments:
            assert said is None
        else:
            assert said == (self.awaited if self.awaited.namespace in self.connected else None)
            self.awaited = None

    # What it may not say.

    @rule(data=st.data())
    def violate(self, data: st.DataObject) -> None:
        """To a copy of the connection, because a violation would be the end of it."""
        before = self.protocol
        self.protocol = deepcopy(before)
        with pytest.raises(ProtocolViolation):
            self.say(data.draw(st.sampled_from(self.illegal())))
        self.protocol = before

    def illegal(self) -> list[str | bytes]:
        if self.awaited is not None:
            name = self.awaited.namespace
            return [bytes(self.room + 1), f'2{name},["a"]', f"1{name}", f"0{name}", ""]
        closed = [name for name in NAMESPACES if name not in self.connected]
        return [
            *("", "7", "4", '54-["a"]', b"", b"x"),
            *(f"2{name},{{}}" for name in NAMESPACES),
            *(f'2{name},["a"]' for name in closed),
            *(f"1{name}" for name in closed),
            *(f"0{name}" for name in self.pending + self.connected),
            *(f'2{name},["disconnect"]' for name in self.connected),
            *(["0/more"] if self.full else []),
        ]

    # What the application does.

    @precondition(lambda self: self.pending)
    @rule(data=st.data(), granted=st.booleans())
    def decide(self, data: st.DataObject, granted: bool) -> None:  # noqa: FBT001  drawn by name
        name = data.draw(st.sampled_from(self.pending))
        self.pending.remove(name)
        if granted:
            self.protocol.accept(name)
            self.connected.append(name)
        else:
            self.protocol.reject(name)
            self.refused += 1

    @rule(name=st.sampled_from(NAMESPACES))
    def end(self, name: str) -> None:
        self.protocol.disconnect(name)
        self.connected = [other for other in self.connected if other != name]

    # The heart.

    @property
    def deadline(self) -> float:
        if self.revision is Revision.V3:
            return self.pinged + INTERVAL + TIMEOUT
        return self.pinged + (TIMEOUT if self.unanswered else INTERVAL)

    @rule(seconds=st.integers(1, 30))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        beat = self.engine.due(self.now)
        if self.now < self.deadline:
            assert beat is None
        elif self.unanswered:
            assert beat is Beat.TIMEOUT
            self.begin()
        else:
            assert beat is Beat.PING
            self.pinged, self.unanswered = self.now, True

    @rule()
    def heartbeat(self) -> None:
        if self.revision is Revision.V4:
            assert self.engine.receive("3") is Signal.PONG
            self.unanswered = False
        else:
            said = self.engine.receive("2")
            assert isinstance(said, Ping)
            assert self.engine.answer(said, self.now) == b"3"
            self.pinged = self.now

    @invariant()
    def agrees(self) -> None:
        assert self.protocol.assembling is (self.awaited is not None)
        assert self.engine.next_deadline() == self.deadline
        assert all(self.protocol.is_connected(name) is (name in self.connected) for name in NAMESPACES)

    @invariant()
    def keeps_little(self) -> None:
        protocol = self.protocol
        assert len(protocol._pending) + len(protocol._connected) + protocol._refused <= MAX_NAMESPACES
        if protocol._assembly is not None:
            assert len(protocol._assembly.attachments) < MAX_ATTACHMENTS
            assert sum(map(len, protocol._assembly.attachments)) <= MAX_BYTES


class OldConnectionMachine(ConnectionMachine):
    """The same with a client of Engine.IO 3."""

    revision = Revision.V3


TestConnection = ConnectionMachine.TestCase
TestOldConnection = OldConnectionMachine.TestCase
TestConnection.settings = TestOldConnection.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None
)
