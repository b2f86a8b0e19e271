"""Contract, sections 3, 10 and 11: what HTTP itself may cost, byte for byte on a plain socket."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.support.server import Person, Server, serving

HEADER_BYTES = 16 * 1024
BODY_BYTES = 256 * 1024
MOUNTED = "/socket.io/?EIO=4&transport=polling&sid=unknown"
"""Answered below the application, by the same rules, with 400."""
SETTINGS = {"handshake_timeout": 1, "body_timeout": 1}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), SETTINGS) as running:
        yield running


class Wire:
    """A connection on which anything can be said."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def say(self, *lines: str, body: bytes = b"") -> None:
        """A request's lines and what follows them."""
        await self.send("\r\n".join([*lines, "", ""]).encode() + body)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next response: status, headers in lower case, body."""
        async with asyncio.timeout(10):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return int(first.split(" ")[1]), headers, body

    async def problem(self) -> tuple[int, str]:
        """The next response's status and code, which is a problem of the contract's shape."""
        status, headers, body = await self.answer()
        said = json.loads(body)
        assert headers["content-type"] == "application/problem+json"
        assert said.keys() >= {"type", "title", "status", "code", "requestId"}
        assert said["status"] == status
        return status, said["code"]

    async def ended(self, seconds: float = 5) -> bytes:
        """What still came until the server ended the connection."""
        async with asyncio.timeout(seconds):
            try:
                return await self._reader.read()
            except ConnectionResetError:
                return b""


@asynccontextmanager
async def wire(server: Server) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**20)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


def get(target: str, user: Person, *headers: str) -> bytes:
    """A whole GET request."""
    bearer = f"Authorization: Bearer {user.token}"
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: x", bearer, *headers, "", ""]).encode()


def post(user: Person, *headers: str) -> list[str]:
    """The lines of a ``POST /notifications``."""
    bearer = f"Authorization: Bearer {user.token}"
    return ["POST /notifications HTTP/1.1", "Host: x", bearer, "Content-Type: application/json", *headers]


def note(size: int) -> bytes:
    """JSON of that many bytes, which is too long for a notification and not for a body."""
    return b'{"title":"t","content":"' + b"x" * (size - 26) + b'"}'


# Headers.


@pytest.mark.parametrize("target", ["/healthz", MOUNTED])
async def test_largest_header_block(server: Server, target: str) -> None:
    """ "Header block 16 KiB"; "the header block counts the request line"."""
    lines = [f"GET {target} HTTP/1.1", "Host: x"]
    empty = len("\r\n".join([*lines, "X-Fill: ", "", ""]))
    async with wire(server) as fits, wire(server) as over:
        await fits.say(*lines, "X-Fill: " + "x" * (HEADER_BYTES - empty))
        assert (await fits.answer())[0] != 431
        await over.say(*lines, "X-Fill: " + "x" * (HEADER_BYTES - empty + 1))
        assert await over.problem() == (431, "HEADERS_TOO_LARGE")
        assert await over.ended() == b""


@pytest.mark.parametrize("target", ["/healthz?", MOUNTED])
async def test_long_request_line(server: Server, target: str) -> None:
    """ "The header block counts the request line"; what is not even finished counts as well."""
    async with wire(server) as unfinished, wire(server) as finished:
        await unfinished.send(f"GET {target}{'x' * 20_000}".encode())
        assert await unfinished.problem() == (431, "HEADERS_TOO_LARGE")
        await finished.say(f"GET {target}{'x' * 17_000} HTTP/1.1", "Host: x")
        assert await finished.problem() == (431, "HEADERS_TOO_LARGE")


@pytest.mark.parametrize("target", ["/healthz", MOUNTED])
async def test_many_small_headers(server: Server, target: str) -> None:
    """ "``HEADERS_TOO_LARGE`` 431", however the bytes are cut into headers and packets."""
    async with wire(server) as many:
        await many.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n".encode())
        for number in range(300):
            await many.send(b"X-%d: %b\r\n" % (number, b"y" * 60))
        assert await many.problem() == (431, "HEADERS_TOO_LARGE")


# Bodies.


async def test_largest_body(server: Server) -> None:
    """ "HTTP body 256 KiB": that much is read, and found wanting for another reason."""
    user = await server.person()
    async with wire(server) as fits:
        await fits.say(*post(user, f"Content-Length: {BODY_BYTES}"), body=note(BODY_BYTES))
        assert await fits.problem() == (422, "VALIDATION_FAILED")


async def test_announced_body(server: Server) -> None:
    """ "``PAYLOAD_TOO_LARGE`` 413", before a byte of it was sent."""
    user = await server.person()
    for size in (BODY_BYTES + 1, 10**9, 10**18):
        async with wire(server) as over:
            await over.say(*post(user, f"Content-Length: {size}"))
            assert await over.problem() == (413, "PAYLOAD_TOO_LARGE")
            assert await over.ended() == b""


async def test_chunked_body(server: Server) -> None:
    """ "``PAYLOAD_TOO_LARGE`` 413", also when nothing was announced."""
    user = await server.person()
    async with wire(server) as over:
        await over.say(*post(user, "Transfer-Encoding: chunked"))
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        await over.send(chunk * 4)
        await over.send(b"1\r\nx\r\n")
        assert await over.problem() == (413, "PAYLOAD_TOO_LARGE")


async def test_small_chunks(server: Server) -> None:
    """RFC 9112, section 7.1: a body in chunks is one body."""
    user = await server.person()
    body = b'{"title":"t","content":"c"}'
    async with wire(server) as chunked:
        chunks = b"".join(b"1\r\n%c\r\n" % octet for octet in body) + b"0\r\n\r\n"
        await chunked.say(*post(user, "Transfer-Encoding: chunked"), body=chunks)
        assert (await chunked.answer())[0] == 201


async def test_body_that_does_not_come(server: Server) -> None:
    """ "A request body must be complete within 30 s" (here 1 s), however it trickles."""
    user = await server.person()
    async with wire(server) as silent, wire(server) as trickling:
        began = time.monotonic()
        await silent.say(*post(user, "Content-Length: 100"), body=b'{"title"')
        await trickling.say(*post(user, "Content-Length: 100000"))
        drip = asyncio.create_task(_drip(trickling))
        assert (await silent.problem())[0] == 408
        assert (await trickling.problem())[0] == 408
        assert 0.9 <= time.monotonic() - began < 3
        drip.cancel()
        await asyncio.wait([drip])


async def _drip(slow: Wire, octet: bytes = b"A") -> None:
    """A byte every 50 ms for as long as they are taken."""
    while True:
        await slow.send(octet)
        await asyncio.sleep(0.05)


# Time.


async def test_silence(server: Server) -> None:
    """ "A connection that sends nothing is closed after 10 s" (here 1 s)."""
    async with wire(server) as silent:
        began = time.monotonic()
        assert await silent.ended() == b""
        assert 0.9 <= time.monotonic() - began < 2.5


@pytest.mark.parametrize("begun", ["GET /healthz HTTP/1.1\r\nX-Slow: ", f"GET {MOUNTED}"])
async def test_slowloris(server: Server, begun: str) -> None:
    """ "Handshake must finish in 10 s" (here 1 s): a header that never ends does not hold a connection."""
    async with wire(server) as slow:
        began = time.monotonic()
        await slow.send(begun.encode())
        drip = asyncio.create_task(_drip(slow))
        assert (await slow.problem())[0] == 408
        await slow.ended()
        assert time.monotonic() - began < 5
        drip.cancel()
        await asyncio.wait([drip])


async def test_kept_alive_and_then_silent(server: Server) -> None:
    """A connection may be used again, and is closed when it is silent for too long."""
    async with wire(server) as kept:
        for _ in range(3):
            await kept.say("GET /healthz HTTP/1.1", "Host: x")
            assert (await kept.answer())[0] == 200
        assert await kept.ended() == b""


# Grammar.


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/3.7\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x00" * 100,
    ],
)
@pytest.mark.parametrize("target", ["/", MOUNTED])
async def test_malformed(server: Server, request_: bytes, target: str) -> None:
    """ "``MALFORMED`` 400", a problem like every other error, and the connection ends."""
    async with wire(server) as broken:
        await broken.send(request_.replace(b" / ", f" {target} ".encode()))
        assert await broken.problem() == (400, "MALFORMED")
        assert await broken.ended() == b""


async def test_fault_within_a_body(server: Server) -> None:
    """A body that breaks off its own grammar ends the request, and nothing of it is done."""
    user = await server.person()
    async with wire(server) as broken:
        await broken.say(*post(user, "Transfer-Encoding: chunked"), body=b"2\r\n{}\r\nnonsense\r\n")
        assert (await broken.problem())[0] == 400
    async with server.http(user) as client:
        assert (await client.get("/notifications")).json()["items"] == []


async def test_pipelining(server: Server) -> None:
    """RFC 9112, section 9.3.2: pipelined requests are answered in their order."""
    user = await server.person()
    async with wire(server) as piped:
        await piped.send((get("/notifications/unread", user) + get("/nowhere", user)) * 2)
        assert [(await piped.answer())[0] for _ in range(4)] == [200, 404, 200, 404]


async def test_upgrade_behind_a_request(server: Server) -> None:
    """RFC 9112, section 9.3.2: what was asked before an upgrade is answered before it, and nothing is mixed up."""
    user = await server.person()
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    handshake = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", key]
    upgrade = get("/socket.io/?EIO=4&transport=websocket", user, *handshake)
    async with wire(server) as mixed:
        await mixed.send(get("/notifications/unread", user) + upgrade)
        assert [(await mixed.answer())[0] for _ in range(2)] == [200, 101]


async def test_polling_shares_a_connection(server: Server) -> None:
    """Browsers ask for whatever they want of an origin on the same connections, polling included."""
    user = await server.person()
    async with wire(server) as shared:
        for target, expected in (
            ("/notifications/unread", 200),
            (MOUNTED, 400),
            ("/nowhere", 404),
            (MOUNTED, 400),
        ):
            await shared.send(get(target, user))
            status, headers, _ = await shared.answer()
            assert (status, "connection" in headers) == (expected, False)
        await shared.send(get("/notifications/unread", user) + get(MOUNTED, user))
        assert [(await shared.answer())[0] for _ in range(2)] == [200, 400]


async def test_request_behind_a_stream(server: Server) -> None:
    """An answer without an end can have no request behind it, whose answer would stand among the events."""
    user = await server.person()
    async with wire(server) as mixed:
        await mixed.send(get("/notifications/events", user) + get("/notifications/unread", user))
        assert await mixed.problem() == (400, "MALFORMED")
        assert (await mixed.answer())[0] == 200


async def test_upgrade_to_something_else(server: Server) -> None:
    """RFC 9110, section 7.8: a server may ignore an Upgrade, as one to HTTP/2 in clear text."""
    user = await server.person()
    request = get("/notifications/unread", user, "Connection: Upgrade", "Upgrade: h2c")
    async with wire(server) as curl:
        for _ in range(2):
            await curl.send(request * 2)
            assert [(await curl.answer())[0] for _ in range(2)] == [200, 200]


async def test_upgrade_to_something_else_with_a_body(server: Server) -> None:
    """A body that nobody is certain of is no request: it is refused whole."""
    user = await server.person()
    smuggled = get("/notifications/unread", user)
    lines = post(user, f"Content-Length: {len(smuggled)}", "Connection: Upgrade", "Upgrade: h2c")
    async with wire(server) as mixed:
        await mixed.say(*lines, body=smuggled)
        assert await mixed.problem() == (400, "MALFORMED")
        assert await mixed.ended() == b""


@pytest.mark.parametrize("target", ["/healthz", MOUNTED])
async def test_http_1_0(server: Server, target: str) -> None:
    """RFC 9112, section 9.3: a client of HTTP/1.0 is answered, and its connection ends."""
    async with wire(server) as old:
        await old.say(f"GET {target} HTTP/1.0")
        assert (await old.answer())[1]["connection"] == "close"
        assert await old.ended() == b""


async def test_expect_continue(server: Server) -> None:
    """RFC 9110, section 10.1.1: who waits to be told to go on is told."""
    user = await server.person()
    body = b'{"title":"t","content":"c"}'
    async with wire(server) as polite:
        await polite.say(*post(user, f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert (await polite.answer())[0] == 100
        await polite.send(body)
        assert (await polite.answer())[0] == 201


# What answers carry.


@pytest.mark.parametrize(
    "target", ["/healthz", "/nowhere", "/notifications", "/docs", "/%zz", "/socket.io/", MOUNTED]
)
async def test_what_every_answer_carries(server: Server, target: str) -> None:
    """ "No header names the software beneath"; "every response: nosniff, no-referrer"."""
    async with wire(server) as any_:
        await any_.say(f"GET {target} HTTP/1.1", "Host: x")
        _, headers, body = await any_.answer()
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert "server" not in headers
    assert "x-powered-by" not in headers
    assert not re.search(rb"uvicorn|starlette|fastapi|python|Traceback|/src/", body, re.IGNORECASE)


async def test_nothing_is_left_open(server: Server) -> None:
    """Refused, late and broken connections all give their descriptors back."""
    before = server.descriptors()
    async with wire(server) as one, wire(server) as two, wire(server) as three:
        await one.send(b"GET /" + b"x" * 20_000)
        await two.send(b"nonsense\r\n\r\n")
        await three.send(b"GET / HTTP/1.1\r\n")
        await server.at_rest(before)
