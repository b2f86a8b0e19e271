"""Engine.IO over one WebSocket against the protocol document (version 4)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.domain.errors import CloseReason
from tidings.transports.socketio.engine import (
    CLOSE_PACKET,
    MESSAGE_PREFIX,
    PING_PACKET,
    Beat,
    Engine,
    Signal,
    open_packet,
)
from tidings.transports.socketio.packet import MalformedPacket, ProtocolViolation


def opened(at: float = 0.0) -> Engine:
    return Engine(at, ping_interval=25.0, ping_timeout=20.0)


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
    """Protocol: close is 1, ping is 2, message is 4."""
    assert (CLOSE_PACKET, PING_PACKET, MESSAGE_PREFIX) == (b"1", b"2", b"4")


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
    with pytest.raises(ProtocolViolation, match="ping from a client") as caught:
        opened().receive(frame)
    assert caught.value.reason is CloseReason.MALFORMED


@pytest.mark.parametrize("frame", ["0", '0{"sid":"x"}', "5", "6"])
def test_handshake_packet_on_an_open_connection(frame: str) -> None:
    """Open, upgrade and noop belong to handshake and upgrade, and neither is going on."""
    with pytest.raises(ProtocolViolation, match="handshake packet") as caught:
        opened().receive(frame)
    assert caught.value.reason is CloseReason.MALFORMED


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


@given(st.text() | st.binary() | st.from_regex(r"\A[0-9b].*\Z"))
def test_any_frame_is_read_or_refused(frame: str | bytes) -> None:
    """Whatever a client sends, ``receive`` answers or raises a violation, nothing else."""
    try:
        said = opened().receive(frame)
    except ProtocolViolation:
        return
    assert isinstance(said, str | bytes | Signal)


@given(st.lists(st.tuples(st.floats(0.01, 60.0), st.booleans())))
def test_deadline_is_the_moment_something_is_due(steps: list[tuple[float, bool]]) -> None:
    """Before ``next_deadline`` nothing is due, from it on something is; a ping moves it into the future."""
    engine, now = opened(), 0.0
    for passed, answers in steps:
        now += passed
        late = now >= engine.next_deadline()
        beat = engine.due(now)
        assert late is (beat is not None)
        if beat is Beat.TIMEOUT:
            return
        assert engine.next_deadline() > now
        if answers:
            engine.receive("3")
