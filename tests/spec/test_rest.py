"""The contract, sections 6, 10 and 11: the REST surface."""

import re
from collections.abc import AsyncIterator
from datetime import datetime

import pytest

from tests.support.services import Rig, serving
from tidings.domain.ids import is_id

NOTE = {"title": "Hello", "content": "News."}
JOB = {"kind": "demo.steps", "payload": {"steps": 1, "delayMs": 0}}


@pytest.fixture
async def rig(sqlite_url: str) -> AsyncIterator[Rig]:
    async with serving(sqlite_url) as rig:
        yield rig


async def test_shapes(rig: Rig) -> None:
    """**Notification**: ``{id, tenantId, audience, userId, title, content, priority, data, createdAt,
    createdBy, readAt, archivedAt}``. **Job**: ``{id, kind, status, stage, progress, attempt, maxAttempts,
    priority, payload, result, error, parentId, artifacts, createdAt, startedAt, finishedAt}``. Single
    resources are bare objects, with null for what is not there.
    """
    note, job = await rig.notified("ann"), await rig.job("ann")
    assert " ".join(note) == (
        "id tenantId audience userId title content priority data createdAt createdBy readAt archivedAt"
    )
    assert " ".join(job) == (
        "id kind status stage progress attempt maxAttempts priority payload result error parentId artifacts "
        "createdAt startedAt finishedAt"
    )
    assert (note["data"], note["readAt"], job["result"], job["error"], job["parentId"]) == (None,) * 5


async def test_ids_and_times(rig: Rig) -> None:
    """Times are RFC 3339 UTC with milliseconds; ids are UUIDv7 strings made by the server."""
    for made in (await rig.notified("ann"), await rig.job("ann")):
        assert is_id(made["id"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", made["createdAt"])


async def test_creating(rig: Rig) -> None:
    """``POST /notifications`` (201) [...] ``POST /jobs {kind, payload, priority? standard/pro}`` (202,
    ``Location``) [...] ``POST /tickets`` answers 201 ``{ticket, expiresAt}``.
    """
    assert (await rig.post("/notifications", "ann", NOTE)).status_code == 201
    job = await rig.post("/jobs", "ann", {**JOB, "priority": "pro"})
    assert (job.status_code, job.headers["location"]) == (202, f"/jobs/{job.json()['id']}")
    assert job.json()["priority"] == "pro"
    ticket = await rig.post("/tickets", "ann", {"for": f"{job.headers['location']}/events"})
    assert (ticket.status_code, set(ticket.json())) == (201, {"ticket", "expiresAt"})
    datetime.fromisoformat(ticket.json()["expiresAt"])


async def test_lists(rig: Rig) -> None:
    """Lists are ``{items, nextCursor}``, ``nextCursor`` null at the end. ``limit`` over 100 is 422."""
    for _ in range(3):
        await rig.notified("ann")
        await rig.job("ann")
    for path in ("/notifications", "/jobs"):
        first = (await rig.get(f"{path}?limit=2", "ann")).json()
        assert set(first) == {"items", "nextCursor"}
        second = (await rig.get(f"{path}?limit=2&cursor={first['nextCursor']}", "ann")).json()
        assert second["nextCursor"] is None
        ids = [item["id"] for page in (first, second) for item in page["items"]]
        assert ids == sorted(ids, reverse=True)
        assert len(set(ids)) == 3
        assert (await rig.get(f"{path}?limit=100", "ann")).status_code == 200
        assert (await rig.get(f"{path}?limit=101", "ann")).status_code == 422


async def test_marking(rig: Rig) -> None:
    """``POST /notifications/{id}/read`` and the like answer the notification, ``read-all`` as above
    (``{updated, unread: {count, version}}``). ``GET /notifications/unread`` is ``{count, version}``.
    """
    note = (await rig.notified("ann"))["id"]
    for verb in ("read", "unread", "archive"):
        answer = await rig.post(f"/notifications/{note}/{verb}", "ann")
        assert (answer.status_code, answer.json()["id"]) == (200, note)
    all_read = (await rig.post("/notifications/read-all", "ann")).json()
    assert set(all_read) == {"updated", "unread"}
    assert (await rig.get("/notifications/unread", "ann")).json() == all_read["unread"]


async def test_job_verbs(rig: Rig) -> None:
    """``cancel`` and ``retry`` answer 202 with the job. ``retry`` is for failed and cancelled jobs, keeps the
    id [...]; ``retry`` of others and ``cancel`` of a finished job are 409.
    """
    job = (await rig.job("ann"))["id"]
    assert (await rig.post(f"/jobs/{job}/retry", "ann")).status_code == 409
    for verb, status in (("cancel", "cancelled"), ("retry", "queued"), ("cancel", "cancelled")):
        answer = await rig.post(f"/jobs/{job}/{verb}", "ann")
        assert (answer.status_code, answer.json()["id"], answer.json()["status"]) == (202, job, status)
    assert (await rig.post(f"/jobs/{job}/cancel", "ann")).status_code == 409


async def test_lengths(rig: Rig) -> None:
    """Lengths of ``title`` and ``content`` count Unicode code points; ``data`` counts UTF-8 bytes of its
    compact JSON. JSON depth counts the outermost value.
    """
    fire = "\N{FIRE}"
    assert (await rig.post("/notifications", "ann", {**NOTE, "title": fire * 200})).status_code == 201
    assert (await rig.post("/notifications", "ann", {**NOTE, "title": fire * 201})).status_code == 422
    assert (await rig.post("/notifications", "ann", {**NOTE, "content": fire * 1000})).status_code == 201
    assert (await rig.post("/notifications", "ann", {**NOTE, "content": fire * 1001})).status_code == 422
    full = {"x": fire * 2046}  # 8 bytes of frame and 8,184 of text
    assert (await rig.post("/notifications", "ann", {**NOTE, "data": full})).status_code == 201
    assert (
        await rig.post("/notifications", "ann", {**NOTE, "data": {"x": full["x"] + "y"}})
    ).status_code == 422
    for depth, status in ((32, 422), (33, 400)):
        body = b"[" * depth + b"]" * depth
        assert (await rig.post_raw("/notifications", "ann", body)).status_code == status


async def test_idempotency(rig: Rig) -> None:
    """``Idempotency-Key`` on every creating POST: the same key and body answers the first result again, the
    same key with another body 409. Idempotency keys are scoped to user and route.
    """
    key = {"Idempotency-Key": "same"}
    first = await rig.post("/jobs", "ann", JOB, **key)
    again = await rig.post("/jobs", "ann", JOB, **key)
    assert (again.status_code, again.content, again.headers["location"]) == (
        first.status_code,
        first.content,
        first.headers["location"],
    )
    assert (await rig.post("/jobs", "ann", {**JOB, "priority": "pro"}, **key)).status_code == 409
    assert (await rig.post("/jobs", "bob", JOB, **key)).json()["id"] != first.json()["id"]
    assert (await rig.post("/notifications", "ann", NOTE, **key)).status_code == 201


async def test_addressing(rig: Rig) -> None:
    """A user or tenant one can't see is 404; an audience one may not address is 403. An ADMIN may send the own
    ``tenantId`` only; a SUPER_ADMIN's default tenant is the own.
    """
    acme, other = rig.people["ann"].tenant_id, rig.people["eve"].tenant_id
    assert (
        await rig.post("/notifications", "ann", {**NOTE, "userId": rig.people["bob"].id})
    ).status_code == 404
    assert (await rig.post("/notifications", "ann", {**NOTE, "audience": "tenant"})).status_code == 403
    assert (await rig.post("/notifications", "amy", {**NOTE, "tenantId": acme})).status_code == 201
    assert (await rig.post("/notifications", "amy", {**NOTE, "tenantId": other})).status_code == 404
    sent = await rig.post("/notifications", "root", {**NOTE, "audience": "tenant"})
    assert sent.json()["tenantId"] == acme


async def test_tickets(rig: Rig) -> None:
    """Tickets: allowed for the two event streams; [...] asking one for a job that is not one's own is 404."""
    assert (await rig.post("/tickets", "ann", {"for": "/notifications/events"})).status_code == 201
    bobs = (await rig.job("bob"))["id"]
    for path in (f"/jobs/{bobs}/events", "/jobs/x/events", "/jobs", "/docs"):
        assert (await rig.post("/tickets", "ann", {"for": path})).status_code == 404, path


async def test_rate_limit(rig: Rig) -> None:
    """REST: 600 requests a minute and user (``RateLimit``, ``RateLimit-Policy``, ``Retry-After``)."""
    for _ in range(600):
        answer = await rig.get("/notifications/x", "ann")
        assert answer.status_code == 404
    assert answer.headers["ratelimit-policy"] == '"user";q=600;w=60'
    assert answer.headers["ratelimit"] == '"user";r=0'
    over = await rig.get("/notifications/x", "ann")
    assert (over.status_code, over.json()["code"]) == (429, "RATE_LIMITED")
    assert 1 <= int(over.headers["retry-after"]) <= 60
    assert (await rig.get("/notifications/x", "bob")).status_code == 404


async def test_every_response_is_safe(rig: Rig) -> None:
    """Every response: ``X-Content-Type-Options: nosniff``, ``Referrer-Policy: no-referrer``, ``Cache-Control:
    no-store`` on what is personal; pages: a strict CSP without ``unsafe-inline``;
    ``Strict-Transport-Security`` when the public address is https.
    """
    for path in ("/notifications", "/jobs", "/jobs/x", "/nowhere", "/docs", "/healthz"):
        answer = await rig.get(path, "ann")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "strict-transport-security" in answer.headers
        if path != "/docs":
            assert answer.headers["cache-control"] == "no-store"
    policy = (await rig.client.get("/docs")).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy


async def test_documentation(rig: Rig) -> None:
    """OpenAPI 3.1 at ``/openapi.json``, served docs with no outside assets. ``/docs`` serves the API
    documentation.
    """
    spec = (await rig.client.get("/openapi.json")).json()
    assert spec["openapi"].startswith("3.1")
    assert {"/notifications", "/jobs", "/jobs/{id}/events", "/tickets", "/readyz"} <= set(spec["paths"])
    page = await rig.client.get("/docs")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert not re.search(r'(src|href)="(https?:)?//', page.text)


async def test_health(rig: Rig) -> None:
    """``GET /healthz`` (alive), ``GET /readyz`` (can serve). While draining, new requests get 503 with
    ``Retry-After``.
    """
    assert (await rig.client.get("/healthz")).json() == {"status": "ok"}
    assert (await rig.client.get("/readyz")).status_code == 200
    rig.drain.set()
    assert (await rig.client.get("/healthz")).status_code == 200
    assert (await rig.client.get("/readyz")).status_code == 503
    refused = await rig.get("/notifications", "ann")
    assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
    assert int(refused.headers["retry-after"]) > 0


async def test_metrics_in_production(sqlite_url: str) -> None:
    """``/metrics`` in production needs ``TIDINGS_METRICS_TOKEN`` [...], otherwise it is 404. The metrics token
    is a Bearer token; without it 404.
    """
    async with serving(sqlite_url, metrics_open=False, metrics_token="of-the-operator") as rig:
        assert (await rig.client.get("/metrics")).status_code == 404
        good = {"Authorization": "Bearer of-the-operator"}
        assert (await rig.client.get("/metrics", headers=good)).status_code == 200
