"""Contract, section 4: who gets into ``/notifications``, from where, how many, and for how long."""

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.support.installed import TIDINGS
from tests.support.server import PAGE, SECRET, Server, forged, serving, token_for
from tests.support.sockets import NAMESPACE, QUERY, Socket, opened, ready
from tests.support.streams import streaming
from tidings.domain.ids import new_id
from tidings.domain.people import Role

OWN = "https://tidings.example"
ALLOWED = "https://app.example:8443"
REFUSED = {"message": "Authentication failed", "data": {"code": "UNAUTHENTICATED"}}
SETTINGS = {"auth_timeout": 1, "allowed_origins": ALLOWED, "public_url": OWN}

STRANGE_ORIGINS = [
    "https://evil.example",
    "https://app.example",
    "https://app.example:8444",
    "http://app.example:8443",
    "https://APP.example:8443",
    "https://app.example:8443/",
    "https://app.example:8443.evil.example",
    "http://localhost:3001",
    "http://localhost",
    "null",
    "",
    "*",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), SETTINGS) as running:
        yield running


async def refused(server: Server, query: str = QUERY, **headers: str) -> Any:
    """The HTTP answer to an upgrade that is not let through."""
    with pytest.raises(InvalidStatus) as caught:
        async with opened(server, query, **headers):
            pass
    return caught.value.response


async def connect_error(socket: Socket) -> dict[str, Any]:
    """The CONNECT_ERROR's payload, after which the connection is closed within 1 s."""
    head = f"44{NAMESPACE},"
    packet = await socket.packet()
    assert packet.startswith(head)
    await socket.closing(seconds=1)
    assert not socket.heard
    answer: dict[str, Any] = json.loads(packet[len(head) :])
    return answer


# From where.


@pytest.mark.parametrize("origin", STRANGE_ORIGINS)
async def test_upgrade_from_elsewhere(server: Server, origin: str) -> None:
    """ "A present Origin that is not allowed, empty and ``null`` included, is 403 on every surface"."""
    answer = await refused(server, Origin=origin)
    problem = json.loads(answer.body)
    assert (answer.status_code, problem["code"]) == (403, "FORBIDDEN")
    assert answer.headers["Content-Type"] == "application/problem+json"
    await server.audited("ORIGIN_REJECTED")


@pytest.mark.parametrize("origin", STRANGE_ORIGINS)
async def test_http_from_elsewhere(server: Server, origin: str) -> None:
    """ "... is 403 on every surface: handshake, upgrade, polling, SSE, REST, CORS preflight"."""
    asked = {"Access-Control-Request-Method": "GET"}
    async with server.http(await server.person(), Origin=origin) as client:
        for path in ("/notifications", "/notifications/events", "/jobs/x/events", "/healthz"):
            for answer in (await client.get(path), await client.options(path, headers=asked)):
                assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
                assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origin", [ALLOWED, OWN, PAGE, "http://localhost:5000"])
async def test_from_allowed_pages(server: Server, origin: str) -> None:
    """ "Exact match against TIDINGS_ALLOWED_ORIGINS and TIDINGS_PUBLIC_URL; in development also localhost"."""
    user = await server.person()
    async with opened(server, Origin=origin) as socket:
        await socket.connect({"token": user.token})
        assert (await socket.event("notification:ready"))["user"]["id"] == user.id
    async with server.http(user, Origin=origin) as client:
        answer = await client.get("/notifications")
    assert answer.headers["access-control-allow-origin"] == origin


async def test_host_names_no_origin(server: Server) -> None:
    """ "(The server's own address, never taken from ``Host``)": what Host says is no allowed origin."""
    assert (await refused(server, Origin=server.url)).status_code == 403
    assert server.get("/healthz", Host="evil.example", Origin="http://evil.example").status_code == 403


# With what.


async def test_token_in_the_header(server: Server) -> None:
    """ "``Authorization: Bearer`` on HTTP and on the WebSocket upgrade, or ``auth.token``"; a missing Origin is fine."""
    user = await server.person()
    async with opened(server, **user.headers) as socket:
        await socket.connect()
        assert (await socket.event("notification:ready"))["user"]["id"] == user.id


async def test_the_same_token_twice(server: Server) -> None:
    """ "Two differing credentials in one request are refused": the same one twice is one."""
    user = await server.person()
    async with opened(server, **user.headers) as socket:
        await socket.connect({"token": user.token})
        assert (await socket.event("notification:ready"))["user"]["id"] == user.id


async def test_two_credentials(server: Server) -> None:
    """ "Two differing credentials in one request are refused", even two good ones of one user."""
    user = await server.person()
    async with opened(server, **user.headers) as socket:
        await socket.connect({"token": token_for(user.id, ttl=99)})
        assert await connect_error(socket) == REFUSED


def bad_tokens() -> dict[str, object]:
    """What is wrong, and the ``auth`` that has it."""
    now, nobody = int(time.time()), new_id()
    good = {"sub": nobody, "exp": now + 600}
    return {
        "missing": {},
        "null": {"token": None},
        "empty": {"token": ""},
        "no text": {"token": 7},
        "garbage": {"token": "garbage"},
        "three parts of garbage": {"token": "a.b.c"},
        "unknown user": {"token": forged(good)},
        "malformed subject": {"token": forged({**good, "sub": "../etc"})},
        "expired": {"token": forged({**good, "exp": now - 60})},
        "without exp": {"token": forged({"sub": nobody})},
        "exp as text": {"token": forged({**good, "sub": nobody, "nbf": "1"})},
        "too far ahead": {"token": forged({**good, "exp": now + 367 * 86400})},
        "another secret": {"token": forged(good, secret=SECRET[::-1])},
        "another algorithm": {"token": forged(good, secret=SECRET * 2, algorithm="HS512")},
        "unsigned": {"token": forged(good, secret="", algorithm="none")},
        "huge": {"token": "x" * 9000},
    }


@pytest.mark.parametrize("fault", bad_tokens())
async def test_bad_tokens(server: Server, fault: str) -> None:
    """ "Wrong, missing, expired, malformed tokens get the same CONNECT_ERROR and are closed within 1 s"."""
    async with opened(server) as socket:
        await socket.connect(bad_tokens()[fault])
        assert await connect_error(socket) == REFUSED
        event = "TOKEN_EXPIRED" if fault == "expired" else "AUTHENTICATION_FAILED"
        await server.audited(event, clientId=socket.handshake["sid"])


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer a b", "bearer garbage"])
async def test_bad_headers(server: Server, header: str) -> None:
    """ "Malformed tokens get the same CONNECT_ERROR", in the header as well."""
    async with opened(server, Authorization=header) as socket:
        await socket.connect()
        assert await connect_error(socket) == REFUSED


@pytest.mark.parametrize("payload", ['"text"', "[]", "7", "null", "true", "{", "{}x", '{"a":1,"a":2}'])
async def test_connect_with_no_object(server: Server, payload: str) -> None:
    """ "So is a CONNECT whose payload is not an object"."""
    user = await server.person()
    async with opened(server, **user.headers) as socket:
        await socket.say(f"40{NAMESPACE},{payload}")
        assert await connect_error(socket) == REFUSED


@pytest.mark.parametrize("name", ["token", "access_token", "auth"])
async def test_token_in_the_query_of_an_upgrade(server: Server, name: str) -> None:
    """ "A token in a query string is ``SECURITY_VIOLATION``, reason ``token_in_query``"; refused with 401."""
    user = await server.person()
    answer = await refused(server, f"{QUERY}&{name}={user.token}", **{"User-Agent": user.id})
    assert (answer.status_code, json.loads(answer.body)["code"]) == (401, "UNAUTHENTICATED")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    line = await server.audited("SECURITY_VIOLATION", userAgent=user.id)
    assert (line["reason"], line["level"]) == ("token_in_query", "error")
    assert user.token not in server.child.output


@pytest.mark.parametrize("path", ["/notifications", "/notifications/events", "/jobs/x/events"])
async def test_token_in_the_query_of_a_request(server: Server, path: str) -> None:
    """ "A token in a query string is refused and audited", a good one in the header beside it or not."""
    user = await server.person()
    async with server.http(user, **{"User-Agent": user.id}) as client:
        answer = await client.get(path, params={"token": user.token})
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert (await server.audited("SECURITY_VIOLATION", userAgent=user.id))["reason"] == "token_in_query"


async def test_who_says_nothing(server: Server) -> None:
    """ "A connection that has not authenticated after it opened is closed. Until then it receives nothing"."""
    admin = await server.person(Role.ADMIN)
    async with opened(server) as silent, server.http(admin) as client:
        told = {"title": "All", "content": "of you", "audience": "tenant"}
        assert (await client.post("/notifications", json=told)).status_code == 201
        await silent.closing(seconds=3)
        assert not silent.heard
        await server.audited("AUTHENTICATION_TIMEOUT", clientId=silent.handshake["sid"])


# How many.


async def test_twenty_connections(server: Server) -> None:
    """ "The 21st connection of a user is refused with CONNECT_ERROR TOO_MANY_CONNECTIONS; the 20 live on"."""
    user = await server.person()
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(ready(server, user)) for _ in range(20)]
        async with opened(server) as one_more:
            await one_more.connect({"token": user.token})
            assert (await connect_error(one_more))["data"]["code"] == "TOO_MANY_CONNECTIONS"
        answers = await asyncio.gather(*(socket.ask("notification:list", {}) for socket in sockets))
        assert answers == [{"items": [], "nextCursor": None}] * 20
        await server.audited("CONNECTION_LIMIT_EXCEEDED", userId=user.id)
    async with ready(server, user) as socket:
        assert socket.events() == []


# For how long.


async def test_expiry(server: Server) -> None:
    """ "Expiry ends live connections within 5 s of ``exp``"; "``auth:expiring`` 60 s before"; streams too."""
    user = await server.person()
    token, until = token_for(user.id, ttl=2), time.time() + 2
    as_user = {"Authorization": f"Bearer {token}"}
    async with (
        opened(server, **as_user) as socket,
        streaming(server, "/notifications/events", None, **as_user) as stream,
    ):
        await socket.connect()
        expiring = await socket.event("auth:expiring")
        assert expiring.keys() == {"expiresAt"}
        await socket.closing()
        await stream.rest()
        assert until - 1 <= time.time() <= until + 5
    await server.audited("TOKEN_EXPIRED", userId=user.id)


async def test_refresh(server: Server) -> None:
    """ "A connection may refresh in band without dropping": it outlives one that did not."""
    user = await server.person()
    token = token_for(user.id, ttl=2)
    async with opened(server) as refreshed, opened(server) as left_alone:
        for socket in (refreshed, left_alone):
            await socket.connect({"token": token})
            await socket.event("notification:ready")
        answer = await refreshed.ask("auth:refresh", {"token": user.token})
        assert answer.keys() == {"expiresAt"}
        await left_alone.closing()
        assert (await refreshed.ask("notification:list", {}))["items"] == []


async def test_refresh_of_somebody_else(server: Server) -> None:
    """ "``auth:refresh``: new expiry, same user only": anything else is refused and changes nothing."""
    user, other = await server.people(Role.USER, Role.USER)
    async with ready(server, user) as socket:
        for token in (other.token, "garbage"):
            answer = await socket.ask("auth:refresh", {"token": token})
            assert answer["error"]["code"] == "UNAUTHENTICATED"
        created = await socket.ask("notification:create", {"title": "t", "content": "c"})
        assert created["userId"] == user.id


async def test_deactivation(server: Server) -> None:
    """ "Revocation, deactivation end live connections on every node: within 1 s of the revocation"."""
    user = await server.person()
    env = {"TIDINGS_DATABASE_URL": server.database, "TIDINGS_JWT_SECRET": SECRET, "TIDINGS_ENV": "test"}
    command = [str(TIDINGS), "users", "deactivate", user.id]
    async with ready(server, user) as socket, streaming(server, "/notifications/events", user) as stream:
        await asyncio.to_thread(subprocess.run, command, env=env, check=True, capture_output=True)
        await socket.closing(seconds=1.5)
        await stream.rest()
    async with opened(server) as again:
        await again.connect({"token": user.token})
        assert await connect_error(again) == REFUSED


async def test_leaving_the_namespace(server: Server) -> None:
    """A client that leaves the namespace hears nothing more; its connection has to authenticate anew, or ends."""
    user = await server.person()
    async with ready(server, user) as socket, ready(server, user) as other:
        await socket.say(f"41{NAMESPACE},")
        await other.ask("notification:create", {"title": "t", "content": "c"})
        await server.audited("WEBSOCKET_DISCONNECT", clientId=socket.handshake["sid"])
        await socket.closing()
        assert not socket.heard
