"""Contract, sections 5 and 11: ``GET /notifications/events``, tickets, limits, and what a stream gives back."""

import asyncio
import socket as plain
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.support.server import PAGE, Person, Server, eventually, serving, token_for
from tests.support.sockets import ready
from tests.support.streams import Message, Stream, read, start_job, streaming
from tidings.domain.people import Role

PATH = "/notifications/events"
OWN = "http://tidings.example"
NOTE = {"title": "Hello", "content": "News."}
SETTINGS = {
    "max_streams_per_user": 3,
    "heartbeat": 0.3,
    "stream_idle_timeout": 2,
    "write_timeout": 1,
    "public_url": OWN,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), SETTINGS) as running:
        yield running


async def notify(server: Server, person: Person, count: int = 1, **changes: object) -> list[str]:
    """Notifications of that person; their ids."""
    ids = []
    async with server.http(person) as client:
        for number in range(count):
            answer = await client.post("/notifications", json={**NOTE, "title": f"n{number}", **changes})
            assert answer.status_code == 201, answer.text
            ids.append(answer.json()["id"])
    return ids


async def ticket(server: Server, person: Person, path: str = PATH, **headers: str) -> str:
    async with server.http(person, **headers) as client:
        answer = await client.post("/tickets", json={"for": path})
        assert answer.status_code == 201, answer.text
        assert answer.json().keys() == {"ticket", "expiresAt"}
        return str(answer.json()["ticket"])


async def news(stream: Stream, count: int) -> list[Message]:
    """So many messages of the type ``new``."""
    found: list[Message] = []
    while len(found) < count:
        message = await stream.message()
        found += [message] if message.type == "new" else []
    return found


# What it tells.


async def test_without_credentials(server: Server) -> None:
    """ "401 without valid credentials. Checked before the stream opens"."""
    for headers in ({}, {"Authorization": "Bearer x"}):
        answer = server.get(PATH, **headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHENTICATED")
        assert answer.headers["content-type"] == "application/problem+json"


async def test_ready_new_unread_read(server: Server) -> None:
    """ "First ``{"type": "ready", "unread"}``, then ``new``, ``read``, ``unread``"; "the first event has an id"."""
    user = await server.person()
    async with streaming(server, PATH, user) as stream:
        headers = stream.response.headers
        assert headers["content-type"].split(";")[0] == "text/event-stream"
        assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
        first = await stream.message()
        assert first.data == {"type": "ready", "unread": {"count": 0, "version": 0}}
        assert first.id
        (made,) = await notify(server, user)
        new, unread = await stream.message(), await stream.message()
        assert (new.type, new.data["notification"]["id"]) == ("new", made)
        assert unread.data == {"type": "unread", "count": 1, "version": 1}
        async with server.http(user) as client:
            await client.post(f"/notifications/{made}/read")
        read, left = await stream.message(), await stream.message()
        assert (read.type, read.data["ids"], left.data["count"]) == ("read", [made], 0)
        assert len({message.id for message in (first, new, unread, read, left)}) == 5


async def test_whole_audiences(server: Server) -> None:
    """ "Notifications addressed to a whole tenant or to everyone reach all their users", and nobody else's."""
    root, user = await server.people(Role.SUPER_ADMIN, Role.USER)
    stranger = await server.person()
    async with streaming(server, PATH, user) as near, streaming(server, PATH, stranger) as far:
        await asyncio.gather(near.message(), far.message())
        own = await notify(server, user)
        tenant = await notify(server, root, audience="tenant")
        everyone = await notify(server, root, audience="global")
        found = [message.data["notification"]["id"] for message in await news(near, 3)]
        assert found == own + tenant + everyone
        assert (await far.message()).data["notification"]["id"] == everyone[0]


async def test_resumed_at_every_position(server: Server) -> None:
    """ "``Last-Event-ID`` resumes": exactly what followed, own, tenant's and everyone's."""
    root, user = await server.people(Role.SUPER_ADMIN, Role.USER)
    async with streaming(server, PATH, user) as stream:
        story = [await stream.message()]
        await notify(server, user, 2)
        await notify(server, root, 2, audience="tenant")
        await notify(server, root, 1, audience="global")
        await notify(server, user, 1)
        while len(story) < 10:
            story.append(await stream.message())
    for position, message in enumerate(story):
        async with streaming(server, PATH, user, after=message.id) as again:
            greeting = await again.message()
            assert (greeting.type, greeting.id) == ("ready", message.id)
            rest = [(await again.message()).data for _ in story[position + 1 :]]
        # Between a tenant's events and everyone's there is no order.
        missed = [message.data for message in story[position + 1 :]]
        assert sorted(rest, key=str) == sorted(missed, key=str)
        assert [data for data in rest if not _global(data)] == [data for data in missed if not _global(data)]


def _global(data: dict[str, Any]) -> bool:
    return bool(data["type"] == "new" and data["notification"]["audience"] == "global")


async def test_none_missed_and_none_twice(server: Server) -> None:
    """ "None missed and none twice across the join", however often one drops and resumes in a flood."""
    user = await server.person()
    async with streaming(server, PATH, user) as stream:
        position = (await stream.message()).id
    flood = asyncio.create_task(notify(server, user, 80))
    heard: list[str] = []
    while len(heard) < 80:
        async with streaming(server, PATH, user, after=position) as stream:
            await stream.message()
            for _ in range(5):
                if len(heard) < 80:
                    message = await stream.message()
                    position = message.id
                    heard += [message.data["notification"]["id"]] if message.type == "new" else []
    assert heard == await flood


@pytest.mark.parametrize("after", ["nonsense", "0000000000000000.1.0000000000000000.0"])
async def test_not_resumable(server: Server, after: str) -> None:
    """A position that can't be resumed from is never a partial replay: the client is greeted and begins anew."""
    user = await server.person()
    await notify(server, user, 2)
    async with streaming(server, PATH, user, after=after) as stream:
        first = await stream.message()
        assert (first.type, first.data["unread"]["count"]) == ("ready", 2)
        assert first.id != after
        (made,) = await notify(server, user)
        # What was accepted just before may be published after the greeting; then it is told as well.
        while (await news(stream, 1))[0].data["notification"]["id"] != made:
            pass


# How it ends.


async def test_heartbeat(server: Server) -> None:
    """ "Comment heartbeat every 15 s" (here 0.3 s)."""
    async with streaming(server, PATH, await server.person()) as stream:
        await stream.message()
        for _ in range(3):
            (line,) = await stream.block()
            assert line.startswith(":")


async def test_idle(server: Server) -> None:
    """ "Closed after 5 minutes without an event" (here 2 s): heartbeats are none, and an event begins it anew."""
    user = await server.person()
    async with streaming(server, PATH, user) as busy, streaming(server, PATH, user) as idle:
        began = time.monotonic()
        await idle.message()
        await asyncio.gather(*(busy.block() for _ in range(3)))
        await notify(server, user)
        assert [message.type for message in await idle.rest()] == ["new", "unread"]
        assert 2 <= time.monotonic() - began < 5
        await busy.rest()


async def test_expiry(server: Server) -> None:
    """ "Closed on token expiry"."""
    user = await server.person()
    until = time.time() + 1
    token = token_for(user.id, ttl=1)
    async with streaming(server, PATH, None, Authorization=f"Bearer {token}") as stream:
        await stream.rest()
        assert time.time() < until + 3


async def test_stalled_reader(server: Server) -> None:
    """ "Closed on a write that cannot progress for 20 s" (here 1 s); "others do not notice"."""
    user = await server.person()
    before = server.descriptors()
    with plain.socket() as stuck:
        stuck.setsockopt(plain.SOL_SOCKET, plain.SO_RCVBUF, 4096)
        stuck.connect(("127.0.0.1", server.port))
        stuck.sendall(_request(user))
        async with streaming(server, PATH, user) as stream:
            await stream.message()
            big = {"k": "x" * 8000}
            sent = await notify(server, user, 400, content="y" * 1000, data=big)
            heard = [message.data["notification"]["id"] for message in await news(stream, 400)]
            assert heard == sent
        await server.at_rest(before + 1)


def _request(user: Person) -> bytes:
    lines = [f"GET {PATH} HTTP/1.1", "Host: x", f"Authorization: Bearer {user.token}", "", ""]
    return "\r\n".join(lines).encode()


async def test_every_exit_gives_everything_back(server: Server) -> None:
    """ "Each exit path frees everything: gauges, tasks, subscriptions and file descriptors return"."""
    user = await server.person()
    await read(server, await start_job(server, user, steps=1, delayMs=0), user)
    await server.at_rest(server.descriptors())
    before = server.descriptors()
    job = await start_job(server, user, steps=1, delayMs=100)
    expiring = {"Authorization": f"Bearer {token_for(user.id, ttl=2)}"}
    async with (
        streaming(server, f"/jobs/{job}/events", user) as completed,
        streaming(server, PATH, user) as idle,
        streaming(server, PATH, None, **expiring) as expired,
    ):
        assert server.gauge("tidings_streams_active") == 3
        await asyncio.gather(completed.rest(), idle.rest(), expired.rest())
    with plain.create_connection(("127.0.0.1", server.port)) as reset:
        reset.sendall(_request(user))
        reset.recv(100)
        reset.setsockopt(plain.SOL_SOCKET, plain.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    async with streaming(server, PATH, user) as left:
        await left.message()
    await server.at_rest(before)
    events = ("SSE_CONNECT", "SSE_DISCONNECT")
    await eventually(lambda: all(len(server.security(event, userId=user.id)) == 6 for event in events))


# How many.


async def test_too_many_streams(server: Server) -> None:
    """ "At most 100 streams a user (here 3), 429 beyond", "``TOO_MANY_CONNECTIONS`` with ``Retry-After``"; "counted
    apart from the 20 connections".
    """
    user, colleague = await server.people(Role.USER, Role.USER)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(ready(server, user))
        streams = [await stack.enter_async_context(streaming(server, PATH, user)) for _ in range(3)]
        assert [(await stream.message()).type for stream in streams] == ["ready"] * 3
        answer = server.get(PATH, **user.headers)
        assert (answer.status_code, answer.json()["code"]) == (429, "TOO_MANY_CONNECTIONS")
        assert int(answer.headers["retry-after"]) > 0
        other = await stack.enter_async_context(streaming(server, PATH, colleague))
        assert (await other.message()).type == "ready"
    await opens(server, user)


async def opens(server: Server, person: Person | None, path: str = PATH, **headers: str) -> None:
    """The stream opens, sooner or later: what was given up is free again in a moment."""
    async with asyncio.timeout(5):
        while True:
            async with streaming(server, path, person, **headers) as stream:
                if stream.response.status_code == 200:
                    return


# Tickets.


async def refused(server: Server, path: str, **headers: str) -> dict[str, Any]:
    """The 401 of a ticket that opens nothing."""
    answer = server.get(path, **headers)
    assert answer.status_code == 401
    problem: dict[str, Any] = answer.json()
    return problem


async def test_ticket(server: Server) -> None:
    """ "It opens the stream once"; "re-opens it after its last close, one stream at a time"; "never audited whole"."""
    user = await server.person()
    value = await ticket(server, user)
    path = f"{PATH}?ticket={value}"
    async with streaming(server, path, None) as stream:
        assert (await stream.message()).type == "ready"
        assert (await refused(server, path))["code"] == "UNAUTHENTICATED"
    await opens(server, None, path)
    assert value not in server.child.output


async def test_ticket_elsewhere(server: Server) -> None:
    """ "``?ticket=`` is accepted there alone"; "another path or Origin is 401", "a ticket elsewhere is 401"."""
    user = await server.person()
    job = await start_job(server, user, steps=1, delayMs=0)
    value = await ticket(server, user, Origin=PAGE)
    for path in (f"/jobs/{job}/events", "/notifications", "/notifications/unread", f"/jobs/{job}", "/jobs"):
        await refused(server, f"{path}?ticket={value}", Origin=PAGE)
    await refused(server, f"{PATH}?ticket={value}", Origin="http://localhost:5000")
    await refused(server, f"{PATH}?ticket={value}")
    for broken in ("", "x", value[:-1], f"{value}&ticket={value}"):
        await refused(server, f"{PATH}?ticket={broken}", Origin=PAGE)
    await opens(server, None, f"{PATH}?ticket={value}", Origin=PAGE)


async def test_ticket_of_the_own_origin(server: Server) -> None:
    """ "A ticket bound to the server's own Origin is good without one too"."""
    value = await ticket(server, await server.person(), Origin=OWN)
    await opens(server, None, f"{PATH}?ticket={value}")


async def test_ticket_without_origin(server: Server) -> None:
    """ "Bound to path, user and, if one was sent, Origin": made without one it opens from any allowed page."""
    value = await ticket(server, await server.person())
    await opens(server, None, f"{PATH}?ticket={value}", Origin=PAGE)


async def test_ticket_for_what_is_not_ones_own(server: Server) -> None:
    """ "Allowed for the two event streams"; "asking one for a job that is not one's own is 404"."""
    user, colleague = await server.people(Role.USER, Role.USER)
    job = await start_job(server, colleague, steps=1, delayMs=0)
    async with server.http(user) as client:
        for path in (f"/jobs/{job}/events", "/jobs/x/events", "/notifications", "/", "//evil.example"):
            answer = await client.post("/tickets", json={"for": path})
            assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    async with server.http() as nobody:
        assert (await nobody.post("/tickets", json={"for": PATH})).status_code == 401


async def test_ticket_after_the_end(server: Server) -> None:
    """ "After the terminal event it still gets its 204"."""
    user = await server.person()
    job = await start_job(server, user, steps=1, delayMs=0)
    path = f"/jobs/{job}/events"
    value = await ticket(server, user, path)
    async with streaming(server, f"{path}?ticket={value}", None) as stream:
        last = (await stream.rest())[-1]
    again = {"Last-Event-ID": last.id}
    await eventually(lambda: server.get(f"{path}?ticket={value}", **again).status_code == 204)
