"""The closing handshake of WebSockets (RFC 6455), case by case as the Autobahn testsuite orders them (7).

Against ``tests/conformance/websocket_echo.py``, as the rest of the protocol beside it.
"""

from collections.abc import Iterator

import pytest

from tests.support.conformance import conforming
from tests.support.raw_websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Heard,
    close,
    failed,
    frame,
    raw_websocket,
)

GOOD_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]
BAD_CODES = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with conforming("websocket_echo.py") as listening:
        yield listening


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


@pytest.mark.parametrize("late", [CONTINUATION, PING, CLOSE])
async def test_close_between_fragments(port: int, late: int) -> None:
    """Sections 5.4 and 5.5.1: a close frame may come amid a message too; it is answered, what had come is dropped."""
    async with raw_websocket(port) as socket:
        await socket.send(
            frame(TEXT, b"begun", fin=False), frame(PING, b"1"), close(1000, "enough"), frame(late)
        )
        assert await socket.hear() == Heard(PONG, b"1")
        last = await socket.hear()
        assert (last.opcode, last.code, last.data[2:]) == (CLOSE, 1000, b"enough")
        await socket.ended()


@pytest.mark.parametrize(
    ("said", "answers"),
    [
        (b"", {None, 1000}),
        (b"\x13\x87", {4999}),
        (b"\x03\xee", {1002}),
        (b"\x03", {1002}),
        (b"\x03\xe8\xff", {1002, 1007}),
    ],
)
async def test_codes_between_fragments(port: int, said: bytes, answers: set[int | None]) -> None:
    """Section 7.4: which codes are good does not depend on where the frame comes."""
    async with raw_websocket(port) as socket:
        await socket.send(frame(BINARY, b"begun", fin=False), frame(CLOSE, said))
        await failed(socket, *answers)


async def test_close_behind_a_large_message(port: int) -> None:
    """Autobahn 7.1.6: all of a message is answered that came before the close frame."""
    data = b"*" * 2**18
    async with raw_websocket(port) as socket:
        await socket.send(frame(TEXT, data), close(1000), frame(PING))
        assert (await socket.message() == Heard(TEXT, data)) is True
        await failed(socket, 1000)
