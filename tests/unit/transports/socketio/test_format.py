"""What Socket.IO clients are sent, byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from tidings.domain.channel import user_channel
from tidings.domain.event import Event, EventClass, Published
from tidings.domain.people import TenantId, UserId
from tidings.domain.position import Position
from tidings.transports.socketio.format import WebSocketFormat, text_frame


@given(st.binary(max_size=300))
def test_a_frame_is_what_the_library_would_write(packet: bytes) -> None:
    """RFC 6455, section 5.2: a whole, unmasked text frame."""
    assert text_frame(packet) == Frame(Opcode.TEXT, packet).serialize(mask=False)


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 200_000])
def test_each_form_of_the_length(size: int) -> None:
    """RFC 6455, section 5.2: 7, 16 or 64 bits, the shortest that holds it."""
    packet = b"x" * size
    assert text_frame(packet) == Frame(Opcode.TEXT, packet).serialize(mask=False)


def test_an_event_carries_its_cursor_as_last_argument() -> None:
    """Contract, section 4: "each event ends with its position"."""
    channel = user_channel(TenantId("t"), UserId("u"))
    published = Published(channel, Position("e", 7), 3, Event("x", b'{"a":1}', EventClass.INBOX), 0.0)
    frame = WebSocketFormat("/notifications").encode(published, "e.7.g.0")
    assert frame == text_frame(b'42/notifications,["x",{"a":1},"e.7.g.0"]')
