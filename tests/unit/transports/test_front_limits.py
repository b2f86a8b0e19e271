"""What a connection may cost before the mount decides: bytes and seconds, at both of its ends."""

import asyncio
import json
import time
from types import SimpleNamespace

import pytest

from tests.support.front_rig import LIMITS, MAX_BODY, Line, chunked, get, post, request, rigged, until
from tidings.transports import front
from tidings.transports.site import Limits


async def problem(line: Line) -> tuple[int, str]:
    """The next response, which is a problem after which the connection ends."""
    status, headers, body = await line.answer()
    said = json.loads(body)
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert said["status"] == status
    assert await line.ended() == b""
    return status, said["code"]


@pytest.mark.parametrize("pieces", [1, 7])
async def test_largest_head(pieces: int) -> None:
    """ "The header block counts the request line": 431 for one byte more, finished or not."""
    fill = LIMITS.header_bytes - len(get("/desk/", "X-Fill: "))
    for size, finished in ((fill, True), (fill + 1, True), (5000, False)):
        async with rigged() as rig, rig.line() as line:
            head = get("/desk/", "X-Fill: " + "x" * size)
            for start in range(0, len(head), -(-len(head) // pieces)):
                await line.say(head[start : start + -(-len(head) // pieces)][: None if finished else -4])
                await asyncio.sleep(0)
            if size == fill:
                assert await line.body() == b"GET /desk/ "
            else:
                assert await problem(line) == (431, "HEADERS_TOO_LARGE")


async def test_head_that_can_only_grow_too_large() -> None:
    """A head that is as large as allowed and not finished is not waited for."""
    async with rigged() as rig, rig.line() as line:
        await line.say(get("/desk/", "X-Fill: " + "x" * LIMITS.header_bytes)[: LIMITS.header_bytes])
        assert await problem(line) == (431, "HEADERS_TOO_LARGE")


async def test_largest_body() -> None:
    """A body as large as the mount takes is read, announced or in chunks."""
    async with rigged() as rig, rig.line() as line:
        body = b"x" * MAX_BODY
        await line.say(post("/desk/", body) + chunked("/desk/", body[:60], body[60:]))
        assert [await line.body() for _ in range(2)] == [b"POST /desk/ " + body] * 2


@pytest.mark.parametrize(
    "said",
    [
        request("POST", "/desk/", f"Content-Length: {MAX_BODY + 1}"),
        request("POST", "/desk/", f"Content-Length: {10**18}", "Expect: 100-continue"),
        request("POST", "/desk/", "Transfer-Encoding: chunked")
        + b"3c\r\n"
        + b"x" * 60
        + b"\r\n29\r\n"
        + b"x" * 41,
    ],
)
async def test_body_that_is_too_large(said: bytes) -> None:
    """ "``PAYLOAD_TOO_LARGE`` 413", before all of it was sent; whoever was to take it is told, and not twice."""
    async with rigged() as rig, rig.line() as line:
        await line.say(said)
        assert await problem(line) == (413, "PAYLOAD_TOO_LARGE")
        assert (rig.desk.oversize, rig.desk.lost) == (1, [])


async def test_silence() -> None:
    """ "A connection that sends nothing is closed after 10 s", at its beginning and between requests."""
    async with rigged() as rig, rig.line() as new, rig.line() as used:
        await used.say(get("/desk/"))
        await used.body()
        rig.pass_seconds(9)
        assert len(rig.connections) == 2
        rig.pass_seconds(11)
        assert await new.ended() == b""
        assert await used.ended() == b""


@pytest.mark.parametrize("begun", [b"G", b"GET /desk/ HTTP/1.1\r\nX-Slow: "])
async def test_slow_head(begun: bytes) -> None:
    """ "Handshake must finish in 10 s": a head that does not end is 408, at whatever byte it stops."""
    async with rigged() as rig, rig.line() as line:
        await line.say(begun)
        await until(lambda: bool(rig.connections and rig.connections[0]._data))
        rig.pass_seconds(9)
        rig.pass_seconds(11)
        assert await problem(line) == (408, "REQUEST_TIMEOUT")


async def test_head_after_a_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request has its own 10 s, from its first byte on, however long the connection was idle before."""
    clock = SimpleNamespace(now=time.monotonic())
    monkeypatch.setattr(front, "time", SimpleNamespace(monotonic=lambda: clock.now))
    async with rigged() as rig, rig.line() as line:
        await line.say(get("/desk/"))
        await line.body()
        clock.now += 9
        await line.say(get("/desk/")[:10])
        await until(lambda: bool(rig.connections[0]._data))
        clock.now += 9
        rig.wheel.advance(clock.now)
        await line.say(get("/desk/")[10:])
        assert await line.body() == b"GET /desk/ "


async def test_slow_body() -> None:
    """ "A request body must be complete within 30 s"; who meant to answer is told that it won't be."""
    async with rigged() as rig, rig.line() as line:
        await line.say(post("/desk/", b"hello")[:-1])
        await until(lambda: bool(rig.desk.requests))
        rig.pass_seconds(29)
        assert rig.desk.lost == []
        rig.pass_seconds(31)
        assert await problem(line) == (408, "REQUEST_TIMEOUT")
        assert rig.desk.lost == [b"/desk/"]


async def test_refused_connection_is_closed() -> None:
    """RFC 9112, section 9.6: after the last answer the server reads on for a moment, and no longer."""
    async with rigged() as rig, rig.line() as line:
        await line.say(get("/desk/", "Bad header"))
        await line.answer()
        await line.say(b"x" * 100_000)
        rig.pass_seconds(1)
        assert rig.connections
        rig.pass_seconds(3)
        await until(lambda: not rig.connections)


async def test_connections_at_the_limit() -> None:
    """ "Connections per process": one more is told to come back; going from hand to hand counts once."""
    async with rigged(Limits(1, 1000, 1000, 10, 30)) as rig, rig.line() as line:
        await line.say(get("/desk/"))
        await line.body()
        async with rig.line() as second:
            status, headers, _ = await second.answer()
            assert (status, "retry-after" in headers) == (503, True)
            for target in ("/rest", "/desk/"):
                await line.say(get(target))
                await line.body()


async def test_requests_sent_ahead() -> None:
    """What a client sends behind a pending request is bounded, waits in the socket, and is answered in the end."""
    count = 5_000
    async with rigged() as rig, rig.line() as line:
        await line.say(get("/desk/pend"))
        await until(lambda: bool(rig.desk.pending))
        (connection,) = rig.connections
        flood = asyncio.create_task(line.say(get("/desk/") * count))
        await until(lambda: not connection._transport.is_reading())
        assert len(connection._data) < 2**20
        rig.desk.pending[0].answer(200, [], b"first")
        assert await line.body() == b"first"
        for _ in range(count):
            assert await line.body() == b"GET /desk/ "
        await flood


async def test_answers_that_are_not_fetched() -> None:
    """A client that asks on and on without reading is not asked to be remembered: its requests wait."""
    async with rigged(Limits(9, 2**20, 1000, 10, 30)) as rig, rig.line() as line:
        line.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream has a whole transport
        target = "/desk/" + "x" * 100_000
        count = 300
        flood = asyncio.create_task(line.say(get(target) * count))
        await until(lambda: bool(rig.connections) and not rig.connections[0]._transport.is_reading())
        (connection,) = rig.connections
        assert connection._transport.get_write_buffer_size() < 2**18
        assert len(rig.desk.requests) < count
        line.writer.transport.resume_reading()  # type: ignore[attr-defined]  # likewise
        for _ in range(count):
            assert len(await line.body()) == len(target) + 5
        await flood


async def test_answer_that_is_not_fetched() -> None:
    """A client that takes not a byte of its answer is given up; one that takes some is waited for."""
    async with rigged() as rig, rig.line() as line:
        line.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream has a whole transport
        await line.say(get("/desk/pend"))
        await until(lambda: bool(rig.desk.pending))
        rig.desk.pending[0].answer(200, [], b"x" * 2**24)
        (connection,) = rig.connections
        waiting = connection._transport.get_write_buffer_size()
        assert waiting
        rig.pass_seconds(11)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(rig.connections) == 1
        rig.pass_seconds(22)
        await until(lambda: not rig.connections)
