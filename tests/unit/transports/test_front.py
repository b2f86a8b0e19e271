"""The connection where it begins and between requests, on real sockets."""

import asyncio
import json

import pytest

from tests.support.front_rig import DATE, MAX_BODY, Echo, Line, get, post, request, rigged, until
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.ids import is_id
from tidings.transports.front import Front


async def problem(line: Line) -> tuple[int, str]:
    """The next response, which is a problem after which the connection ends."""
    status, headers, body = await line.answer()
    said = json.loads(body)
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert said["status"] == status
    assert await line.ended() == b""
    return status, said["code"]


# Exchanges.


async def test_exchanges_on_one_connection() -> None:
    """A connection is used again, and what it is asked is what the mount is told."""
    async with rigged() as rig, rig.line() as line:
        await line.say(get("/desk/a?b=c", "X-One: 1"))
        assert await line.body() == b"GET /desk/a?b=c "
        await line.say(post("/desk/", b"hello"))
        assert await line.body() == b"POST /desk/ hello"
        await line.say(request("DELETE", "/desk/"))
        assert await line.body() == b"DELETE /desk/ "
        first = rig.desk.requests[0]
        assert (first.method, first.target, first.client) == (b"GET", b"/desk/a?b=c", "127.0.0.1")
        assert first.headers == [(b"host", b"x"), (b"x-one", b"1")]


async def test_what_every_answer_carries() -> None:
    """ "Every response: ``nosniff``, ``no-referrer``, ``no-store`` on what is personal"; and what was given."""
    async with rigged() as rig, rig.line() as line:
        await line.say(get("/desk/"))
        status, headers, body = await line.answer()
        assert (status, body) == (200, b"GET /desk/ ")
        assert is_id(headers.pop("x-request-id"))
        assert headers == {
            "date": DATE.decode(),
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cache-control": "no-store",
            "content-type": "text/plain",
            "content-length": "11",
        }
        rig.state.default_headers = [(b"date", b"later")]
        await line.say(get("/desk/"))
        assert (await line.answer())[1]["date"] == "later"


async def test_answers_without_a_body() -> None:
    """RFC 9110, sections 8.6 and 9.3.2: HEAD gets the head alone, and a 204 has no length."""
    async with rigged() as rig, rig.line() as line:
        await line.say(request("HEAD", "/desk/") + get("/desk/"))
        _, headers, _ = await line.answer(bare=True)
        assert headers["content-length"] == "12"
        assert await line.body() == b"GET /desk/ "
        await line.say(get("/desk/none") + get("/desk/"))
        status, headers, _ = await line.answer()
        assert (status, "content-length" in headers) == (204, False)
        assert await line.body() == b"GET /desk/ "


async def test_refusal_by_the_mount() -> None:
    """ "HTTP errors are ``application/problem+json``"; a connection whose request was read lives on."""
    async with rigged() as rig, rig.line() as line:
        await line.say(get("/desk/refuse"))
        status, headers, body = await line.answer()
        assert (status, json.loads(body)["code"]) == (409, "CONFLICT")
        assert (headers["content-type"], headers["x-given"]) == ("application/problem+json", "yes")
        await line.say(get("/desk/"))
        assert await line.body() == b"GET /desk/ "


async def test_pending_answer() -> None:
    """An answer may come whenever it likes; until then no deadline runs, and nothing of the request is kept."""
    async with rigged() as rig, rig.line() as line:
        await line.say(post("/desk/pend", b"x" * 50))
        await until(lambda: bool(rig.desk.pending))
        (front,) = rig.connections
        rig.pass_seconds(3600)
        assert (front._data, front._body, front._taker) == (b"", None, None)
        rig.desk.pending[0].answer(200, [], b"at last")
        assert await line.body() == b"at last"
        line.writer.close()
        await until(lambda: not rig.connections)
        assert rig.desk.lost == []


async def test_client_that_goes() -> None:
    """``lost`` tells of a client that went while its answer was due, once, and never after the answer."""
    async with rigged() as rig:
        async with rig.line() as line:
            await line.say(get("/desk/"))
            await line.body()
            await line.say(get("/desk/pend"))
            await until(lambda: bool(rig.desk.pending))
        await until(lambda: not rig.connections)
        assert rig.desk.lost == [b"/desk/pend"]
        rig.desk.pending[0].answer(200, [], b"too late")
        rig.desk.pending[0].refuse(TidingsError(ErrorCode.CONFLICT))


async def test_answered_while_the_client_goes() -> None:
    """A client that has half-closed its connection is gone; what it is still answered goes nowhere."""
    async with rigged() as rig, rig.line() as line:
        await line.say(get("/desk/pend"))
        await until(lambda: bool(rig.desk.pending))
        line.writer.write_eof()
        await until(lambda: bool(rig.desk.lost))
        assert await line.ended() == b""


# Which path, and whose it is.


@pytest.mark.parametrize("path", ["/desk/", "/rest", "/des", "/desk"])
async def test_first_bytes_one_by_one(path: str) -> None:
    """Whose a request is may show only after some bytes, and is the same however they come."""
    async with rigged() as rig, rig.line() as line:
        for _ in range(2):
            for octet in b"\r\n" + get(path):
                await line.say(bytes([octet]))
                await asyncio.sleep(0)
            assert await line.body() == (f"app {path} 0" if path != "/desk/" else "GET /desk/ ").encode()


async def test_mount_and_application_share_a_connection() -> None:
    """Browsers use one connection for whatever they ask of an origin."""
    async with rigged() as rig, rig.line() as line:
        for _ in range(3):
            await line.say(get("/desk/"))
            assert await line.body() == b"GET /desk/ "
            await line.say(post("/rest", b"12345"))
            assert await line.body() == b"app /rest 5"
            await line.say(get("/rest"))
            assert await line.body() == b"app /rest 0"
            assert len(rig.connections) == 1


async def test_application_behind_a_pending_answer() -> None:
    """RFC 9112, section 9.3.2: pipelined requests are answered in their order."""
    async with rigged() as rig, rig.line() as line:
        await line.say(get("/desk/pend") + get("/desk/") + get("/rest") + get("/rest"))
        await until(lambda: bool(rig.desk.pending))
        assert not rig.app.asked
        rig.desk.pending[0].answer(200, [], b"first")
        assert [await line.body() for _ in range(4)] == [
            b"first",
            b"GET /desk/ ",
            b"app /rest 0",
            b"app /rest 0",
        ]


async def test_next_request_is_not_begun_within_an_answer() -> None:
    """A mount that answers is amidst something else: the next request waits until it is done."""
    async with rigged() as rig, rig.line() as line:
        await line.say(get("/desk/pend") + get("/desk/b"))
        await until(lambda: bool(rig.desk.pending))
        rig.desk.pending[0].answer(200, [], b"first")
        assert len(rig.desk.requests) == 1
        assert [await line.body() for _ in range(2)] == [b"first", b"GET /desk/b "]


async def test_one_request_at_a_time() -> None:
    """However much one client sends at once, others are read in between."""
    async with rigged() as rig, rig.line() as greedy, rig.line() as modest:
        greedy.writer.write(get("/desk/") * 1000)
        modest.writer.write(get("/desk/modest"))
        assert await modest.body() == b"GET /desk/modest "
        assert len(rig.desk.requests) < 500
        for _ in range(1000):
            await greedy.body()


# How a request is read.


async def test_malformed_body() -> None:
    """A body that breaks off its own grammar ends the request, and nothing of it is taken."""
    async with rigged() as rig, rig.line() as line:
        await line.say(request("POST", "/desk/", "Transfer-Encoding: chunked") + b"2\r\n{}\r\nnonsense\r\n")
        assert await problem(line) == (400, "MALFORMED")
        assert rig.desk.lost == [b"/desk/"]


async def test_problem_after_a_head_request() -> None:
    """A refusal has its body even if the request before wanted none."""
    async with rigged() as rig, rig.line() as line:
        await line.say(request("HEAD", "/desk/"))
        await line.answer(bare=True)
        await line.say(get("/desk/", "Name x"))
        assert await problem(line) == (400, "MALFORMED")


@pytest.mark.parametrize("said", [get("/desk/", "Connection: close"), b"GET /desk/ HTTP/1.0\r\n\r\n"])
async def test_last_request(said: bytes) -> None:
    """RFC 9112, section 9.3: a client that says so, or speaks HTTP/1.0, has its connection ended."""
    async with rigged() as rig, rig.line() as line, rig.line() as more:
        await line.say(said)
        assert (await line.answer())[1]["connection"] == "close"
        assert await line.ended() == b""
        await more.say(said + get("/desk/never"))
        assert (await more.answer())[1]["connection"] == "close"
        assert await more.ended() == b""
        assert all(asked.target == b"/desk/" for asked in rig.desk.requests)


async def test_expect_continue() -> None:
    """RFC 9110, section 10.1.1: who waits to be told to go on is told, unless the body is there already."""
    async with rigged() as rig, rig.line() as line:
        said = post("/desk/", b"hello", "Expect: 100-continue")
        await line.say(said[:-5])
        assert (await line.answer())[0] == 100
        await line.say(said[-5:] + said)
        assert [await line.body() for _ in range(2)] == [b"POST /desk/ hello"] * 2


async def test_answer_before_the_body() -> None:
    """A mount need not wait for a body; the connection ends then, and the answer arrives nevertheless."""
    async with rigged() as rig, rig.line() as line:
        await line.say(post("/desk/early", b"x" * MAX_BODY)[:-1])
        status, headers, body = await line.answer()
        assert (status, headers["connection"], body) == (200, "close", b"early")
        await line.say(b"x" * 100_000)
        assert await line.ended() == b""


async def test_body_that_nobody_wants() -> None:
    """It is read all the same, so that the next request is found behind it."""
    async with rigged() as rig, rig.line() as line:
        await line.say(post("/desk/unread", b"x" * MAX_BODY) + get("/desk/"))
        await until(lambda: bool(rig.desk.pending))
        rig.desk.pending[0].answer(200, [], b"first")
        assert [await line.body() for _ in range(2)] == [b"first", b"GET /desk/ "]


async def test_fault_of_a_mount() -> None:
    """ "``INTERNAL_ERROR`` 500", and whoever meant to answer is told that it was done."""
    async with rigged() as rig, rig.line() as line:
        await line.say(get("/desk/boom"))
        assert await problem(line) == (500, "INTERNAL_ERROR")
        assert rig.desk.lost == [b"/desk/boom"]


async def test_fault_after_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    """A mount that fails after it has answered can't be answered for: the loop logs it, the connection ends."""
    async with rigged() as rig, rig.line() as line:
        await line.say(get("/desk/early/fault"))
        await until(lambda: "ZeroDivisionError" in caplog.text)
        await until(lambda: not rig.connections)


# Upgrades.

UPGRADE = ("Connection: keep-alive, Upgrade", "Upgrade: WebSocket")


async def test_upgrade() -> None:
    """RFC 6455, section 4.2: the mount gets the handshake, and its successor the connection, with what followed."""
    async with rigged() as rig, rig.line() as line:
        await line.say(get("/desk/?a=b", *UPGRADE, "X-One: 1") + b"and more")
        assert await line.reader.readexactly(17) == b"upgraded and more"
        await line.say(b"hello")
        assert await line.reader.readexactly(5) == b"hello"
        (upgrade,) = rig.desk.upgrades
        assert (upgrade.target, upgrade.client) == (b"/desk/?a=b", "127.0.0.1")
        assert (b"x-one", b"1") in upgrade.headers
        assert [type(connection) for connection in rig.connections] == [Echo]
        assert rig.desk.requests == []
        rig.pass_seconds(3600)
        await line.say(b"hello")
        assert await line.reader.readexactly(5) == b"hello"


async def test_upgrade_behind_requests() -> None:
    """What was asked before has been answered when the connection becomes something else."""
    async with rigged() as rig, rig.line() as line:
        await line.say(get("/rest") + get("/desk/") + get("/desk/", *UPGRADE) + b"more")
        assert [await line.body() for _ in range(2)] == [b"app /rest 0", b"GET /desk/ "]
        assert await line.reader.readexactly(13) == b"upgraded more"


async def test_refused_upgrade() -> None:
    """What the mount says against it is the answer; a 426 names what is spoken here (RFC 6455, section 4.4)."""
    async with rigged() as rig, rig.line() as line, rig.line() as other:
        rig.desk.refusal = TidingsError(ErrorCode.FORBIDDEN)
        await line.say(get("/desk/", *UPGRADE))
        assert await problem(line) == (403, "FORBIDDEN")
        rig.desk.refusal = TidingsError(ErrorCode.UPGRADE_REQUIRED)
        await other.say(get("/desk/", *UPGRADE))
        status, headers, _ = await other.answer()
        assert (status, headers["upgrade"], headers["sec-websocket-version"]) == (426, "websocket", "13")


@pytest.mark.parametrize("said", [request("POST", "/desk/", *UPGRADE), post("/desk/", b"x", *UPGRADE)])
async def test_upgrade_that_is_no_get(said: bytes) -> None:
    """RFC 6455, section 4.1: "the method of the request MUST be GET", which has no body."""
    async with rigged() as rig, rig.line() as line:
        await line.say(said)
        assert await problem(line) == (400, "MALFORMED")
        assert rig.desk.upgrades == []


@pytest.mark.parametrize(
    "said",
    [
        post("/desk/", b"12", "Connection: Upgrade", "Upgrade: h2c"),
        post("/desk/", b"12", "Upgrade: websocket"),
        post("/desk/", b"12", *UPGRADE).replace(b"1.1", b"1.0"),
    ],
)
async def test_upgrade_that_is_passed_over(said: bytes) -> None:
    """RFC 9110, section 7.8: one may be ignored, and one in HTTP/1.0 or without Connection must be."""
    async with rigged() as rig, rig.line() as line:
        await line.say(said)
        assert await line.body() == b"POST /desk/ 12"
        assert rig.desk.upgrades == []


# The end.


async def test_shutdown() -> None:
    """A server that stops closes what is idle at once, and the rest after its answer."""
    async with rigged() as rig, rig.line() as idle, rig.line() as pending:
        await idle.say(get("/desk/"))
        await idle.body()
        await pending.say(get("/desk/pend"))
        await until(lambda: bool(rig.desk.pending))
        for connection in rig.connections:
            connection.shutdown()
        assert await idle.ended() == b""
        rig.desk.pending[0].answer(200, [], b"bye")
        _, headers, body = await pending.answer()
        assert (headers["connection"], body) == ("close", b"bye")
        assert await pending.ended() == b""


async def test_shutdown_with_requests_waiting() -> None:
    """What was sent ahead is not begun any more by a server that stops."""
    async with rigged() as rig, rig.line() as line:
        await line.say(get("/desk/pend") + post("/desk/", b"more"))
        await until(lambda: bool(rig.desk.pending))
        rig.desk.pending[0].answer(200, [], b"bye")
        rig.connections[0].shutdown()
        assert await line.body() == b"bye"
        assert await line.ended() == b""
        assert len(rig.desk.requests) == 1


async def test_what_a_connection_is_made_of() -> None:
    """Thousands of clients poll: a connection has no dictionary, no task and no timer."""
    async with rigged() as rig, rig.line() as line:
        await line.say(get("/desk/pend"))
        await until(lambda: bool(rig.desk.pending))
        (front,) = rig.connections
        assert isinstance(front, Front)
        assert not hasattr(front, "__dict__")
        assert not rig.state.tasks
        rig.desk.pending[0].answer(200, [], b"")
