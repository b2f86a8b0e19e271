"""The WebSocket protocol (RFC 6455), case by case as the Autobahn testsuite orders them.

Against ``tests/conformance/websocket_echo.py``: the framing of the product under an application that echoes.
Performance (Autobahn 9) is only touched for its sizes; compression (12, 13) is never agreed to.
"""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.support.conformance import conforming
from tests.support.http_wire import http_connection
from tests.support.raw_websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Heard,
    RawWebSocket,
    close,
    frame,
    raw_websocket,
)

MAX_MESSAGE = 16 * 2**20
SIZES = [0, 1, 125, 126, 127, 128, 65_535, 65_536, 2**20]
KINDS = pytest.mark.parametrize("kind", [TEXT, BINARY])

VALID_TEXTS = [
    "κόσμε",
    "\x00\x7f\x80\u07ff\u0800\uffff\U00010000\U0010ffff",
    "\ufeff\ufffe\uffff\ufdd0",
    "🦔" * 1000,
]
INVALID_TEXTS = [
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64",
    b"\xce\xba\xf4\x90\x80\x80",
    b"\x80",
    b"\xbf\xbf",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xf8\x88\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xed\xbf\xbf",
    b"whole until its end \xe2\x82",
]
GOOD_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]
BAD_CODES = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with conforming("websocket_echo.py") as listening:
        yield listening


async def failed(socket: RawWebSocket, *codes: int | None) -> None:
    """The server says why, and once it is answered ends the connection (sections 7.1.5 to 7.1.7)."""
    last = await socket.hear()
    assert last.opcode == CLOSE
    assert last.code in codes
    with suppress(ConnectionError):
        await socket.send(frame(CLOSE, last.data))
    await socket.ended()


async def alive(socket: RawWebSocket) -> None:
    """A message still comes back."""
    await socket.send(frame(TEXT, b"alive"))
    assert await socket.message() == Heard(TEXT, b"alive")


def pieces(kind: int, data: bytes, size: int) -> list[bytes]:
    """A message in fragments of a size."""
    starts = range(0, len(data), size)
    return [
        frame(kind if start == 0 else CONTINUATION, data[start : start + size], fin=start + size >= len(data))
        for start in starts
    ]


# 1. Framing.


@KINDS
@pytest.mark.parametrize("size", SIZES)
async def test_messages(port: int, kind: int, size: int) -> None:
    """Section 5.2: a payload length of 7, 16 or 64 bits; the message comes back as it is."""
    data = b"*" * size if kind == TEXT else bytes(range(256)) * (size // 256) + b"\xfe" * (size % 256)
    async with raw_websocket(port) as socket:
        await socket.send(frame(kind, data))
        assert await socket.message() == Heard(kind, data)


async def test_many_frames_at_once(port: int) -> None:
    """Frames do not care for how TCP cuts them: many in one piece."""
    async with raw_websocket(port) as socket:
        await socket.send(*(frame(TEXT, str(number).encode()) for number in range(1000)))
        for number in range(1000):
            assert await socket.message() == Heard(TEXT, str(number).encode())


@pytest.mark.parametrize("size", [10, 126, 70_000])
async def test_frames_in_chops(port: int, size: int) -> None:
    """Frames do not care for how TCP cuts them: one in many pieces, header included."""
    data = b"x" * size
    whole = frame(BINARY, data)
    async with raw_websocket(port) as socket:
        for start in range(16):
            await socket.send(whole[start : start + 1])
        await socket.send(whole[16:])
        assert await socket.message() == Heard(BINARY, data)


async def test_frames_behind_the_handshake(port: int) -> None:
    """A client that does not wait for the handshake's answer is understood all the same."""
    async with raw_websocket(port, behind=frame(TEXT, b"early")) as socket:
        assert await socket.message() == Heard(TEXT, b"early")


async def test_nothing_is_agreed(port: int) -> None:
    """Sections 4.2.2 and 9: no extension and no subprotocol that the server did not choose to speak."""
    offers = ("Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: chat")
    async with raw_websocket(port, *offers) as socket:
        agreed = [line.lower() for line in socket.handshake]
        assert not [line for line in agreed if "extensions" in line or "protocol:" in line]
        await alive(socket)


async def test_plain_request(port: int) -> None:
    """Section 4.2.2: "426 Upgrade Required" or the like answers what is no opening handshake."""
    async with http_connection(port) as http:
        assert (await http.exchange("GET", "/")).status in {400, 404, 426}


# 2. Pings and pongs.


@pytest.mark.parametrize("data", [b"", b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125])
async def test_ping(port: int, data: bytes) -> None:
    """Section 5.5.3: a pong has "identical Application data as found in the message body of the Ping frame"."""
    async with raw_websocket(port) as socket:
        await socket.send(frame(PING, data))
        assert await socket.hear() == Heard(PONG, data)
        await alive(socket)


async def test_many_pings(port: int) -> None:
    """Section 5.5.3: each of them is answered, in order, as long as they come one by one."""
    async with raw_websocket(port) as socket:
        for number in range(10):
            await socket.send(frame(PING, b"payload-%d" % number))
            assert await socket.hear() == Heard(PONG, b"payload-%d" % number)


async def test_pong_nobody_asked_for(port: int) -> None:
    """Section 5.5.3: "a response to an unsolicited Pong frame is not expected"."""
    async with raw_websocket(port) as socket:
        await socket.send(frame(PONG), frame(PONG, b"unasked"))
        await alive(socket)


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
async def test_large_control_frames(port: int, opcode: int) -> None:
    """Section 5.5: control frames "MUST have a payload length of 125 bytes or less"."""
    async with raw_websocket(port) as socket:
        await socket.send(frame(opcode, b"\x03\xe8" + b"x" * 124))
        await failed(socket, 1002)


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
async def test_control_frames_in_fragments(port: int, opcode: int) -> None:
    """Section 5.5: control frames "MUST NOT be fragmented"."""
    async with raw_websocket(port) as socket:
        await socket.send(frame(opcode, b"", fin=False))
        await failed(socket, 1002)


# 3 and 4. Reserved bits and opcodes; masking.


@pytest.mark.parametrize("reserved", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
async def test_reserved_bits(port: int, opcode: int, reserved: int) -> None:
    """Section 5.2: with no extension agreed, a nonzero reserved bit fails the connection."""
    async with raw_websocket(port) as socket:
        await socket.send(frame(TEXT, b"first"), frame(opcode, b"", reserved=reserved))
        assert await socket.message() == Heard(TEXT, b"first")
        await failed(socket, 1002)


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("data", [b"", b"reserved"])
async def test_reserved_opcodes(port: int, opcode: int, data: bytes) -> None:
    """Section 5.2: "if an unknown opcode is received, the receiving endpoint MUST fail the connection"."""
    async with raw_websocket(port) as socket:
        await socket.send(frame(opcode, data))
        await failed(socket, 1002)


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING])
async def test_frames_without_a_mask(port: int, opcode: int) -> None:
    """Section 5.1: "the server MUST close the connection upon receiving a frame that is not masked"."""
    async with raw_websocket(port) as socket:
        await socket.send(frame(opcode, b"bare", masked=False))
        await failed(socket, 1002)


# 5. Fragmentation.


@KINDS
@pytest.mark.parametrize("size", [1, 2, 64])
async def test_fragments(port: int, kind: int, size: int) -> None:
    """Section 5.4: a message in fragments is one message."""
    data = b"a message in many pieces " * 8
    async with raw_websocket(port) as socket:
        await socket.send(*pieces(kind, data, size))
        assert await socket.message() == Heard(kind, data)
        await socket.send(
            frame(kind, b"", fin=False), frame(CONTINUATION, b"", fin=False), frame(CONTINUATION)
        )
        assert await socket.message() == Heard(kind, b"")


async def test_control_frames_between_fragments(port: int) -> None:
    """Section 5.4: control frames "MAY be injected in the middle of a fragmented message", and are answered there."""
    async with raw_websocket(port) as socket:
        await socket.send(frame(TEXT, b"one,", fin=False), frame(PING, b"1"))
        assert await socket.hear() == Heard(PONG, b"1")
        await socket.send(frame(CONTINUATION, b"two,", fin=False), frame(PING, b"2"), frame(PONG, b"3"))
        assert await socket.hear() == Heard(PONG, b"2")
        await socket.send(frame(CONTINUATION, b"three"))
        assert await socket.message() == Heard(TEXT, b"one,two,three")


@pytest.mark.parametrize("fin", [True, False])
async def test_continuation_of_nothing(port: int, *, fin: bool) -> None:
    """Section 5.4: a continuation frame continues a message that has begun."""
    async with raw_websocket(port) as socket:
        await socket.send(frame(TEXT, b"whole"), frame(CONTINUATION, b"of what?", fin=fin))
        assert await socket.message() == Heard(TEXT, b"whole")
        await failed(socket, 1002)


@KINDS
async def test_message_within_a_message(port: int, kind: int) -> None:
    """Section 5.4: "the fragments of one message MUST NOT be interleaved between the fragments of another"."""
    async with raw_websocket(port) as socket:
        await socket.send(frame(TEXT, b"one", fin=False), frame(kind, b"another"))
        await failed(socket, 1002)


# 6. UTF-8.


@pytest.mark.parametrize("text", VALID_TEXTS)
@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_valid_text(port: int, text: str, size: int) -> None:
    """Section 5.6: text is UTF-8, and a fragment may end within a character."""
    data = text.encode()
    async with raw_websocket(port) as socket:
        await socket.send(*pieces(TEXT, data, size))
        assert await socket.message() == Heard(TEXT, data)


@pytest.mark.parametrize("data", INVALID_TEXTS)
@pytest.mark.parametrize("size", [1, 1000])
async def test_invalid_text(port: int, data: bytes, size: int) -> None:
    """Section 8.1: "MUST _Fail the WebSocket Connection_" on what is no UTF-8, whole or in fragments: 1007."""
    async with raw_websocket(port) as socket:
        await socket.send(*pieces(TEXT, data, size))
        await failed(socket, 1007)


async def test_binary_need_not_be_text(port: int) -> None:
    """Section 5.6: binary data is arbitrary."""
    async with raw_websocket(port) as socket:
        await socket.send(*pieces(BINARY, b"".join(INVALID_TEXTS), 7))
        assert await socket.message() == Heard(BINARY, b"".join(INVALID_TEXTS))


# 7. Close.


@pytest.mark.parametrize("code", GOOD_CODES)
async def test_close_codes(port: int, code: int) -> None:
    """Section 5.5.1: a close frame is answered with one; "typically echoes the status code"."""
    async with raw_websocket(port) as socket:
        await socket.send(close(code, "going 🦔"))
        await failed(socket, code)


@pytest.mark.parametrize("code", BAD_CODES)
async def test_invalid_close_codes(port: int, code: int) -> None:
    """Section 7.4: codes that must not be on the wire, or are nobody's, are protocol errors."""
    async with raw_websocket(port) as socket:
        await socket.send(close(code))
        await failed(socket, 1002)


async def test_close_without_a_code(port: int) -> None:
    """Section 5.5.1: the body of a close frame may be empty."""
    async with raw_websocket(port) as socket:
        await socket.send(frame(CLOSE))
        await failed(socket, None, 1000)


async def test_close_with_one_byte(port: int) -> None:
    """Section 5.5.1: "the first two bytes of the body MUST be a 2-byte unsigned integer"."""
    async with raw_websocket(port) as socket:
        await socket.send(frame(CLOSE, b"\x03"))
        await failed(socket, 1002)


async def test_longest_close_reason(port: int) -> None:
    """Section 5.5: 125 bytes in all, so a reason has 123."""
    async with raw_websocket(port) as socket:
        await socket.send(close(1000, "x" * 123))
        await failed(socket, 1000)


async def test_close_reason_that_is_no_text(port: int) -> None:
    """Section 5.5.1: the reason is "UTF-8-encoded data"."""
    async with raw_websocket(port) as socket:
        await socket.send(frame(CLOSE, b"\x03\xe8\xce\xba\xed\xa0\x80"))
        await failed(socket, 1002, 1007)


async def test_after_close(port: int) -> None:
    """Section 5.5.1: "the application MUST NOT send any more data frames after sending a Close frame": none is heard."""
    async with raw_websocket(port) as socket:
        await socket.send(frame(TEXT, b"last"), close(1000), frame(TEXT, b"late"), frame(PING), close(1001))
        assert await socket.message() == Heard(TEXT, b"last")
        await failed(socket, 1000)


# 9. Limits.


@KINDS
@pytest.mark.parametrize("size", [4 * 2**20, MAX_MESSAGE])
async def test_largest_messages(port: int, kind: int, size: int) -> None:
    """Autobahn 9.1 and 9.2: messages of 4 and 16 MiB come back."""
    data = b"*" * size
    async with raw_websocket(port) as socket:
        await socket.send(frame(kind, data))
        # Compared, not shown: a failure is not to print them.
        assert (await socket.message() == Heard(kind, data)) is True


@KINDS
@pytest.mark.parametrize(("size", "fragment"), [(2**18, 64), (2**22, 4096), (2**22, 2**20)])
async def test_large_messages_in_fragments(port: int, kind: int, size: int, fragment: int) -> None:
    """Autobahn 9.3 and 9.4: large messages in fragments of any size come back whole."""
    data = b"*" * size
    async with raw_websocket(port) as socket:
        await socket.send(*pieces(kind, data, fragment))
        assert (await socket.message() == Heard(kind, data)) is True


@pytest.mark.parametrize("fragments", [1, 17])
async def test_too_large_messages(port: int, fragments: int) -> None:
    """Section 7.4.1: 1009, "a message that is too big for it to process", as soon as that can be known."""
    size = MAX_MESSAGE + fragments
    async with raw_websocket(port) as socket:
        if fragments == 1:
            # The header tells: not one byte of the message has to be sent.
            await socket.send(frame(BINARY, bytes(size))[:14])
        else:
            await socket.send(*pieces(BINARY, bytes(size), size // fragments))
        last = await socket.hear()
        assert (last.opcode, last.code) == (CLOSE, 1009)


async def test_impossible_length(port: int) -> None:
    """Section 5.2: of a length in 64 bits "the most significant bit MUST be 0"."""
    async with raw_websocket(port) as socket:
        await socket.send(b"\x82\xff" + b"\xff" * 8 + bytes(4))
        last = await socket.hear()
        assert last.opcode == CLOSE
        assert last.code in {1002, 1009}
