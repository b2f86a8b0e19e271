"""Contract, sections 2, 6, 8 and 11: what administrators may, and what comes of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from tests.support.nodes import nodes
from tests.support.server import SECRET, Person, Server, serving, token_for
from tests.support.sockets import Socket, joined, ready
from tests.support.streams import streaming
from tidings.domain.clock import rfc3339
from tidings.domain.ids import new_id
from tidings.domain.people import Role

AT_ONCE = 1.0
"""Seconds: "within 1 s of the revocation"."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
async def people(server: Server) -> list[Person]:
    """A USER, an ADMIN and a SUPER_ADMIN of a tenant of their own."""
    return await server.people(Role.USER, Role.ADMIN, Role.SUPER_ADMIN)


async def ask(server: Server, person: Person, method: str, path: str, body: Any = None) -> httpx.Response:
    async with server.http(person) as client:
        return await client.request(method, path, json=body)


def user_of(person: Person, **changes: object) -> dict[str, object]:
    email = f"{person.id}@acme.example"
    return {"email": email, "tenantId": person.tenant_id, "role": person.role, "active": True, **changes}


def jti_of(person: Person) -> str:
    jti: str = jwt.decode(person.token, SECRET, ["HS256"])["jti"]
    return jti


async def let_in(server: Server, person: Person) -> bool:
    return (await ask(server, person, "GET", "/notifications")).status_code == 200


async def soon(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it is so, which it has to be at once."""
    until = time.monotonic() + AT_ONCE
    while not await condition():
        assert time.monotonic() < until, "too late"


async def ends_at_once(socket: Socket) -> None:
    await socket.closing(AT_ONCE)


async def test_who_may_what(server: Server, people: list[Person]) -> None:
    """ "An ADMIN acts on the users, tokens and security events of the own tenant and can't make or touch a
    SUPER_ADMIN; tenants, nodes and metrics are the SUPER_ADMIN's."
    """
    user, admin, root = people
    stranger = await server.person()
    tenant = {"name": "Acme", "status": "active"}
    own = user_of(user)
    promoted = user_of(user, role="SUPER_ADMIN")
    asked: list[tuple[str, str, Any, tuple[int, int, int]]] = [
        ("GET", "/admin/nodes", None, (403, 403, 200)),
        ("GET", "/admin/metrics", None, (403, 403, 200)),
        ("PUT", f"/admin/tenants/{user.tenant_id}", tenant, (403, 403, 200)),
        ("GET", "/admin/security-events", None, (403, 200, 200)),
        ("PUT", f"/admin/users/{user.id}", own, (403, 200, 200)),
        ("POST", f"/admin/users/{root.id}/disconnect", None, (403, 403, 204)),
        ("POST", f"/admin/users/{stranger.id}/disconnect", None, (403, 404, 204)),
        ("POST", f"/admin/users/{new_id()}/deactivate", None, (403, 404, 404)),
        ("POST", "/admin/tokens/revoke", {"userId": stranger.id}, (403, 404, 204)),
        ("POST", "/admin/tokens/revoke", {"jti": new_id()}, (403, 204, 204)),
        ("PUT", f"/admin/users/{user.id}", promoted, (403, 403, 200)),
    ]
    for method, path, body, expected in asked:
        answers = [await ask(server, person, method, path, body) for person in people]
        assert tuple(answer.status_code for answer in answers) == expected, (path, body)
    await server.audited("UNAUTHORIZED_ACCESS_ATTEMPT", userId=admin.id, reason="GET /admin/nodes")


async def test_out_of_sight(server: Server, people: list[Person]) -> None:
    """ "A user or tenant one can't see is 404"; "the same bytes" as for one that does not exist."""
    _, admin, _ = people
    stranger = await server.person()

    async def refused(path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        answer = await ask(server, admin, "POST", path, body)
        return answer.status_code, {**answer.json(), "requestId": ""}

    for verb in ("deactivate", "disconnect"):
        hidden, missing, malformed = [
            await refused(f"/admin/users/{user_id}/{verb}") for user_id in (stranger.id, new_id(), "x")
        ]
        assert hidden == missing == malformed
        assert hidden[0] == 404
    foreign = user_of(admin, tenantId=stranger.tenant_id, role="USER")
    assert (await ask(server, admin, "PUT", f"/admin/users/{new_id()}", foreign)).status_code == 404


async def test_a_user_is_made_and_comes_in(server: Server, people: list[Person]) -> None:
    """``PUT /admin/users/{id}`` ``{email, name?, tenantId, role, active}``: 201, then 200."""
    _, admin, _ = people
    user_id = new_id()
    body = user_of(admin, email=f"{user_id}@acme.example", name="Ann", role="USER")
    made = await ask(server, admin, "PUT", f"/admin/users/{user_id}", body)
    assert (made.status_code, made.json()["name"]) == (201, "Ann")
    assert (await ask(server, admin, "PUT", f"/admin/users/{user_id}", body)).status_code == 200
    headers = {"Authorization": f"Bearer {token_for(made.json()['id'])}"}
    assert server.get("/notifications", **headers).status_code == 200


async def test_deactivation(server: Server, people: list[Person]) -> None:
    """ "deactivation [...] end[s] live connections on every node" within 1 s, and the token is good no more
    until the user is active again.
    """
    user, admin, _ = people
    async with ready(server, user) as socket, streaming(server, "/notifications/events", user) as stream:
        await stream.message()
        off = await ask(server, admin, "POST", f"/admin/users/{user.id}/deactivate")
        assert (off.status_code, off.json()["active"]) == (200, False)
        await ends_at_once(socket)
    assert not await let_in(server, user)
    await ask(server, admin, "PUT", f"/admin/users/{user.id}", user_of(user))
    await soon(lambda: let_in(server, user))


async def test_suspension(server: Server, people: list[Person]) -> None:
    """ "A suspended tenant's users are 401", by its slug or id."""
    user = await server.person()
    _, _, root = people
    path = f"/admin/tenants/{user.tenant_id}"
    async with ready(server, user) as socket:
        off = await ask(server, root, "PUT", path, {"name": "Acme", "status": "suspended"})
        assert (off.status_code, off.json()["status"]) == (200, "suspended")
        await ends_at_once(socket)
    assert not await let_in(server, user)
    await ask(server, root, "PUT", path, {"name": "Acme", "status": "active"})
    await soon(lambda: let_in(server, user))


async def test_disconnect(server: Server, people: list[Person]) -> None:
    """ "``disconnect`` ends sockets and streams"; the user may come back at once."""
    user, admin, _ = people
    async with ready(server, user) as socket:
        answer = await ask(server, admin, "POST", f"/admin/users/{user.id}/disconnect")
        assert answer.status_code == 204
        await ends_at_once(socket)
    async with joined(server, user) as again:
        await again.event("notification:ready")


@pytest.mark.parametrize("how", ["jti", "userId"])
async def test_revocation(server: Server, people: list[Person], how: str) -> None:
    """ "within 1 s of the revocation", and a TOKEN_REVOKED in the security log."""
    user, admin, _ = people
    body = {"jti": jti_of(user)} if how == "jti" else {"userId": user.id}
    async with ready(server, user) as socket:
        assert (await ask(server, admin, "POST", "/admin/tokens/revoke", body)).status_code == 204
        await ends_at_once(socket)
    assert not await let_in(server, user)
    line = await server.audited("TOKEN_REVOKED", userId=admin.id)
    assert user.token not in str(line)


async def test_an_admin_revokes_no_token_of_another_tenant(server: Server, people: list[Person]) -> None:
    """The same ``jti`` elsewhere is not concerned."""
    stranger, (_, admin, _) = await server.person(), people
    async with ready(server, stranger) as socket:
        body = {"jti": jti_of(stranger)}
        assert (await ask(server, admin, "POST", "/admin/tokens/revoke", body)).status_code == 204
        # What is ordered afterwards is carried out afterwards.
        user = people[0]
        await ask(server, admin, "POST", "/admin/tokens/revoke", {"userId": user.id})

        async def refused() -> bool:
            return not await let_in(server, user)

        await soon(refused)
        assert await socket.quiet()
    assert await let_in(server, stranger)


async def test_the_security_log(server: Server, people: list[Person]) -> None:
    """ "Stored for the console with a retention, and queryable": the lines as they were printed."""
    user, admin, root = people
    began = rfc3339(datetime.now(UTC))
    await ask(server, user, "GET", "/admin/nodes")
    event = "UNAUTHORIZED_ACCESS_ATTEMPT"
    printed = await server.audited(event, userId=user.id)
    query = f"event={event}&userId={user.id}&since={began}"

    async def stored(person: Person, query: str) -> list[dict[str, Any]]:
        found = (await ask(server, person, "GET", f"/admin/security-events?{query}")).json()
        assert found["nextCursor"] is None
        items: list[dict[str, Any]] = found["items"]
        return items

    until = time.monotonic() + 5
    while not await stored(admin, query):
        assert time.monotonic() < until
    expected = [{name: value for name, value in printed.items() if name != "logger"}]
    assert await stored(admin, query) == await stored(root, query) == expected
    assert await stored(admin, f"{query}&until={began}") == []
    assert await stored((await server.people(Role.ADMIN))[0], query) == []


async def test_metrics(server: Server, people: list[Person]) -> None:
    """ "connections (total, active, peak, attempts, failed, average duration, failure rate) by transport;
    authentication success rate; deliveries [...]; rate-limit violations".
    """
    user, _, root = people
    async with ready(server, user):
        told = (await ask(server, root, "GET", "/admin/metrics")).json()
    sockets = told["connections"]["websocket"]
    assert sockets["active"] >= 1
    assert sockets["peak"] >= sockets["active"]
    assert sockets["total"] >= sockets["active"]
    assert sockets["attempts"] >= sockets["total"]
    assert 0 < told["authentication"]["successRate"] <= 1
    assert {"deliveries", "rateLimitViolations", "recoveries", "broker", "jobs"} <= set(told)
    assert told["node"]["pid"] == server.child.pid


async def test_one_node(server: Server, people: list[Person]) -> None:
    """Alone there is one, this one, under the name that its security log has."""
    user, _, root = people
    await ask(server, user, "GET", "/admin/nodes")
    line = await server.audited("UNAUTHORIZED_ACCESS_ATTEMPT", userId=user.id)
    listed = (await ask(server, root, "GET", "/admin/nodes")).json()
    (node,) = listed["items"]
    assert (node["id"], node["pid"], node["draining"]) == (line["nodeId"], server.child.pid, False)
    assert listed["nextCursor"] is None


@pytest.fixture
async def two(tmp_path: Path, postgres_url: str) -> AsyncIterator[list[Server]]:
    async with nodes(tmp_path, postgres_url) as made:
        yield made.each


async def test_every_node_is_listed_and_lives_up_to_it(two: list[Server]) -> None:
    """ "on **every** node"; a node that has gone is not listed."""
    here, there = two
    user, admin, root = await here.people(Role.USER, Role.ADMIN, Role.SUPER_ADMIN)

    async def pids() -> set[int]:
        listed = await ask(here, root, "GET", "/admin/nodes")
        return {node["pid"] for node in listed.json()["items"]}

    assert await pids() == {node.child.pid for node in two}
    async with ready(there, user) as socket:
        await ask(here, admin, "POST", "/admin/tokens/revoke", {"userId": user.id})
        await ends_at_once(socket)
    assert not await let_in(there, user)
    await asyncio.to_thread(there.child.stop)
    assert await pids() == {here.child.pid}
