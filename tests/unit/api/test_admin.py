"""``/admin``: what each route answers, and what is written down."""

from typing import Any

import httpx
import pytest

from tests.support.services import Rig
from tidings.api.schemas import SCHEMAS
from tidings.domain.audit import SecurityEventType
from tidings.domain.ids import new_id
from tidings.store import audit
from tidings.store.database import Database

TENANT = {"name": "Acme", "status": "active"}


def body_of(rig: Rig, name: str, **changes: Any) -> dict[str, Any]:
    """A user as they would be sent."""
    user = rig.people[name].to_json()
    return {field: user[field] for field in ("email", "name", "tenantId", "role", "active")} | changes


async def test_a_tenant_is_made_and_changed(rig: Rig) -> None:
    """201, then 200, with the whole of it."""
    made = await rig.put("/admin/tenants/globex", "root", {**TENANT, "name": "Globex"})
    again = await rig.put(f"/admin/tenants/{made.json()['id']}", "root", TENANT)
    assert (made.status_code, again.status_code) == (201, 200)
    assert list(made.json()) == SCHEMAS["Tenant"]["required"]
    assert again.json() == {**made.json(), "name": "Acme"}
    assert again.json()["slug"] == "globex"


async def test_a_user_is_made_and_changed(rig: Rig) -> None:
    """201, then 200, with the whole of them."""
    path, body = f"/admin/users/{new_id()}", body_of(rig, "bob", email="new@acme.example")
    made = await rig.put(path, "amy", body)
    again = await rig.put(path, "amy", {**body, "role": "ADMIN"})
    assert (made.status_code, again.status_code) == (201, 200)
    assert made.json() == {"id": path.rpartition("/")[2], **body, "createdAt": made.json()["createdAt"]}
    assert again.json() == {**made.json(), "role": "ADMIN"}
    taken = await rig.put(f"/admin/users/{new_id()}", "amy", body)
    assert (taken.status_code, taken.json()["code"]) == (409, "CONFLICT")


async def test_deactivate_and_disconnect_take_no_body(rig: Rig) -> None:
    """200 with the user, and 204."""
    path = f"/admin/users/{rig.people['bob'].id}"
    assert (await rig.post(f"{path}/disconnect", "amy")).status_code == 204
    off = await rig.post(f"{path}/deactivate", "amy")
    assert (off.status_code, off.json()) == (200, {**rig.people["bob"].to_json(), "active": False})
    for verb in ("deactivate", "disconnect"):
        assert (await rig.post(f"{path}/{verb}", "amy", {"why": "so"})).status_code == 422


async def test_revoking_is_written_down(rig: Rig) -> None:
    """TOKEN_REVOKED, with who did it and no secret."""
    bob, amy = rig.people["bob"], rig.people["amy"]
    for body in (
        {"jti": "a-token's-id"},
        {"userId": bob.id},
        {"userId": bob.id, "issuedBefore": "2026-01-31T12:00:00Z"},
    ):
        answer = await rig.post("/admin/tokens/revoke", "amy", body)
        assert (answer.status_code, answer.content) == (204, b"")
    lines = [line for line in await rig.audited() if line.event is SecurityEventType.TOKEN_REVOKED]
    assert [line.user_id for line in lines] == [amy.id] * 3
    assert [line.reason for line in lines] == [
        "a token, by an administrator",
        *[f"tokens of {bob.id}, by an administrator"] * 2,
    ]


async def test_who_may_not_is_told_before_the_body_is_read(rig: Rig) -> None:
    """403 for whatever body, and each is an UNAUTHORIZED_ACCESS_ATTEMPT."""
    asked: list[tuple[str, str, str]] = [
        ("PUT", "/admin/tenants/acme", "amy"),
        ("PUT", "/admin/tenants/acme", "ann"),
        ("PUT", f"/admin/users/{rig.people['ann'].id}", "ann"),
        ("POST", f"/admin/users/{rig.people['ann'].id}/deactivate", "ann"),
        ("POST", f"/admin/users/{rig.people['eve'].id}/disconnect", "ann"),
        ("POST", "/admin/tokens/revoke", "ann"),
        ("GET", "/admin/security-events", "ann"),
        *(("POST", "/admin/nodes/node-1/drain", name) for name in ("ann", "amy")),
        *(("GET", path, name) for path in ("/admin/metrics", "/admin/nodes") for name in ("ann", "amy")),
    ]
    for method, path, name in asked:
        answer = await rig.client.request(method, path, headers=rig.as_(name))
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN"), path
    lines = await rig.audited()
    attempts = [line for line in lines if line.event is SecurityEventType.UNAUTHORIZED_ACCESS_ATTEMPT]
    assert [line.reason for line in attempts][:2] == ["PUT /admin/tenants/{idOrSlug}"] * 2
    assert len(attempts) == len(asked)


async def test_another_tenants_user_is_as_one_that_is_not_there(rig: Rig) -> None:
    """The same bytes but for ``requestId``; the attempt is written down, a mistake is not."""
    eve = rig.people["eve"].id

    async def ask(user_id: str) -> list[httpx.Response]:
        path = f"/admin/users/{user_id}"
        return [
            await rig.post(f"{path}/deactivate", "amy"),
            await rig.post(f"{path}/disconnect", "amy"),
            await rig.post("/admin/tokens/revoke", "amy", {"userId": user_id}),
        ]

    assert [same(answer) for answer in await ask(eve)] == [same(answer) for answer in await ask(new_id())]
    assert same((await ask(eve))[0]) == same((await ask("x"))[0])
    hidden = await rig.put(f"/admin/users/{eve}", "amy", body_of(rig, "bob"))
    assert same(hidden) == same((await ask("x"))[0])
    lines = await rig.audited()
    attempts = [line for line in lines if line.event is SecurityEventType.UNAUTHORIZED_ACCESS_ATTEMPT]
    assert len(attempts) == 7
    assert attempts[0].reason == "POST /admin/users/{id}/deactivate, another tenant's"


def same(answer: httpx.Response) -> tuple[int, dict[str, Any], str]:
    return answer.status_code, {**answer.json(), "requestId": ""}, answer.headers["content-type"]


async def test_the_log_in_pages(rig: Rig, sqlite_url: str) -> None:
    """As it is printed; by event, and page by page."""
    for _ in range(3):
        await rig.post("/admin/tokens/revoke", "amy", {"jti": "x"})
    lines = [line for line in await rig.audited() if line.tenant_id is not None]
    async with Database(sqlite_url) as database, database.write() as tx:
        await audit.insert(tx, lines)
    first = (await rig.get("/admin/security-events?limit=2&event=TOKEN_REVOKED", "amy")).json()
    second = (await rig.get(f"/admin/security-events?limit=2&cursor={first['nextCursor']}", "amy")).json()
    assert first["items"] == [line.to_json() for line in lines[:0:-1]]
    assert (second["items"], second["nextCursor"]) == ([lines[0].to_json()], None)
    found = await rig.get(f"/admin/security-events?userId={rig.people['bob'].id}", "root")
    assert found.json() == {"items": [], "nextCursor": None}


@pytest.mark.parametrize(
    "query", ["event=X", "limit=0", "limit=101", "since=yesterday", "until=1", "cursor=!", "event=A&event=B"]
)
async def test_a_wrong_filter(rig: Rig, query: str) -> None:
    """422, naming the parameter."""
    answer = await rig.get(f"/admin/security-events?{query}", "amy")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == query.partition("=")[0]


async def test_metrics_and_nodes(rig: Rig) -> None:
    """In the shape that is described: the numbers, and the one node that there is."""
    metrics = (await rig.get("/admin/metrics", "root")).json()
    assert list(metrics) == SCHEMAS["AdminMetrics"]["required"]
    assert metrics["authentication"]["succeeded"] > 0
    nodes = (await rig.get("/admin/nodes", "root")).json()
    (node,) = nodes["items"]
    assert nodes["nextCursor"] is None
    assert list(node) == SCHEMAS["Node"]["required"]
    assert {**node, "lastSeen": ""} == {
        **metrics["node"],
        "lastSeen": "",
        "cpu": node["cpu"],
        "memoryBytes": node["memoryBytes"],
    }


async def test_a_node_is_drained(rig: Rig) -> None:
    """202 with the node as it is listed, however often; a name that is nobody's is 404; there is no body."""
    for _ in range(2):
        answer = await rig.post("/admin/nodes/node-1/drain", "root")
        (node,) = (await rig.get("/admin/nodes", "root")).json()["items"]
        assert answer.status_code == 202
        assert list(answer.json()) == list(node) == SCHEMAS["Node"]["required"]
        assert (answer.json()["id"], answer.json()["draining"]) == ("node-1", False)
    for name in ("node-2", "x", new_id(), "%00"):
        assert same(await rig.post(f"/admin/nodes/{name}/drain", "root")) == same(
            await rig.post(f"/admin/users/{new_id()}/disconnect", "root")
        )
    assert (await rig.post("/admin/nodes/node-1/drain", "root", {"why": "so"})).status_code == 422
