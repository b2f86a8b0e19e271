"""Engine.IO packets, heartbeat and upgrade against the protocol documents, version 4 and version 3."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.domain.errors import CloseReason
from tidings.transports.socketio.engine import (
    CLOSE_PACKET,
    MESSAGE_PREFIX,
    NOOP_PACKET,
    PING_PACKET,
    PROBE_ANSWER,
    Beat,
    Engine,
    Ping,
    Probe,
    Revision,
    Signal,
    open_packet,
)
from tidings.transports.socketio.packet import MalformedPacket, ProtocolViolation


def opened(at: float = 0.0, revision: Revision = Revision.V4) -> Engine:
    return Engine(at, revision=revision, ping_interval=25.0, ping_timeout=20.0)


def violation(receiver: Engine | Probe, packet: str | bytes) -> tuple[CloseReason, str]:
    with pytest.raises(ProtocolViolation) as caught:
        receiver.receive(packet)
    return caught.value.reason, str(caught.value)


def test_open_packet() -> None:
    """Handshake: sid, upgrades, pingInterval and pingTimeout in milliseconds, maxPayload."""
    packet = open_packet("s1", 25.0, 20.0, 65536)
    assert packet[:1] == b"0"
    assert json.loads(packet[1:]) == {
        "sid": "s1",
        "upgrades": [],
        "pingInterval": 25000,
        "pingTimeout": 20000,
        "maxPayload": 65536,
    }


def test_open_packet_with_upgrades() -> None:
    """Handshake: "The list of available transport upgrades". Milliseconds are whole."""
    packet = json.loads(open_packet("s1", 0.3, 0.29, 1, ("websocket",))[1:])
    assert packet["upgrades"] == ["websocket"]
    assert (packet["pingInterval"], packet["pingTimeout"]) == (300, 290)


def test_packets_to_send() -> None:
    """Protocol: close is 1, ping is 2, message is 4, noop is 6; a probe is answered ``3probe``."""
    assert (CLOSE_PACKET, PING_PACKET, MESSAGE_PREFIX, NOOP_PACKET) == (b"1", b"2", b"4", b"6")
    assert PROBE_ANSWER == b"3probe"


@pytest.mark.parametrize(("frame", "message"), [("4hello", "hello"), ("4", ""), ("44€", "4€")])
def test_text_message(frame: str, message: str) -> None:
    """Packet encoding, WebSocket: ``4hello`` is the message ``hello``."""
    assert opened().receive(frame) == message


def test_binary_message() -> None:
    """Packet encoding: "Binary payloads are sent as is, without modification"."""
    assert opened().receive(b"\x04\x01\x02") == b"\x04\x01\x02"


def test_base64_message() -> None:
    """A stock client with ``forceBase64`` sends ``b`` and base64 over a WebSocket too."""
    assert opened().receive("bAQIDBA==") == b"\x01\x02\x03\x04"


@pytest.mark.parametrize("frame", ["bAQ", "b*", "bé", "b "])
def test_broken_base64(frame: str) -> None:
    """Base64 that is none is no packet."""
    with pytest.raises(MalformedPacket, match="not base64"):
        opened().receive(frame)


@pytest.mark.parametrize(("frame", "signal"), [("1", Signal.CLOSE), ("3", Signal.PONG)])
def test_signal(frame: str, signal: Signal) -> None:
    """Test-suite: "should forcefully close the session", "should send ping/pong packets"."""
    assert opened().receive(frame) is signal


@pytest.mark.parametrize("frame", ["", "abc", "7", "9", "-1", " 4", "٤", "\ud800"])
def test_unknown_type(frame: str) -> None:
    """Test-suite: "closes the session upon invalid packet format"."""
    with pytest.raises(MalformedPacket, match=r"unknown Engine\.IO packet type"):
        opened().receive(frame)


@pytest.mark.parametrize("frame", ["2", "2probe"])
def test_ping_from_a_client(frame: str) -> None:
    """Heartbeat: the server pings. A probe belongs to an upgrade, which this connection is not in."""
    assert violation(opened(), frame) == (CloseReason.MALFORMED, "heartbeat in the wrong direction")


@pytest.mark.parametrize("revision", Revision)
@pytest.mark.parametrize("frame", ["0", '0{"sid":"x"}', "5", "6"])
def test_handshake_packet_on_an_open_connection(frame: str, revision: Revision) -> None:
    """Open, upgrade and noop belong to handshake and upgrade, and neither is going on."""
    assert violation(opened(revision=revision), frame) == (
        CloseReason.MALFORMED,
        "handshake packet on an open connection",
    )


def test_first_ping_after_the_interval() -> None:
    """Section 10: "ping 25 s"."""
    engine = opened(at=100.0)
    assert engine.next_deadline() == 125.0
    assert engine.due(124.9) is None
    assert engine.due(125.0) is Beat.PING


def test_answered_ping_is_followed_by_another() -> None:
    """Heartbeat: a pong in time keeps the connection, and the next ping follows the last by the interval."""
    engine = opened()
    engine.due(25.0)
    engine.receive("3")
    assert engine.next_deadline() == 50.0
    assert engine.due(45.0) is None
    assert engine.due(50.0) is Beat.PING


def test_unanswered_ping_times_out() -> None:
    """Section 10: "timeout 20 s"."""
    engine = opened()
    engine.due(25.0)
    assert engine.next_deadline() == 45.0
    assert engine.due(44.9) is None
    assert engine.due(45.0) is Beat.TIMEOUT


def test_timeout_counts_from_the_ping_that_was_sent() -> None:
    """A timer that fires late shortens nobody's time to answer."""
    engine = opened()
    assert engine.due(33.0) is Beat.PING
    assert engine.due(52.9) is None
    assert engine.due(53.0) is Beat.TIMEOUT


def test_messages_are_no_pong() -> None:
    """Heartbeat: "If the server does not receive a pong packet back" - only a pong is an answer."""
    engine = opened()
    engine.due(25.0)
    engine.receive("4hello")
    engine.receive(b"hello")
    assert engine.due(45.0) is Beat.TIMEOUT


def test_pong_flood() -> None:
    """Pongs that nobody asked for change nothing and are not kept."""
    engine = opened()
    for _ in range(1000):
        assert engine.receive("3") is Signal.PONG
    assert engine.next_deadline() == 25.0
    assert not hasattr(engine, "__dict__")


@pytest.mark.parametrize(
    ("packet", "message"),
    [("4hello", "hello"), ("4", ""), (b"\x04\x01\x02", b"\x01\x02"), (b"\x04", b""), ("b4AQI=", b"\x01\x02")],
)
def test_message_of_version_3(packet: str | bytes, message: str | bytes) -> None:
    """Version 3, "Encoding": binary has its type before it too, as a byte or behind the ``b`` of base64."""
    assert opened(revision=Revision.V3).receive(packet) == message


@pytest.mark.parametrize("packet", [b"", b"\x02", b"4hello", b"\x00", b"\xff", "b", "b2AQI=", "bAQI="])
def test_binary_of_version_3_that_is_no_message(packet: str | bytes) -> None:
    """Nothing but a message is sent in binary."""
    assert violation(opened(revision=Revision.V3), packet)[1] == "binary packet that is no message"


@pytest.mark.parametrize("packet", ["b4AQ", "b4*", "b4é"])
def test_broken_base64_of_version_3(packet: str) -> None:
    """Base64 that is none is no packet in version 3 either."""
    assert violation(opened(revision=Revision.V3), packet)[1] == "not base64"


@pytest.mark.parametrize("data", ["", "probe", "x" * 125])
def test_ping_of_version_3(data: str) -> None:
    """Version 3, "ping": "Sent by the client. Server should answer with a pong packet containing the same data"."""
    engine = opened(revision=Revision.V3)
    said = engine.receive("2" + data)
    assert said == Ping(data)
    assert engine.answer(Ping(data), 1.0) == b"3" + data.encode()


@pytest.mark.parametrize("data", ["x" * 126, "é", "\ud800"])
def test_ping_with_too_much_data(data: str) -> None:
    """What is sent back to the client is bounded."""
    assert violation(opened(revision=Revision.V3), "2" + data)[1] == "ping with too much data"


def test_pong_from_a_client_of_version_3() -> None:
    """Version 3: the client pings; the stock server calls its pong an "invalid heartbeat direction"."""
    assert violation(opened(revision=Revision.V3), "3") == (
        CloseReason.MALFORMED,
        "heartbeat in the wrong direction",
    )


def test_silence_of_version_3() -> None:
    """The stock server ends a client after interval and timeout without a ping, and never pings it."""
    engine = opened(at=100.0, revision=Revision.V3)
    assert engine.due(144.9) is None
    assert engine.next_deadline() == 145.0
    engine.answer(Ping(""), 140.0)
    assert engine.next_deadline() == 185.0
    assert engine.due(184.9) is None
    assert engine.due(185.0) is Beat.TIMEOUT


def test_messages_of_version_3_are_no_ping() -> None:
    """Only a ping moves the deadline; closing is possible at any time."""
    engine = opened(revision=Revision.V3)
    engine.receive("4hello")
    assert engine.receive("1") is Signal.CLOSE
    assert engine.due(45.0) is Beat.TIMEOUT


def test_probe() -> None:
    """Upgrade: the client sends ``2probe``, gets ``3probe``, and sends ``5``."""
    probe = Probe()
    assert probe.receive("2probe") is Signal.PROBE
    assert probe.receive("5") is Signal.UPGRADE


@pytest.mark.parametrize("packet", ["", "2", "2probe2", "5", "4hello", "3probe", "1", b"2probe", b"5", b""])
def test_no_probe(packet: str | bytes) -> None:
    """Upgrade: anything but a probe ends the attempt; the stock server closes that WebSocket alone."""
    assert violation(Probe(), packet) == (CloseReason.MALFORMED, "not the upgrade's next packet")


@pytest.mark.parametrize("packet", ["2probe", "4hello", "6", "5x", b"5"])
def test_no_upgrade(packet: str | bytes) -> None:
    """After the probe comes the upgrade."""
    probe = Probe()
    probe.receive("2probe")
    assert violation(probe, packet)[0] is CloseReason.MALFORMED


@pytest.mark.parametrize("packet", ["5", "2probe", "4hello"])
def test_after_the_upgrade(packet: str) -> None:
    """An upgrade happens once; what follows is the connection's."""
    probe = Probe()
    probe.receive("2probe")
    probe.receive("5")
    assert violation(probe, packet)[0] is CloseReason.MALFORMED
    assert not hasattr(probe, "__dict__")


@given(
    st.text() | st.binary() | st.from_regex(r"\A[0-9b].*\Z") | st.sampled_from(["2probe", "5"]),
    st.sampled_from([opened, lambda: opened(revision=Revision.V3), Probe]),
)
def test_any_frame_is_read_or_refused(frame: str | bytes, receiver: Callable[[], Engine | Probe]) -> None:
    """Whatever a client sends, ``receive`` answers or raises a violation, nothing else."""
    try:
        said = receiver().receive(frame)
    except ProtocolViolation:
        return
    assert isinstance(said, str | bytes | Signal | Ping)
    assert not isinstance(said, str | bytes) or len(said) <= len(frame)


@given(st.sampled_from(Revision), st.lists(st.tuples(st.floats(0.01, 60.0), st.booleans())))
def test_deadline_is_the_moment_something_is_due(revision: Revision, steps: list[tuple[float, bool]]) -> None:
    """Before ``next_deadline`` nothing is due, from it on something is; a heartbeat moves it into the future."""
    engine, now = opened(revision=revision), 0.0
    for passed, beats in steps:
        now += passed
        late = now >= engine.next_deadline()
        beat = engine.due(now)
        assert late is (beat is not None)
        if beat is Beat.TIMEOUT:
            return
        assert engine.next_deadline() > now
        if beats and revision is Revision.V4:
            engine.receive("3")
        elif beats:
            engine.answer(Ping(""), now)
            assert engine.next_deadline() == now + 45.0
