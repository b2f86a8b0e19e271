"""Contract, section 4, over long-polling: the same door, limits and rules as by WebSocket, and as little kept."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.engineio import Ended, Polling, joining, opened, polling, probing
from tests.support.server import Person, Server, eventually, serving
from tidings.domain.ids import is_id
from tidings.domain.people import Role

PATH = "/socket.io/"
V4 = {"EIO": "4", "transport": "polling"}
PAGE, STRANGE = "https://app.example", "https://evil.example"
NAMESPACE = "/notifications"
NOTE = {"title": "Hello", "content": "News."}
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"allowed_origins": PAGE, "ping_interval": 2, "ping_timeout": 2}
    with serving(tmp_path_factory.mktemp("polling"), settings) as running:
        yield running


def asking(server: Server, **headers: str) -> httpx.AsyncClient:
    return server.http(None, **headers)


@asynccontextmanager
async def ready(server: Server, person: Person) -> AsyncIterator[Polling]:
    """A session that polls and has been let in."""
    async with polling(server.port, PATH) as session:
        await let_in(session, person)
        yield session


async def let_in(session: Polling, person: Person) -> None:
    await session.say(f"40{NAMESPACE},{json.dumps({'token': person.token})}")
    assert str(await session.hear()).startswith(f"40{NAMESPACE},{{")
    assert str(await session.hear()).startswith(f'42{NAMESPACE},["notification:ready"')


@pytest.mark.parametrize("polls", [False, True])
async def test_refused_during_an_upgrade(server: Server, polls: bool) -> None:  # noqa: FBT001  two cases of one
    """ "CONNECT_ERROR": whoever is refused hears why, also between the probe and the upgrade, when nobody polls."""
    refusals = len(server.security("AUTHENTICATION_FAILED"))
    async with polling(server.port, PATH) as session:
        await session.ask()
        async with probing(session) as socket:
            assert await session.packets() == ["6"]
            await session.say(f'40{NAMESPACE},{{"token":"not.a.token"}}')
            await eventually(lambda: len(server.security("AUTHENTICATION_FAILED")) > refusals)
            if polls:
                await session.ask()
                refused, goodbye = await session.packets()
                assert goodbye == "1"
            else:
                await socket.say("5")
                refused = await socket.hear()
            assert str(refused).startswith(f"44{NAMESPACE},")
            assert "UNAUTHENTICATED" in str(refused)
            await socket.ended()


# The door.


@pytest.mark.parametrize("origin", [STRANGE, "null", "", "https://app.example.evil.example"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_from_elsewhere(server: Server, method: str, origin: str) -> None:
    """ "A present Origin that is not allowed, empty and ``null`` included, is 403 on every surface: polling"."""
    async with asking(server, Origin=origin) as client:
        answer = await client.request(method, PATH, params=V4)
    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
    assert "access-control-allow-origin" not in answer.headers
    await server.audited("ORIGIN_REJECTED", origin=origin)


async def test_from_an_allowed_page(server: Server) -> None:
    """CORS: an allowed page may read every answer, refusals too, and no other page may."""
    async with asking(server, Origin=PAGE) as client:
        opening = await client.get(PATH, params=V4)
        unknown = await client.post(PATH, params={**V4, "sid": "unknown"}, content=b"4x")
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        preflight = await client.options(PATH, params=V4, headers=asked)
    assert (opening.status_code, unknown.status_code, preflight.status_code) == (200, 400, 204)
    for answer in (opening, unknown, preflight):
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "origin" in answer.headers["vary"].lower()
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "authorization" in preflight.headers["access-control-allow-headers"].lower()


async def test_every_answer_is_personal(server: Server) -> None:
    """ "Every response: ``X-Content-Type-Options: nosniff``, ...; no header names the software beneath"."""
    async with asking(server) as client:
        for answer in (await client.get(PATH, params=V4), await client.get(PATH)):
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["cache-control"] == "no-store"
            assert "server" not in answer.headers


async def test_token_in_the_query(server: Server) -> None:
    """ "A token in a query string is refused and audited"."""
    async with asking(server) as client:
        answer = await client.get(PATH, params={**V4, "token": "secret"})
    assert answer.status_code == 401
    await server.audited("SECURITY_VIOLATION", reason="token_in_query")
    assert "secret" not in server.child.output


@pytest.mark.parametrize(
    "changes",
    [{"j": "0"}, {"EIO": "2"}, {"EIO": ""}, {"transport": "flashsocket"}, {"transport": ""}, {"sid": ""}],
)
async def test_what_is_not_spoken(server: Server, changes: dict[str, str]) -> None:
    """ "no JSONP", and no protocol, transport or session that there is not."""
    async with asking(server) as client:
        answer = await client.get(PATH, params={**V4, **changes})
    assert (answer.status_code, answer.json()["code"]) == (400, "MALFORMED")


async def test_other_paths_are_nobodys(server: Server) -> None:
    """Only the path of the contract is Socket.IO's."""
    async with asking(server) as client:
        for path in ("/socket.io/more", "/socket.iox", "/socket.io"):
            assert (await client.get(path, params=V4)).status_code == 404, path


# What may be said.


async def test_a_body_that_is_too_large(server: Server) -> None:
    """ "Size limits before the body is read whole"; "an oversize message closes the connection"."""
    user = await server.person()
    async with ready(server, user) as session:
        assert (await session.post(b"4" + b"x" * 64 * 1024)).status == 413
        assert (await session.poll()).status == 400


async def test_a_client_that_has_not_said_who_it_is(server: Server) -> None:
    """ "Until authentication has finished a connection receives nothing"; an event before it closes."""
    admin = await server.person(Role.ADMIN)
    async with polling(server.port, PATH) as session, server.http(admin) as http:
        await session.ask()
        assert (await http.post("/notifications", json={**NOTE, "audience": "tenant"})).status_code == 201
        assert (await session.post(f'42{NAMESPACE},["notification:list",{{}}]'.encode())).status == 400
        assert await session.packets() == ["1"]


async def test_a_wrong_token(server: Server) -> None:
    """ "the same CONNECT_ERROR ... and are closed within 1 s"."""
    async with polling(server.port, PATH) as session:
        await session.say(f'40{NAMESPACE},{{"token":"no.such.token"}}')
        refusal = await session.hear()
        assert refusal == (
            f'44{NAMESPACE},{{"message":"Authentication failed","data":{{"code":"UNAUTHENTICATED"}}}}'
        )
        assert await session.ended() == 400


@pytest.mark.parametrize("said", ['452-/notifications,["x"]', '42/notifications,["disconnect"]', "abc", "2"])
async def test_what_breaks_the_rules(server: Server, said: str) -> None:
    """ "A reserved event name, a malformed packet ... closes the connection"; binary is not for this namespace."""
    user = await server.person()
    async with ready(server, user) as session:
        assert (await session.post(said.encode())).status == 400
        assert (await session.poll()).status == 400


async def test_events_of_a_user(server: Server) -> None:
    """What WebSockets hear a polling client hears, in order; acks come as ever."""
    user = await server.person()
    async with ready(server, user) as session, server.http(user) as http:
        for number in range(3):
            await http.post("/notifications", json={**NOTE, "title": str(number)})
        told = [str(await session.hear()) for _ in range(6)]
        titles = [
            json.loads(text.partition(",")[2])[1]["notification"]["title"] for text in told if ":new" in text
        ]
        assert titles == ["0", "1", "2"]
        await session.say(f'42{NAMESPACE},7["notification:list",{{"limit":1}}]')
        assert str(await session.hear()).startswith(f'43{NAMESPACE},7[{{"items":')


# Socket.IO 2.


async def test_a_token_behind_the_namespace(server: Server) -> None:
    """ "A token in a query string is refused and audited": Socket.IO 2 may put a query behind the namespace."""
    user = await server.person()
    before = len(server.security("SECURITY_VIOLATION"))
    async with opened(server.port, PATH, "polling", 3) as session:
        assert await session.hear() == "40"
        await session.say(f"40{NAMESPACE}?token={user.token}")
        assert str(await session.hear()).startswith(f"44{NAMESPACE},")
    await eventually(lambda: len(server.security("SECURITY_VIOLATION")) > before)
    assert user.token not in server.child.output


# What is left.


async def test_everything_is_given_back(server: Server) -> None:
    """Sessions that left, were upgraded, broke the rules or went silent leave nothing behind."""
    user = await server.person()
    before = server.descriptors()
    for _ in range(3):
        async with ready(server, user) as session:
            await session.say("1")
        async with ready(server, user) as session, probing(session) as socket:
            await socket.say("5")
            assert server.gauge('tidings_connections_active{transport="websocket"}') >= 0
        async with ready(server, user) as session, joining(session) as socket:
            await socket.say("nonsense")
            with pytest.raises(Ended):
                await socket.hear()
            await session.say(f'42{NAMESPACE},["notification:list",{{}}]')
        async with ready(server, user) as session:
            await session.ask()
    await server.at_rest(before)


async def test_silence(tmp_path: Path) -> None:
    """A client that polls no more is found by its missing pong, and its place is given back."""
    settings = {"ping_interval": 0.2, "ping_timeout": 0.2, "max_connections_per_user": 1}
    with serving(tmp_path, settings) as quick:
        user = await quick.person()
        async with polling(quick.port, PATH) as session:
            await let_in(session, user)
            await eventually(lambda: not quick.gauge("tidings_connections_active"))
            assert (await session.poll()).status == 400
        async with ready(quick, user):
            assert quick.gauge("tidings_connections_active") == 1


async def test_limits_are_those_of_connections(tmp_path: Path) -> None:
    """ "connections per IP"; "Beyond the limit per IP: HTTP 429"; at the process's limit 503 and when to return."""
    with serving(tmp_path, {"max_connections_per_ip": 2}) as small:
        async with polling(small.port, PATH), polling(small.port, PATH), asking(small) as client:
            answer = await client.get(PATH, params=V4)
            assert (answer.status_code, answer.json()["code"]) == (429, "TOO_MANY_CONNECTIONS")
            assert int(answer.headers["retry-after"]) > 0
    with serving(tmp_path, {"handshake_rate": 1}) as slow, httpx.Client(base_url=slow.url) as one:
        answers = await asyncio.gather(*(asyncio.to_thread(one.get, PATH, params=V4) for _ in range(5)))
        refused = [answer for answer in answers if answer.status_code == 503]
        assert refused
        assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)


async def test_requests_are_counted(server: Server) -> None:
    """Contract, section 8: long-polling and refused handshakes are counted like other requests, and have an id."""
    lines = [
        'tidings_http_requests_total{method="GET",route="/socket.io/",status="200"}',
        'tidings_http_requests_total{method="POST",route="/socket.io/",status="200"}',
        'tidings_http_requests_total{method="GET",route="/socket.io/",status="403"}',
    ]
    before = exposed(server, lines)
    user = await server.person()
    async with ready(server, user) as session:
        assert is_id(
            (await session.post(b'42/notifications,["notification:list",{}]')).headers["x-request-id"]
        )
    async with asking(server, Origin=STRANGE) as client:
        refused = await client.get(PATH, params={**V4, "transport": "websocket"}, headers=UPGRADE)
    assert refused.status_code == 403
    assert refused.headers["x-request-id"] == refused.json()["requestId"]
    polls, posts, refusals = (now - then for now, then in zip(exposed(server, lines), before, strict=True))
    assert polls >= 2
    assert (posts, refusals) == (2, 1)
    assert 'tidings_http_request_seconds_count{route="/socket.io/"}' not in server.get("/metrics").text


def exposed(server: Server, lines: list[str]) -> list[float]:
    """The values of these lines of the exposition."""
    values = dict(line.rsplit(" ", 1) for line in server.get("/metrics").text.splitlines())
    return [float(values.get(line, 0)) for line in lines]
