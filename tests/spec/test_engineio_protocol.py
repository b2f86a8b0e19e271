"""The Engine.IO protocol, versions 4 and 3, case by case as the official test suite and document have it.

Against ``tests/conformance/echo_server.py``, which echoes each message on ``/engine.io/``. Taking a session over
from polling to WebSocket has a file of its own, and so has Socket.IO.
"""

import asyncio
from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus

from tests.support.conformance import conforming
from tests.support.engineio import (
    TRANSPORTS,
    Ended,
    Packet,
    bare_socket,
    encode,
    opened,
    polling,
)
from tests.support.http_wire import HttpConnection, http_connection

BARE = "/engine.io/"
PATHS = [BARE, "/socket.io/"]
MAX_PAYLOAD = 1_000_000
SILENCE = 0.5
"""Ping interval and ping timeout of the server, in seconds."""

WRONG_QUERIES = [
    "",
    "transport={transport}",
    "EIO=abc&transport={transport}",
    "EIO=2&transport={transport}",
    "EIO=5&transport={transport}",
    "EIO=4",
    "EIO=4&transport=",
    "EIO=4&transport=abc",
    "EIO=4&transport={transport}&sid=",
    "EIO=4&transport={transport}&sid=unknown",
    "EIO=4&transport={transport}&sid=../../etc",
]
MESSAGES: list[tuple[Packet, ...]] = [
    ("4hello",),
    ("4test1", "4test2", "4test3"),
    ("4",),
    ("4Über 🦔\n\u2028\x1f",),
    (b"\x01\x02\x03\x04",),
    ("4hello", b"\x01\x02\x03\x04", "4again", bytes(range(256)), b""),
]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with conforming("echo_server.py") as listening:
        yield listening


async def refusal(port: int, path: str, query: str) -> int:
    """The status with which a WebSocket's opening handshake is refused."""
    with pytest.raises(InvalidStatus) as caught:
        async with bare_socket(port, path, query):
            pass
    return int(caught.value.response.status_code)


async def spoil(port: int, transport: str, packet: Packet, revision: int) -> None:
    """Open a session, say that and see the session end."""
    if transport == "polling":
        async with polling(port, BARE, revision) as session:
            assert (await session.post(encode((packet,), revision))).status == 400
            assert (await session.poll()).status == 400
        return
    async with opened(port, BARE, transport, revision) as socket:
        await socket.say(packet)
        await socket.ended()


# Handshake.


@pytest.mark.parametrize("path", PATHS)
async def test_polling_handshake(port: int, path: str) -> None:
    """ "Once opened, the server sends an open packet" with sid, upgrades, pingInterval, pingTimeout, maxPayload."""
    async with http_connection(port) as http:
        answer = await http.exchange("GET", f"{path}?EIO=4&transport=polling")
    assert answer.status == 200
    assert answer.headers["content-type"].lower() == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    async with polling(port, path) as session:
        sid = session.handshake.pop("sid")
        assert len(sid) >= 20
        assert session.handshake == {
            "upgrades": ["websocket"],
            "pingInterval": 300,
            "pingTimeout": 200,
            "maxPayload": MAX_PAYLOAD,
        }


@pytest.mark.parametrize("revision", [3, 4])
@pytest.mark.parametrize("path", PATHS)
async def test_websocket_handshake(port: int, path: str, revision: int) -> None:
    """ "WebSocket: should successfully open a session": the same packet with ``upgrades: []``."""
    async with opened(port, path, "websocket", revision) as session:
        assert session.handshake.pop("sid")
        assert session.handshake["upgrades"] == []
        assert (session.handshake["pingInterval"], session.handshake["pingTimeout"]) == (300, 200)


@pytest.mark.parametrize("query", WRONG_QUERIES)
@pytest.mark.parametrize("path", PATHS)
async def test_invalid_polling_queries(port: int, path: str, query: str) -> None:
    """ "Fails with an invalid ``EIO`` or ``transport`` query parameter": status 400."""
    async with http_connection(port) as http:
        answer = await http.exchange("GET", f"{path}?{query.format(transport='polling')}")
        assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")


@pytest.mark.parametrize("query", WRONG_QUERIES)
async def test_invalid_websocket_queries(port: int, query: str) -> None:
    """ "WebSocket: fails with an invalid ``EIO`` or ``transport`` query parameter"."""
    assert await refusal(port, BARE, query.format(transport="websocket")) == 400


@pytest.mark.parametrize("body", [None, b"", b"4hello"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", PATHS)
async def test_invalid_methods(port: int, path: str, method: str, body: bytes | None) -> None:
    """ "Fails with an invalid request method": a session is opened by GET alone, 400."""
    async with http_connection(port) as http:
        answer = await http.exchange(method, f"{path}?EIO=4&transport=polling", body)
        assert answer.status == 400


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_invalid_methods_of_a_session(port: int, method: str) -> None:
    """A session is spoken to by GET and POST; another method is 400 and changes nothing."""
    async with polling(port, BARE) as session:
        assert (await session.up.exchange(method, session.target, b"4no")).status == 400
        await session.say("4hello")
        assert await session.hear() == "4hello"


async def test_sessions_are_apart(port: int) -> None:
    """A session's id is its own: what is said in one is not heard in another."""
    async with polling(port, BARE) as one, polling(port, BARE) as other:
        assert one.handshake["sid"] != other.handshake["sid"]
        await one.say("4one")
        await other.say("4other")
        assert [await one.hear(), await other.hear()] == ["4one", "4other"]


async def test_any_page_may_ask(port: int) -> None:
    """The server of the suites is open to every origin ("CORS open"), preflight included."""
    page = {"Origin": "http://page.example"}
    preflight = {**page, "Access-Control-Request-Method": "POST"}
    target = f"{BARE}?EIO=4&transport=polling"
    async with http_connection(port) as http:
        answer = await http.exchange("GET", target, headers=page)
        assert answer.headers["access-control-allow-origin"] in {"*", page["Origin"]}
        asked = await http.exchange("OPTIONS", target, headers=preflight)
        assert asked.status in {200, 204}
        assert asked.headers["access-control-allow-origin"] in {"*", page["Origin"]}
        assert "POST" in asked.headers["access-control-allow-methods"]


# Messages.


@pytest.mark.parametrize("packets", MESSAGES)
@pytest.mark.parametrize("revision", [3, 4])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_messages(port: int, transport: str, revision: int, packets: tuple[Packet, ...]) -> None:
    """ "Sends and receives a payload containing several plain text and binary packets", whole and in order."""
    async with opened(port, BARE, transport, revision) as session:
        await session.say(*packets)
        for packet in packets:
            assert await session.hear() == packet


async def test_packets_on_the_polling_wire(port: int) -> None:
    """Document: "4hello\\x1ebAQIDBA==": separated by the record separator, binary in base64 behind ``b``; POST: "ok"."""
    async with polling(port, BARE) as session:
        answer = await session.post(b"4hello\x1ebAQIDBA==\x1e4world")
        assert (answer.status, answer.text) == (200, "ok")
        assert (await session.poll()).body == b"4hello\x1ebAQIDBA==\x1e4world"


async def test_version_3_on_the_polling_wire(port: int) -> None:
    """Version 3: "<length>:<packet>", lengths in characters of JavaScript, binary as ``b4`` and base64."""
    async with polling(port, BARE, 3) as session:
        answer = await session.post("3:4🦔10:b4AQIDBA==".encode())
        assert (answer.status, answer.text) == (200, "ok")
        assert (await session.poll()).text == "3:4🦔10:b4AQIDBA=="


async def test_version_3_in_binary(port: int) -> None:
    """Version 3, "XHR2 enabled": 0 for text or 1 for binary, the length's digits as bytes, 255, the packet."""
    payload = (
        b"\x00\x06\xff4hello" + b"\x01\x05\xff\x04\x01\x02\x03\x04" + b"\x00\x01\x00\xff" + b"4" + b"x" * 9
    )
    async with polling(port, BARE, 3) as session:
        assert (await session.post(payload, "application/octet-stream")).text == "ok"
        assert [await session.hear() for _ in range(3)] == ["4hello", b"\x01\x02\x03\x04", "4" + "x" * 9]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_base64_over_websocket(port: int, transport: str) -> None:
    """A client with ``forceBase64`` sends its binary messages as text on every transport."""
    async with opened(port, BARE, transport) as session:
        await session.say("bAQIDBA==")
        assert await session.hear() == b"\x01\x02\x03\x04"


@pytest.mark.parametrize("size", [65_536, MAX_PAYLOAD])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_large_messages(port: int, transport: str, size: int) -> None:
    """ "maxPayload: the maximum number of bytes per chunk" is what still passes."""
    async with opened(port, BARE, transport) as session:
        packet = "4" + "x" * (size - 1)
        await session.say(packet)
        assert await session.hear() == packet


async def test_too_large_a_payload(port: int) -> None:
    """One byte beyond ``maxPayload``: 413 over polling, said in advance or found out, 1009 over WebSocket."""
    packet = b"4" + b"x" * MAX_PAYLOAD
    async with polling(port, BARE) as session:
        assert (await session.post(packet)).status == 413
    async with opened(port, BARE, "websocket") as socket:
        await socket.say(packet.decode())
        assert await socket.ended() == 1009


@pytest.mark.parametrize("packet", ["abc", "0", "5", "6", "7", "9", "b*", "bA", "bAA=", "2", "2probe"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_invalid_packets(port: int, transport: str, packet: str) -> None:
    """ "Closes the session upon invalid packet format": 400 for the POST and for whatever comes after it."""
    await spoil(port, transport, packet, 4)


@pytest.mark.parametrize("packet", ["abc", "0", "5", "6", "9", "3", "b4*", "b5AQIDBA=="])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_invalid_packets_of_version_3(port: int, transport: str, packet: str) -> None:
    """ "Closes the session upon invalid packet format"; in version 3 the client pings, so a pong is invalid too."""
    await spoil(port, transport, packet, 3)


@pytest.mark.parametrize(
    "body", [b"", b"\x1e", b"4a\x1e", b"\x1e4a", b"4a\x1e\x1e4b", b"4\xff", b"4\xed\xa0\x80"]
)
async def test_invalid_payloads(port: int, body: bytes) -> None:
    """ "Closes the session upon invalid packet format": empty packets and what is no UTF-8."""
    async with polling(port, BARE) as session:
        assert (await session.post(body)).status == 400
        assert (await session.poll()).status == 400


@pytest.mark.parametrize(
    "body",
    [b"", b"4a", b":4a", b"3:4a", b"1:4a", b"0:", b"02:4a", b"-2:4a", b"2:4a2", b"99999999999999999999:4"],
)
async def test_invalid_payloads_of_version_3(port: int, body: bytes) -> None:
    """ "Closes the session upon invalid packet format": lengths that are none, or not those of the packets."""
    async with polling(port, BARE, 3) as session:
        assert (await session.post(body)).status == 400
        assert (await session.poll()).status == 400


async def test_duplicate_polls(port: int) -> None:
    """ "Closes the session upon duplicate poll requests": the first gets ``1``, the second 400 or 500."""
    async with polling(port, BARE) as session, http_connection(port) as second:
        await session.ask()
        refused = await second.exchange("GET", session.target)
        first = await session.answer()
        assert (first.status, first.text) == (200, "1")
        assert refused.status in {400, 500}
        assert (await session.poll()).status == 400


# Heartbeat.


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_ping_and_pong(port: int, transport: str) -> None:
    """ "Sends ping/pong packets": who answers each lives on, longer than interval and timeout together."""
    async with opened(port, BARE, transport) as session:
        session.answers_pings = False
        for _ in range(3):
            assert await session.hear() == "2"
            await session.say("3")
        await session.say("4alive")
        assert await session.hear() == "4alive"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_ping_timeout(port: int, transport: str) -> None:
    """ "Closes the session upon ping timeout"."""
    async with opened(port, BARE, transport) as session:
        session.answers_pings = False
        await session.ended()


@pytest.mark.parametrize("revision", [3, 4])
async def test_polling_in_vain(port: int, revision: int) -> None:
    """ "Closes the session upon ping timeout", also of a client that never polled: its next request is 400."""
    async with polling(port, BARE, revision) as session:
        # Nobody can look without being heard: the time has to pass.
        await asyncio.sleep(SILENCE + 0.02)
        assert (await session.poll()).status == 400


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_version_3_pings(port: int, transport: str) -> None:
    """Version 3: "ping: sent by the client. Server should answer with a pong packet containing the same data"."""
    async with opened(port, BARE, transport, 3) as session:
        for ping in ("2", "2probe", "2"):
            await session.say(ping)
            assert await session.hear() == ping.replace("2", "3", 1)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_version_3_silence(port: int, transport: str) -> None:
    """Version 3: a client that has not pinged for interval and timeout together is gone; the server never pings."""
    async with opened(port, BARE, transport, 3) as session:
        await session.say("2")
        assert await session.hear() == "3"
        with pytest.raises(Ended):
            await session.hear()


# Close.


@pytest.mark.parametrize("revision", [3, 4])
async def test_close_over_polling(port: int, revision: int) -> None:
    """ "Forcefully closes the session": after ``1`` the pending poll gets ``6``, and the next one 400."""
    async with polling(port, BARE, revision) as session:
        await session.ask()
        await session.say("1")
        assert await session.packets() == ["6"]
        assert (await session.poll()).status == 400


@pytest.mark.parametrize("revision", [3, 4])
@pytest.mark.parametrize("transport", ["websocket", "upgraded"])
async def test_close_over_websocket(port: int, transport: str, revision: int) -> None:
    """ "Forcefully closes the session": the WebSocket is closed."""
    async with opened(port, BARE, transport, revision) as session:
        await session.say("1")
        await session.ended()


async def test_many_requests_on_one_connection(port: int) -> None:
    """HTTP/1.1 keeps connections: polls, posts and refusals of several sessions may share one."""
    http = HttpConnection(port)
    for _ in range(3):
        async with polling(port, BARE) as session:
            session.up = http
            await session.say("4a", "4b")
            assert await session.hear() == "4a"
            assert (await http.exchange("GET", f"{BARE}?EIO=4&transport=no")).status == 400
            await session.say("4c")
            assert [await session.hear(), await session.hear()] == ["4b", "4c"]
