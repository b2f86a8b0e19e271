"""The frame that is read without the library: it is what the library would have read, or none."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol

from tidings.transports.socketio.frame import whole_texts

LIMIT = 70_000
MASK = b"\x0f\xf0\x33\xcc"


def by_library(data: bytes) -> list[str] | None:
    """What ``websockets`` makes of it, if that is whole messages in text, and it has nothing to say to them."""
    library = Protocol(SERVER, max_size=LIMIT)
    library.receive_data(data)
    events = library.events_received()
    if library.data_to_send() or library.parser_exc is not None:
        return None
    frames = [event for event in events if isinstance(event, Frame)]
    if not all(frame.opcode is Opcode.TEXT and frame.fin for frame in frames):
        return None
    try:
        return [bytes(frame.data).decode() for frame in frames]
    except UnicodeDecodeError:
        return None


def text_frame(text: str) -> bytes:
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=True)


@given(st.text())
@example("x" * 125)
@example("x" * 126)
@example("x" * 127)
@example("x" * 65_535)
def test_reads_a_whole_message(text: str) -> None:
    """RFC 6455, section 5.2: FIN, opcode 1, masked, with a length in 7 or 16 bits."""
    assert whole_texts(text_frame(text), LIMIT) == [text]


@given(st.lists(st.text(), max_size=5))
def test_reads_several(texts: list[str]) -> None:
    """What is sent in one turn comes in one piece."""
    assert whole_texts(b"".join(map(text_frame, texts)), LIMIT) == texts


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"\x81\x83", b"\x81\xfe\x00", b"\x81\xff", b"\x81\x03"])
)
def test_reads_nothing_that_the_library_would_not(rest: bytes, head: bytes) -> None:
    """Whatever comes, a text that is read here is the very text that the library reads."""
    data = head + rest
    texts = whole_texts(data, LIMIT)
    assert texts is None or texts == by_library(data)


@pytest.mark.parametrize("size", [0, 1, 5, 125, 126, 400])
def test_reads_no_part(size: int) -> None:
    """With half a frame, what stands before it is the library's as well."""
    data = text_frame("x" * size)
    assert all(whole_texts(data[:end], LIMIT) is None for end in range(1, len(data)))
    assert all(whole_texts(data + data[:end], LIMIT) is None for end in range(1, len(data)))


@pytest.mark.parametrize(
    "data",
    [
        Frame(Opcode.TEXT, b"hello").serialize(mask=False),
        Frame(Opcode.BINARY, b"hello").serialize(mask=True),
        Frame(Opcode.PING, b"hello").serialize(mask=True),
        Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True),
        Frame(Opcode.CONT, b"hello").serialize(mask=True),
        Frame(Opcode.TEXT, b"hello", fin=False).serialize(mask=True),
        b"\xc1\x85" + MASK + b"hello",
        Frame(Opcode.TEXT, b"\xff").serialize(mask=True),
        Frame(Opcode.TEXT, b"x" * 65_536).serialize(mask=True),
        b"\x81\xfe\x00\x05" + MASK + b"hello",
        b"\x81\xff" + MASK + b"x" * 127,
    ],
    ids=[
        *("unmasked", "binary", "ping", "close", "continuation", "fragment", "rsv", "no-utf-8"),
        *("64-bits", "longer-than-need-be", "length-127"),
    ],
)
def test_leaves_all_else_to_the_library(data: bytes) -> None:
    """Other frames mean something else, or are faults that the library has a close code for."""
    assert whole_texts(data, LIMIT) is None
    assert whole_texts(text_frame("before") + data, LIMIT) is None


def test_leaves_what_is_too_large_to_the_library() -> None:
    """Contract, section 4: "an oversize message (1009) closes the connection"."""
    data = Frame(Opcode.TEXT, b"x" * 126).serialize(mask=True)
    assert whole_texts(data, 126) == ["x" * 126]
    assert whole_texts(data, 125) is None
