"""What Socket.IO clients are sent, byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from tidings.domain.channel import user_channel
from tidings.domain.event import Event, EventClass, Published
from tidings.domain.people import TenantId, UserId
from tidings.domain.position import Position
from tidings.transports.socketio.engine import Revision
from tidings.transports.socketio.format import POLLING, WEBSOCKET, Framing, event_format, reframe


@given(st.binary(max_size=300))
def test_a_frame_is_what_the_library_would_write(packet: bytes) -> None:
    """RFC 6455, section 5.2: a whole, unmasked text frame."""
    framing = WEBSOCKET[Revision.V4]
    assert framing.text(packet) == Frame(Opcode.TEXT, packet).serialize(mask=False)
    assert framing.binary(packet) == Frame(Opcode.BINARY, packet).serialize(mask=False)


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 200_000])
def test_each_form_of_the_length(size: int) -> None:
    """RFC 6455, section 5.2: 7, 16 or 64 bits, the shortest that holds it."""
    packet = b"x" * size
    assert WEBSOCKET[Revision.V4].text(packet) == Frame(Opcode.TEXT, packet).serialize(mask=False)


def test_an_event_carries_its_cursor_as_last_argument() -> None:
    """Contract, section 4: "each event ends with its position"."""
    channel = user_channel(TenantId("t"), UserId("u"))
    published = Published(channel, Position("e", 7), 3, Event("x", b'{"a":1}', EventClass.INBOX), 0.0)
    expected = b'42/notifications,["x",{"a":1},"e.7.g.0"]'
    framings: list[Framing] = [*WEBSOCKET.values(), *POLLING.values()]
    for framing in framings:
        assert event_format("/notifications", framing).encode(published, "e.7.g.0") == framing.text(expected)


def test_binary_messages_of_socket_io_2_say_that_they_are_messages() -> None:
    """Engine.IO 3 over WebSocket: the first byte of a binary frame is the packet's type."""
    assert WEBSOCKET[Revision.V3].binary(b"data") == b"\x82\x05\x04data"


@pytest.mark.parametrize("revision", list(Revision))
def test_what_was_to_be_polled_can_go_by_websocket(revision: Revision) -> None:
    """An upgrade takes along what waits: the same packets in the other carrier's bytes."""
    polling, websocket = POLLING[revision], WEBSOCKET[revision]
    waiting = polling.text("4ü🦔".encode()) + polling.binary(b"\x00\x01") + polling.text(b"6")
    expected = websocket.text("4ü🦔".encode()) + websocket.binary(b"\x00\x01") + websocket.text(b"6")
    assert reframe(waiting, polling, websocket) == expected


def test_sessions_of_one_kind_share_one_format() -> None:
    """What is written to alike is encoded once."""
    assert event_format("/a", WEBSOCKET[Revision.V4]) is event_format("/a", WEBSOCKET[Revision.V4])
    assert event_format("/a", WEBSOCKET[Revision.V4]) is not event_format("/a", POLLING[Revision.V4])
