"""Contract, section 4: what each client event does, for whom, and within which limits."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.server import Server, serving
from tests.support.sockets import Socket, joined, ready
from tests.support.streams import start_job
from tidings.domain.ids import new_id
from tidings.domain.people import Role

NOTE = {"title": "Hello", "content": "News."}
FIELDS = {
    "id", "tenantId", "audience", "userId", "title", "content", "priority", "data",
    "createdAt", "createdBy", "readAt", "archivedAt",
}  # fmt: skip
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running


async def create(socket: Socket, **changes: object) -> dict[str, Any]:
    """The ack of ``notification:create``."""
    answer: dict[str, Any] = await socket.ask("notification:create", {**NOTE, **changes})
    return answer


async def code(socket: Socket, **changes: object) -> str:
    """The code with which a ``notification:create`` is refused."""
    return str((await create(socket, **changes))["error"]["code"])


async def new(socket: Socket) -> str:
    """The id of the next notification that arrives."""
    return str((await socket.event("notification:new"))["notification"]["id"])


# Being let in.


async def test_ready(server: Server) -> None:
    """ "``notification:ready {user, rooms, unread: {count, version}, recovered}`` after CONNECT", with a position."""
    user = await server.person()
    async with server.http(user) as client:
        await client.post("/notifications", json=NOTE)
    async with joined(server, user) as socket:
        said, position = await socket.event_args("notification:ready")
        assert said.keys() == {"user", "rooms", "unread", "recovered"}
        assert said["unread"] == {"count": 1, "version": 1}
        assert isinstance(position, str)


@pytest.mark.parametrize("role", Role)
async def test_rooms(server: Server, role: Role) -> None:
    """ "Everyone ``user:{id}``; ADMIN and SUPER_ADMIN also ``tenant:{tenantId}``; SUPER_ADMIN also ``global``"."""
    person = await server.person(role)
    own, tenant = f"user:{person.id}", f"tenant:{person.tenant_id}"
    rooms = {Role.USER: [own], Role.ADMIN: [own, tenant], Role.SUPER_ADMIN: [own, tenant, "global"]}
    async with joined(server, person) as socket:
        said = await socket.event("notification:ready")
        assert said["rooms"] == rooms[role]
        assert said["user"].items() >= {"id": person.id, "tenantId": person.tenant_id, "role": role}.items()
        assert said["recovered"] is False


# Creating.


async def test_create_for_oneself(server: Server) -> None:
    """ "Acks: ``notification:create`` the notification"; "``notification:new``", "``notification:unread``"."""
    user = await server.person()
    async with ready(server, user) as socket:
        made = await create(socket, priority="high", data={"n": [1, "ä"]})
        assert made.keys() == FIELDS
        assert (made["audience"], made["userId"], made["createdBy"]) == ("user", user.id, user.id)
        assert (made["priority"], made["data"], made["readAt"]) == ("high", {"n": [1, "ä"]}, None)
        assert TIME.fullmatch(made["createdAt"])
        assert (await socket.event_args("notification:new"))[0] == {"notification": made}
        assert await socket.event("notification:unread") == {"count": 1, "version": 1}


async def test_create_without_ack(server: Server) -> None:
    """ "Each may carry an ack": without one the event is done all the same, and nothing is acked."""
    async with ready(server, await server.person()) as socket:
        await socket.emit("notification:create", NOTE)
        await socket.event("notification:unread")
        assert socket.events() == ["notification:new"]


async def test_user_creates_for_nobody_else(server: Server) -> None:
    """ "USER: for themself"; "a user one can't see is 404; an audience one may not address is 403"."""
    user, colleague = await server.people(Role.USER, Role.USER)
    stranger = await server.person()
    async with ready(server, user) as socket, ready(server, colleague) as other:
        for somebody in (colleague.id, stranger.id, new_id(), "no id"):
            assert await code(socket, userId=somebody) == "NOT_FOUND"
        assert await code(socket, audience="tenant") == "FORBIDDEN"
        assert await code(socket, audience="global") == "FORBIDDEN"
        assert (await create(socket, userId=user.id))["userId"] == user.id
        assert await other.quiet()
    await server.audited("UNAUTHORIZED_ACCESS_ATTEMPT", userId=user.id)


async def test_admin_creates_in_the_tenant(server: Server) -> None:
    """ "ADMIN: users of the tenant or the tenant"; "an ADMIN may send the own ``tenantId`` only"."""
    admin, user = await server.people(Role.ADMIN, Role.USER)
    stranger = await server.person()
    async with ready(server, admin) as socket, ready(server, user) as other, ready(server, stranger) as away:
        to_user = await create(socket, userId=user.id)
        assert await new(other) == to_user["id"]
        to_tenant = await create(socket, audience="tenant", tenantId=admin.tenant_id)
        assert await new(other) == await new(socket) == to_tenant["id"]
        assert await code(socket, userId=stranger.id) == "NOT_FOUND"
        assert await code(socket, audience="tenant", tenantId=stranger.tenant_id) == "NOT_FOUND"
        assert await code(socket, userId=user.id, tenantId=stranger.tenant_id) == "NOT_FOUND"
        assert await code(socket, audience="global") == "FORBIDDEN"
        assert await away.quiet()


async def test_super_admin_creates_anywhere(server: Server) -> None:
    """ "SUPER_ADMIN: anyone, any tenant, everyone"; "a SUPER_ADMIN's default tenant is the own"."""
    root, user = await server.people(Role.SUPER_ADMIN, Role.USER)
    stranger = await server.person()
    async with ready(server, root) as socket, ready(server, user) as near, ready(server, stranger) as far:
        assert (await create(socket, userId=stranger.id))["tenantId"] == stranger.tenant_id
        await new(far)
        there = await create(socket, audience="tenant", tenantId=stranger.tenant_id)
        assert await new(far) == there["id"]
        here = await create(socket, audience="tenant")
        assert (here["tenantId"], await new(near)) == (root.tenant_id, here["id"])
        everywhere = (await create(socket, audience="global"))["id"]
        assert await new(near) == await new(far) == everywhere
        assert await code(socket, audience="tenant", tenantId=new_id()) == "NOT_FOUND"


async def test_strangers_and_nobody_are_alike(server: Server) -> None:
    """ "Whatever belongs to someone else answers exactly as if it did not exist"."""
    admin = await server.person(Role.ADMIN)
    stranger = await server.person()
    async with ready(server, admin) as socket:
        answers = [await create(socket, userId=somebody) for somebody in (stranger.id, new_id(), "x")]
        assert answers == [{"error": {"message": "Not found", "code": "NOT_FOUND"}}] * 3


@pytest.mark.parametrize("letter", ["a", "é", "日", "🦔"])
async def test_lengths(server: Server, letter: str) -> None:
    """ "``title`` 1..200, ``content`` 1..1000": "lengths count Unicode code points"."""
    async with ready(server, await server.person()) as socket:
        longest = await create(socket, title=letter * 200, content=letter * 1000)
        assert (longest["title"], longest["content"]) == (letter * 200, letter * 1000)
        answer = await create(socket, title=letter * 201, content=letter * 1001)
        assert [fault["field"] for fault in answer["error"]["errors"]] == ["title", "content"]


async def test_size_of_data(server: Server) -> None:
    """ "``data? object <= 8 KiB``": "``data`` counts UTF-8 bytes of its compact JSON"."""
    async with ready(server, await server.person()) as socket:
        fits = {"k": "é" * ((8192 - 8) // 2)}
        assert len(json.dumps(fits, ensure_ascii=False, separators=(",", ":")).encode()) == 8192
        assert (await create(socket, data=fits))["data"] == fits
        answer = await create(socket, data={"k": fits["k"] + "e"})
        assert [fault["field"] for fault in answer["error"]["errors"]] == ["data"]


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"content": "c"}, "title"),
        ({**NOTE, "title": ""}, "title"),
        ({**NOTE, "title": 7}, "title"),
        ({**NOTE, "title": None}, "title"),
        ({**NOTE, "content": ""}, "content"),
        ({**NOTE, "priority": "urgent"}, "priority"),
        ({**NOTE, "audience": "world"}, "audience"),
        ({**NOTE, "data": []}, "data"),
        ({**NOTE, "data": "text"}, "data"),
        ({**NOTE, "unknown": 1}, "unknown"),
        ({**NOTE, "user_id": "x"}, "user_id"),
        ({**NOTE, "userId": 5}, "userId"),
        ("text", ""),
        ([], ""),
    ],
)
async def test_faults_are_named(server: Server, data: object, field: str) -> None:
    """ "``notification:error {message, code, errors?}``", the ack too, with ``errors: [{field, message}]``."""
    async with ready(server, await server.person()) as socket:
        answer = await socket.ask("notification:create", data)
        assert answer["error"]["code"] == "VALIDATION_FAILED"
        assert [fault["field"] for fault in answer["error"]["errors"]] == [field]
        assert all(fault.keys() == {"field", "message"} for fault in answer["error"]["errors"])
        assert await socket.event("notification:error") == answer["error"]
        assert "pydantic" not in json.dumps(answer)


# Reading.


async def test_mark_read(server: Server) -> None:
    """ "``mark-read`` marks, tells all the user's connections"; "``{updated, unread: {count, version}}``"."""
    user = await server.person()
    async with ready(server, user) as socket, ready(server, user) as other:
        first, second, third = [(await create(socket))["id"] for _ in range(3)]
        one = await socket.ask("notification:mark-read", {"notificationId": first})
        assert (one["updated"], one["unread"]["count"]) == (1, 2)
        read = await other.event("notification:read")
        assert read["ids"] == [first]
        assert TIME.fullmatch(read["readAt"])
        two = await socket.ask("notification:mark-read", {"notificationIds": [first, second, third, "x"]})
        assert (two["updated"], two["unread"]["count"]) == (2, 0)
        assert sorted((await other.event("notification:read"))["ids"]) == sorted([second, third])
        counts = [await other.event("notification:unread") for _ in range(5)]
        assert [count["count"] for count in counts] == [1, 2, 3, 2, 0]
        versions = [count["version"] for count in counts]
        assert versions == sorted(set(versions))


async def test_mark_read_of_a_stranger(server: Server) -> None:
    """ "Whatever belongs to someone else answers as if it did not exist": nothing changes."""
    user, colleague = await server.people(Role.USER, Role.USER)
    async with ready(server, user) as socket, ready(server, colleague) as other:
        theirs = (await create(other))["id"]
        answers = [
            await socket.ask("notification:mark-read", {"notificationId": i}) for i in (theirs, new_id())
        ]
        assert answers[0] == answers[1]
        assert (await other.ask("notification:list", {"unread": True}))["items"][0]["id"] == theirs


@pytest.mark.parametrize(
    "data", [{}, {"notificationIds": []}, {"notificationIds": ["x"] * 101}, {"notificationId": 1}]
)
async def test_mark_read_of_nothing(server: Server, data: object) -> None:
    """ "``{notificationId}`` or ``{notificationIds: [..<=100]}``"."""
    async with ready(server, await server.person()) as socket:
        answer = await socket.ask("notification:mark-read", data)
        assert answer["error"]["code"] == "VALIDATION_FAILED"


async def test_mark_all_read(server: Server) -> None:
    """ "``notification:mark-all-read`` likewise": "``notification:read {ids | all, readAt}``"."""
    admin, user = await server.people(Role.ADMIN, Role.USER)
    async with ready(server, user) as socket, ready(server, user) as other, ready(server, admin) as chief:
        await create(socket)
        await create(chief, audience="tenant")
        await new(other)
        await new(other)
        answer = await socket.ask("notification:mark-all-read", {})
        assert (answer["updated"], answer["unread"]["count"]) == (2, 0)
        assert (await other.event("notification:read"))["all"] is True
        assert (await chief.ask("notification:list", {"unread": True}))["items"] != []


async def test_list(server: Server) -> None:
    """ "``notification:list {cursor?, limit? <= 100, unread?}``: inbox page", the newest first."""
    async with ready(server, await server.person()) as socket:
        ids = [(await create(socket))["id"] for _ in range(3)]
        await socket.ask("notification:mark-read", {"notificationId": ids[1]})
        page = await socket.ask("notification:list", {"limit": 2})
        assert [item["id"] for item in page["items"]] == [ids[2], ids[1]]
        rest = await socket.ask("notification:list", {"limit": 2, "cursor": page["nextCursor"]})
        assert ([item["id"] for item in rest["items"]], rest["nextCursor"]) == ([ids[0]], None)
        unread = await socket.ask("notification:list", {"unread": True})
        assert [item["id"] for item in unread["items"]] == [ids[2], ids[0]]


@pytest.mark.parametrize("data", [{"limit": 0}, {"limit": 101}, {"limit": "5"}, {"cursor": "x"}, {"page": 1}])
async def test_list_of_what_is_none(server: Server, data: object) -> None:
    """ "``limit`` over 100 is 422"; a cursor that is none likewise."""
    async with ready(server, await server.person()) as socket:
        assert (await socket.ask("notification:list", data))["error"]["code"] == "VALIDATION_FAILED"


# Jobs.


async def test_job_events(server: Server) -> None:
    """ "``job:subscribe`` acks ``{jobId, lastEventId}``, and the snapshot comes as a ``job:event``", then the rest."""
    user = await server.person()
    async with ready(server, user) as socket:
        job = await start_job(server, user, steps=3, delayMs=50)
        answer = await socket.ask("job:subscribe", {"jobId": job})
        snapshot, position = await socket.event_args("job:event")
        assert answer == {"jobId": job, "lastEventId": position}
        assert (snapshot["jobId"], snapshot["type"]) == (job, "snapshot")
        events: list[dict[str, Any]] = []
        positions = {position}
        while not events or events[-1]["type"] != "completed":
            event, position = await socket.event_args("job:event")
            assert position not in positions
            positions.add(position)
            events.append(event)
        told = [event["message"] for event in events if event["type"] == "progress"]
        done = round(snapshot["progress"] * 3)
        assert told == [f"step {step} of 3" for step in range(done + 1, 4)]


async def test_job_resumed(server: Server) -> None:
    """ "``job:subscribe`` with a ``lastEventId`` that can be resumed sends what followed, without a snapshot"."""
    user = await server.person()
    async with ready(server, user) as socket:
        job = await start_job(server, user, steps=2, delayMs=0)
        await socket.ask("job:subscribe", {"jobId": job})
        seen = [await socket.event_args("job:event")]
        while seen[-1][0]["type"] != "completed":
            seen.append(await socket.event_args("job:event"))
        await socket.ask("job:subscribe", {"jobId": job, "lastEventId": seen[0][1]})
        assert [await socket.event_args("job:event") for _ in seen[1:]] == seen[1:]
        await socket.ask("job:subscribe", {"jobId": job, "lastEventId": "nonsense"})
        again, _ = await socket.event_args("job:event")
        assert (again["type"], again["resumed"]) == ("completed", False)
        assert await socket.quiet()


async def test_job_unsubscribed(server: Server) -> None:
    """ "``job:unsubscribe`` acks ``{jobId}``", and no more of its events come."""
    user = await server.person()
    async with ready(server, user) as socket, ready(server, user) as other:
        job = await start_job(server, user, steps=20, delayMs=20)
        for client in (socket, other):
            await client.ask("job:subscribe", {"jobId": job})
        assert await socket.ask("job:unsubscribe", {"jobId": job}) == {"jobId": job}
        socket.heard.clear()
        while (await other.event("job:event"))["type"] != "completed":
            pass
        assert await socket.quiet()


async def test_job_of_a_stranger(server: Server) -> None:
    """ "Owner only"; "a job belongs to the user who made it; an ADMIN is a stranger to it"."""
    user, admin, root = await server.people(Role.USER, Role.ADMIN, Role.SUPER_ADMIN)
    job = await start_job(server, user, steps=1, delayMs=0)
    for stranger in (admin, root, await server.person()):
        async with ready(server, stranger) as socket:
            answers = [await socket.ask("job:subscribe", {"jobId": i}) for i in (job, new_id(), "x", "")]
            assert answers == [{"error": {"message": "Not found", "code": "NOT_FOUND"}}] * 4
            assert set(socket.events()) == {"notification:error"}


# What is none of these.


async def test_unknown_event(server: Server) -> None:
    """ "An unknown event is answered ``notification:error`` ``UNKNOWN_EVENT``"; the connection lives on."""
    async with ready(server, await server.person()) as socket:
        for name in ("nonsense", "notification:new", "__proto__", "ping"):
            await socket.emit(name, {})
            assert (await socket.event("notification:error"))["code"] == "UNKNOWN_EVENT"
        assert (await socket.ask("message"))["error"]["code"] == "UNKNOWN_EVENT"
        assert (await create(socket))["title"] == NOTE["title"]


async def test_more_than_one_argument(server: Server) -> None:
    """An event carries one object; no argument at all is an empty one."""
    async with ready(server, await server.person()) as socket:
        assert (await socket.ask("notification:create", NOTE, {}))["error"]["code"] == "VALIDATION_FAILED"
        assert (await socket.ask("notification:list"))["items"] == []


async def test_rate_limit(server: Server) -> None:
    """ "20 client events in any 60 s and user, counted over all the user's connections, not reset by reconnecting,
    every event and every invalid one"; "events over the limit do not count towards the window".
    """
    user = await server.person()
    for _ in range(2):
        async with ready(server, user) as socket, ready(server, user) as other:
            for client in (socket, other) * 5:
                assert (await client.ask("nonsense", {}))["error"]["code"] == "UNKNOWN_EVENT"
    async with ready(server, user) as socket:
        for _ in range(3):
            refused = await create(socket)
            assert refused["error"]["code"] == "RATE_LIMITED"
            exceeded = await socket.event("notification:rate-limit-exceeded")
            assert exceeded.keys() == {"message", "retryAfter", "limit", "window"}
            assert (exceeded["limit"], exceeded["window"]) == (20, 60)
            assert isinstance(exceeded["retryAfter"], int)
            assert 50 <= exceeded["retryAfter"] <= 60
        assert socket.events() == []
    async with server.http(user) as http:
        assert (await http.get("/notifications")).json()["items"] == []
    line = await server.audited("RATE_LIMIT_EXCEEDED", userId=user.id)
    assert line["level"] == "error"


async def test_rate_limit_is_by_user(server: Server) -> None:
    """ "20 client events and user": a colleague's events count for the colleague alone."""
    user, colleague = await server.people(Role.USER, Role.USER)
    async with ready(server, user) as socket, ready(server, colleague) as other:
        for _ in range(20):
            assert "error" not in await socket.ask("notification:list", {})
        assert "error" in await socket.ask("notification:list", {})
        assert "error" not in await other.ask("notification:list", {})
