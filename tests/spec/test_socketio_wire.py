"""Contract, sections 4 and 10: what may be on the wire of a Socket.IO connection, and what ends it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.support.server import Server, serving
from tests.support.sockets import NAMESPACE, QUERY, Socket, opened, ready

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
LIST = f'42{NAMESPACE},1["notification:list",{{}}]'
RESERVED = ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"ping_interval": 0.4, "ping_timeout": 0.3, "auth_timeout": 1, "connection_lifetime": 60}
    with serving(tmp_path_factory.mktemp("server"), settings) as running:
        yield running


@asynccontextmanager
async def client(server: Server) -> AsyncIterator[Socket]:
    """A user of their own who is ready."""
    async with ready(server, await server.person()) as socket:
        yield socket


def upgrade(
    server: Server, target: str = f"/socket.io/?{QUERY}", changes: Mapping[str, str | None] | None = None
) -> httpx.Response:
    """The answer to an opening handshake as the test wants it; None leaves a header out."""
    given = {**UPGRADE, **(changes or {})}
    headers = {name: value for name, value in given.items() if value is not None}
    return server.get(target, **headers)


# The opening.


async def test_open_packet(server: Server) -> None:
    """The Engine.IO handshake: "ping 25 s, timeout 20 s" (here set shorter) in milliseconds, "message in 64 KiB"."""
    async with opened(server) as socket:
        sid = socket.handshake.pop("sid")
        assert len(sid) >= 20
        assert socket.handshake == {
            "upgrades": [],
            "pingInterval": 400,
            "pingTimeout": 300,
            "maxPayload": 65536,
        }


async def test_connect_answer(server: Server) -> None:
    """ "CONNECT answers with ``sid`` and ``pid``"; every connection has its own."""
    user = await server.person()
    seen = set()
    for _ in range(3):
        async with opened(server) as socket:
            await socket.connect({"token": user.token})
            answer = json.loads((await socket.packet()).removeprefix(f"40{NAMESPACE},"))
            assert answer.keys() == {"sid", "pid"}
            seen |= set(answer.values())
    assert len(seen) >= 3


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/socket.io/", 400),
        ("/socket.io/?EIO=5&transport=websocket", 400),
        ("/socket.io/?EIO=4&transport=carrier-pigeon", 400),
        ("/socket.io/?EIO=4&EIO=4&transport=websocket", 400),
        ("/socket.io/?EIO=4&transport=websocket&sid=unknown", 400),
        ("/elsewhere?EIO=4&transport=websocket", 404),
        ("/notifications", 404),
        ("/", 404),
    ],
)
def test_upgrade_of_something_else(server: Server, target: str, status: int) -> None:
    """ "HTTP errors are ``application/problem+json`` with ``type, title, status, code, requestId``"."""
    answer = upgrade(server, target)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json().keys() >= {"type", "title", "status", "code", "requestId"}
    assert answer.json()["status"] == status


@pytest.mark.parametrize(
    "changes",
    [
        {"Sec-WebSocket-Key": None},
        {"Sec-WebSocket-Key": "short"},
        {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ== x"},
    ],
)
def test_broken_opening_handshakes(server: Server, changes: dict[str, str | None]) -> None:
    """An opening handshake that RFC 6455, section 4.2, does not allow is answered with a problem."""
    answer = upgrade(server, changes=changes)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


@pytest.mark.parametrize("version", ["8", "", None])
def test_another_version_of_websocket(server: Server, version: str | None) -> None:
    """RFC 6455, section 4.4: the server "MUST respond with a Sec-WebSocket-Version header" that it speaks."""
    answer = upgrade(server, changes={"Sec-WebSocket-Version": version})
    assert (answer.status_code, answer.headers["Sec-WebSocket-Version"]) == (426, "13")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_upgrade_with_another_method(server: Server, method: str) -> None:
    """RFC 6455, section 4.1: "the method of the request MUST be GET"."""
    answer = httpx.request(
        method, f"{server.url}/socket.io/?{QUERY}", headers=UPGRADE, trust_env=False, content=b"x"
    )
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


# What is said.


@pytest.mark.parametrize("name", RESERVED)
async def test_reserved_names(server: Server, name: str) -> None:
    """ "A reserved event name closes the connection"."""
    async with client(server) as socket:
        await socket.emit(name, {})
        assert await socket.closing(seconds=2) == 1008
        assert not socket.heard


@pytest.mark.parametrize(
    "packet",
    [
        "",
        "x",
        "9",
        "2",
        "0",
        "5",
        "4",
        "4x",
        "49",
        f"42{NAMESPACE}",
        f"42{NAMESPACE},",
        f"42{NAMESPACE},{{}}",
        f"42{NAMESPACE},[]",
        f"42{NAMESPACE},[1]",
        f'42{NAMESPACE},["a"',
        f'42{NAMESPACE},["a",{{"b":1,"b":2}}]',
        f'42{NAMESPACE},["a",NaN]',
        f'42{NAMESPACE},["a",9007199254740993]',
        f'42{NAMESPACE},["a","\\ud800"]',
        f'42{NAMESPACE},["a",{"[" * 32}{"]" * 32}]',
        f'42{NAMESPACE},01["a"]',
        f'42{NAMESPACE},12345678901234567["a"]',
        f"43{NAMESPACE},[1]",
        f'44{NAMESPACE},{{"message":"no"}}',
        f"40{NAMESPACE},{{}}",
        '42["a"]',
        '42/elsewhere,["a"]',
        f'451-{NAMESPACE},["a",{{"_placeholder":true,"num":0}}]',
        f'45{NAMESPACE},["a"]',
        f'4511-{NAMESPACE},["a"]',
    ],
)
async def test_malformed_packets(server: Server, packet: str) -> None:
    """ "A malformed packet closes the connection"; "malformed JSON in a socket event is a malformed packet"."""
    async with client(server) as socket:
        await socket.say(packet)
        assert await socket.closing(seconds=2) in {1002, 1007, 1008}
        assert not socket.heard


async def test_depth_of_an_event(server: Server) -> None:
    """ "JSON depth 32"; "its depth counts the event's array": 31 within are fine."""
    async with client(server) as socket:
        nested = "[" * 31 + "]" * 31
        await socket.say(f'42{NAMESPACE},1["nonsense",{nested}]')
        assert (await socket.event("notification:error"))["code"] == "UNKNOWN_EVENT"


@pytest.mark.parametrize("message", [b"", b"\x04", b"binary", "bAAAA"])
async def test_binary(server: Server, message: str | bytes) -> None:
    """ "Binary attachments in a Socket.IO packet 0 on ``/notifications``": binary closes."""
    async with client(server) as socket:
        await socket.say(message)
        assert await socket.closing(seconds=2) in {1002, 1003, 1008}


async def test_largest_message(server: Server) -> None:
    """ "Message in 64 KiB": one that just fits is taken, one byte more closes with 1009."""
    async with client(server) as socket:
        filler = "x" * (65536 - len(LIST) - len(',""'))
        fits = f'{LIST[:-1]},"{filler}"]'
        assert len(fits) == 65536
        await socket.say(fits)
        assert (await socket.event("notification:error"))["code"] == "VALIDATION_FAILED"
        await socket.say(fits[:-2] + 'x"]')
        assert await socket.closing(seconds=2) == 1009


async def test_oversize_in_fragments(server: Server) -> None:
    """ "An oversize message (1009) closes the connection", however it is cut."""
    async with client(server) as socket:
        async with asyncio.timeout(5):
            await socket.wire.send("x" * 30_000 for _ in range(3))
        assert await socket.closing(seconds=2) == 1009


async def test_fragments(server: Server) -> None:
    """RFC 6455, section 5.4: a message in fragments is one message."""
    async with client(server) as socket:
        await socket.wire.send(iter([LIST[:10], LIST[10:20], LIST[20:]]))
        answer = await socket.packet(lambda packet: packet.startswith("43"))
        assert answer == f'43{NAMESPACE},1[{{"items":[],"nextCursor":null}}]'


async def test_event_before_connect(server: Server) -> None:
    """An event of a client that has not connected to the namespace closes, and nothing of it is done."""
    for packet in (LIST, f"41{NAMESPACE},", f"43{NAMESPACE},1[]"):
        async with opened(server) as socket:
            await socket.say(packet)
            await socket.closing(seconds=2)
            assert not socket.heard


@pytest.mark.parametrize("name", ["", "/elsewhere,", "/notifications2,", "/Notifications,"])
async def test_unknown_namespaces(server: Server, name: str) -> None:
    """What users of Socket.IO expect: CONNECT_ERROR ``{"message": "Invalid namespace"}``."""
    user = await server.person()
    async with opened(server, **user.headers) as socket:
        await socket.say(f"40{name}")
        assert await socket.packet() == f'44{name}{{"message":"Invalid namespace"}}'
        await socket.connect()
        await socket.event("notification:ready")


async def test_endless_namespaces(server: Server) -> None:
    """Who goes on asking for namespaces that are none is closed."""
    async with opened(server) as socket:
        for number in range(100):
            await socket.say(f"40/{number},")
        await socket.closing(seconds=3)
        assert len(socket.heard) < 20


async def test_unasked_acks(server: Server) -> None:
    """An ack that nobody waits for is passed over, as the stock server does."""
    async with client(server) as socket:
        await socket.say(f"43{NAMESPACE},77[1]")
        assert (await socket.ask("notification:list", {}))["items"] == []


# Being alive.


async def test_pings(server: Server) -> None:
    """ "Ping 25 s, timeout 20 s": who answers lives on, longer than both together."""
    async with client(server) as socket:
        socket.answers_pings = False
        for _ in range(3):
            await socket.packet(lambda packet: packet == "2")
            await socket.say("3")
        assert (await socket.ask("notification:list", {}))["items"] == []


async def test_no_answer_to_a_ping(server: Server) -> None:
    """ "Ping 25 s, timeout 20 s": who does not answer is closed."""
    async with client(server) as socket:
        began = time.monotonic()
        socket.answers_pings = False
        await socket.closing(seconds=3)
        assert list(socket.heard) == ["2"]
        assert time.monotonic() - began < 1.5
        await server.audited("WEBSOCKET_DISCONNECT", clientId=socket.handshake["sid"])


async def test_pong_and_close(server: Server) -> None:
    """Engine.IO 4: a pong that nobody asked for is a sign of life; ``1`` ends the session."""
    async with client(server) as socket:
        await socket.say("3")
        assert (await socket.ask("notification:list", {}))["items"] == []
        await socket.say("1")
        await socket.closing(seconds=2)


async def test_everything_is_given_back(server: Server) -> None:
    """ "Each exit path frees everything": closed, dropped or thrown out, no descriptor and no gauge is left."""
    user = await server.person()
    await server.at_rest(server.descriptors())
    before = server.descriptors()
    async with ready(server, user), ready(server, user) as dropped, ready(server, user) as rude:
        assert server.gauge("tidings_connections_active") >= 3
        dropped.wire.transport.abort()
        await rude.say("garbage")
        await rude.closing()
    await server.at_rest(before)


async def test_plain_websocket_ping(server: Server) -> None:
    """RFC 6455, section 5.5.2: a ping frame gets its pong, and counts for nothing else."""
    user = await server.person()
    url = f"ws://127.0.0.1:{server.port}/socket.io/?{QUERY}"
    async with connect(url, additional_headers=user.headers, proxy=None, compression=None) as wire:
        async with asyncio.timeout(2):
            await (await wire.ping(b"are you there"))
