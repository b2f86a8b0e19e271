"""The connection as the application knows it: what it is spared, and how it goes back to where it began."""

import asyncio
import json

import pytest

from tests.support.front_rig import LIMITS, Line, chunked, get, post, request, rigged, until
from tidings.transports.front import Front
from tidings.transports.http import HttpProtocol

WEBSOCKET = ("Connection: Upgrade", "Upgrade: websocket")
H2C = ("Connection: Upgrade", "Upgrade: h2c")


async def problem(line: Line) -> tuple[int, str]:
    """The next response, which is a problem after which the connection ends."""
    status, headers, body = await line.answer()
    assert headers["connection"] == "close"
    assert await line.ended() == b""
    return status, json.loads(body)["code"]


async def test_there_and_back() -> None:
    """A connection is the application's from its first request to the next one that is not."""
    async with rigged() as rig, rig.line() as line:
        kinds = []
        for target in ("/rest", "/rest", "/desk/", "/rest"):
            await line.say(get(target))
            await line.body()
            kinds.append(type(rig.connections[0]))
        assert kinds == [HttpProtocol, HttpProtocol, Front, HttpProtocol]
        rig.pass_seconds(3600)
        assert len(rig.connections) == 1


async def test_mount_behind_an_unfinished_answer() -> None:
    """RFC 9112, section 9.3.2: pipelined requests are answered in their order, and nothing is begun before."""
    async with rigged() as rig, rig.line() as line:
        await line.say(get("/slow") + get("/desk/") + get("/rest"))
        await until(lambda: bool(rig.app.asked))
        await line.say(get("/desk/"))
        assert (rig.app.asked, rig.desk.requests) == (["/slow"], [])
        rig.app.release.set()
        answers = [await line.body() for _ in range(4)]
        assert answers == [b"app /slow 0", b"GET /desk/ ", b"app /rest 0", b"GET /desk/ "]


async def test_slow_application() -> None:
    """Deadlines are for what the client has to do, and not for its answer."""
    async with rigged() as rig, rig.line() as line:
        await line.say(post("/slow", b"12"))
        await until(lambda: bool(rig.app.asked))
        rig.pass_seconds(3600)
        await asyncio.sleep(0)
        rig.app.release.set()
        assert await line.body() == b"app /slow 2"


async def test_requests_sent_ahead() -> None:
    """What a client sends behind a request is bounded, waits in the socket, and is answered in the end."""
    count = 5_000
    async with rigged() as rig, rig.line() as line:
        await line.say(get("/slow"))
        await until(lambda: bool(rig.app.asked))
        (connection,) = rig.connections
        flood = asyncio.create_task(line.say(get("/desk/") * count))
        await until(lambda: not connection.transport.is_reading())
        assert len(connection._later) < 2**20
        rig.app.release.set()
        assert await line.body() == b"app /slow 0"
        for _ in range(count):
            assert await line.body() == b"GET /desk/ "
        await flood


async def test_largest_head() -> None:
    """ "The header block counts the request line", wherever it is cut, and however its lines end."""
    fill = LIMITS.header_bytes - len(get("/rest", "X-Fill: "))
    for size, pieces in ((fill, 1), (fill, 50), (fill + 1, 1), (fill + 1, 50)):
        async with rigged() as rig, rig.line() as line:
            head = get("/rest", "X-Fill: " + "x" * size)
            length = -(-len(head) // pieces)
            for start in range(0, len(head), length):
                await line.say(head[start : start + length])
                await asyncio.sleep(0)
            if size == fill:
                assert await line.body() == b"app /rest 0"
            else:
                assert await problem(line) == (431, "HEADERS_TOO_LARGE")


@pytest.mark.parametrize("ends", [b"\r", b"\n"])
async def test_line_ends_without_end(ends: bytes) -> None:
    """What may be the beginning of a head's end is not kept for ever."""
    async with rigged() as rig, rig.line() as line:
        await line.say(b"GET /rest HTTP/1.1\r\nX: a" + ends * LIMITS.header_bytes)
        assert (await problem(line))[0] in (400, 431)


async def test_trailers() -> None:
    """RFC 9112, section 7.1.2: trailers may be dropped; those without an end do not fill the memory."""
    async with rigged() as rig, rig.line() as line, rig.line() as endless:
        await line.say(chunked("/rest", b"12", trailer=b"X: a\r\n"))
        assert await line.body() == b"app /rest 2"
        assert rig.app.headers == [(b"host", b"x"), (b"transfer-encoding", b"chunked")]
        await endless.say(request("POST", "/rest", "Transfer-Encoding: chunked") + b"0\r\nX: ")
        await endless.say(b"a" * 10 * LIMITS.body_bytes)
        assert await problem(endless) == (413, "PAYLOAD_TOO_LARGE")


async def test_body_in_the_smallest_chunks() -> None:
    """A body that is as large as allowed is so in chunks of one byte, too."""
    async with rigged() as rig, rig.line() as line:
        await line.say(chunked("/rest", *[b"x"] * LIMITS.body_bytes))
        assert await line.body() == b"app /rest %d" % LIMITS.body_bytes
        await line.say(chunked("/rest", *[b"x"] * (LIMITS.body_bytes + 1)))
        assert await problem(line) == (413, "PAYLOAD_TOO_LARGE")


async def test_upgrade_to_a_websocket() -> None:
    """Where nothing is mounted there is no WebSocket: 404, after what was asked before has been answered."""
    async with rigged() as rig, rig.line() as line:
        await line.say(get("/slow") + get("/rest", *WEBSOCKET) + b"what follows")
        await until(lambda: bool(rig.app.asked))
        rig.app.release.set()
        assert await line.body() == b"app /slow 0"
        assert await problem(line) == (404, "NOT_FOUND")
        assert rig.app.asked == ["/slow"]


async def test_upgrade_to_something_else() -> None:
    """RFC 9110, section 7.8: it may be ignored. With a body it is refused, not half understood."""
    async with rigged() as rig, rig.line() as line:
        await line.say(get("/rest", *H2C) * 2)
        assert [await line.body() for _ in range(2)] == [b"app /rest 0"] * 2
        await line.say(post("/rest", get("/smuggled"), *H2C))
        assert await problem(line) == (400, "MALFORMED")
        assert rig.app.asked == ["/rest", "/rest"]
