"""The WebSocket protocol (RFC 6455), case by case as the Autobahn testsuite orders them.

Against ``tests/conformance/websocket_echo.py``: the framing of the product under an application that echoes.
Its closing handshake (7) has a file of its own. Performance (9) is only touched for its sizes; compression
(12, 13) is never agreed to.
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
    alive,
    chopped,
    failed,
    frame,
    pieces,
    raw_websocket,
)

MAX_MESSAGE = 16 * 2**20
SIZES = [0, 1, 125, 126, 127, 128, 65_535, 65_536, 2**20]
KINDS = pytest.mark.parametrize("kind", [TEXT, BINARY])

VALID_TEXTS = [
    "κόσμε",
    "\x00\x7f\x80\u07ff\u0800\uffff\U00010000\U0010ffff",
    "\ufeff\ufffe\uffff\ufdd0",
    "\ud7ff\ue000\ufffd\U0010fffe\U0001fffe\U0001ffff",
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
    b"\xc0\x80",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xed\xa0\x80",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xf7\xbf\xbf\xbf",
    b"\xfb\xbf\xbf\xbf\xbf",
    b"\xfd\xbf\xbf\xbf\xbf\xbf",
    b"\xfe\xfe\xff\xff",
]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with conforming("websocket_echo.py") as listening:
        yield listening


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
        await chopped(socket, whole)
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


async def test_ping_in_chops(port: int) -> None:
    """A ping does not care either for how TCP cuts it."""
    whole = frame(PING, b"\xfe" * 125)
    async with raw_websocket(port) as socket:
        await chopped(socket, whole)
        assert await socket.hear() == Heard(PONG, b"\xfe" * 125)


async def test_pings_at_once(port: int) -> None:
    """Section 5.5.3: many that come in one piece, a pong that nobody asked for among them, are answered in order."""
    async with raw_websocket(port) as socket:
        await socket.send(frame(PONG, b"unasked"), *(frame(PING, b"%d" % number) for number in range(10)))
        for number in range(10):
            assert await socket.hear() == Heard(PONG, b"%d" % number)
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


@pytest.mark.parametrize(("opcode", "reserved"), [(TEXT, 4), (5, 0), (13, 0)])
async def test_bad_frames_in_chops(port: int, opcode: int, reserved: int) -> None:
    """What is wrong in pieces is as wrong, and what follows it is not heard."""
    async with raw_websocket(port) as socket:
        await socket.send(frame(TEXT, b"first"))
        assert await socket.message() == Heard(TEXT, b"first")
        with suppress(ConnectionError):
            await chopped(socket, frame(opcode, b"no", reserved=reserved) + frame(PING, b"late"))
        last = await socket.hear()
        assert (last.opcode, last.code) == (CLOSE, 1002)


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


@pytest.mark.parametrize("fin", [True, False])
async def test_continuation_behind_a_message(port: int, *, fin: bool) -> None:
    """Section 5.4: once its last fragment has come, a message is over, and the next begins with an opcode."""
    async with raw_websocket(port) as socket:
        await socket.send(
            *pieces(TEXT, b"one two", 4), frame(CONTINUATION, b"more", fin=fin), frame(TEXT, b"x")
        )
        assert await socket.message() == Heard(TEXT, b"one two")
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


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("κόσμε".encode(), b"\xf4\x90\x80\x80"),
        ("κόσμε".encode(), b"\xf4\x90"),
        (b"cut within a character \xe2\x82", b"!"),
    ],
)
async def test_invalid_fragment(port: int, good: bytes, bad: bytes) -> None:
    """Section 8.1: a fragment that leaves no way to UTF-8 fails the connection at once, not the message's end."""
    async with raw_websocket(port) as socket:
        await socket.send(frame(TEXT, good, fin=False), frame(PING, b"so far"))
        assert await socket.hear() == Heard(PONG, b"so far")
        await socket.send(frame(CONTINUATION, bad, fin=False))
        await failed(socket, 1007)


async def test_binary_need_not_be_text(port: int) -> None:
    """Section 5.6: binary data is arbitrary."""
    async with raw_websocket(port) as socket:
        await socket.send(*pieces(BINARY, b"".join(INVALID_TEXTS), 7))
        assert await socket.message() == Heard(BINARY, b"".join(INVALID_TEXTS))


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
@pytest.mark.parametrize(("size", "fragment"), [(2**16, 1300), (2**18, 64), (2**22, 4096), (2**22, 2**20)])
async def test_large_messages_in_fragments(port: int, kind: int, size: int, fragment: int) -> None:
    """Autobahn 9.3, 9.4 and 10.1: large messages in fragments of any size come back whole."""
    data = b"*" * size
    async with raw_websocket(port) as socket:
        await socket.send(*pieces(kind, data, fragment))
        assert (await socket.message() == Heard(kind, data)) is True


@KINDS
async def test_large_messages_in_chops(port: int, kind: int) -> None:
    """Autobahn 9.5 and 9.6: a message of 1 MiB that comes in small pieces of TCP."""
    data = b"*" * 2**20
    whole = frame(kind, data)
    async with raw_websocket(port) as socket:
        for start in range(0, len(whole), 2048):
            await socket.send(whole[start : start + 2048])
        assert (await socket.message() == Heard(kind, data)) is True


@KINDS
@pytest.mark.parametrize("size", [0, 16, 4096])
async def test_round_trips(port: int, kind: int, size: int) -> None:
    """Autobahn 9.7 and 9.8: many messages, each sent when the one before has come back."""
    data = b"*" * size
    async with raw_websocket(port) as socket:
        for _ in range(100):
            await socket.send(frame(kind, data))
            assert await socket.message() == Heard(kind, data)


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
