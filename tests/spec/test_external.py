"""Contract, sections 6 and 11: jobs that run in somebody else's queue, over REST."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import server as servers
from tests.support.services import PAGE_ORIGIN, Rig, serving
from tests.support.streams import read, streaming
from tidings.domain.audit import SecurityEventType
from tidings.domain.ids import new_id
from tidings.identity.limiter import SlidingWindow

EXTERNAL = {"kind": "external", "payload": {"name": "Nightly import", "timeoutSeconds": 60}}
BEAT = {"sequence": 1, "type": "heartbeat"}


@pytest.fixture
async def rig(sqlite_url: str) -> AsyncIterator[Rig]:
    async with serving(sqlite_url) as rig:
        yield rig


async def accepted(rig: Rig, **headers: str) -> dict[str, Any]:
    answer = await rig.post("/jobs", "ann", EXTERNAL, **headers)
    assert answer.status_code == 202, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def report(
    rig: Rig, job_id: str, token: str | None, body: Any = BEAT, **headers: str
) -> httpx.Response:
    given = {} if token is None else {"Authorization": f"Bearer {token}"}
    return await rig.client.post(f"/jobs/{job_id}/events", json=body, headers={**given, **headers})


async def test_the_token_comes_once(rig: Rig) -> None:
    """ "the 202 carries ``reporterToken`` once"."""
    made = await rig.post("/jobs", "ann", EXTERNAL)
    job = made.json()
    assert (made.status_code, made.headers["location"]) == (202, f"/jobs/{job['id']}")
    assert (job["kind"], job["status"], job["payload"]) == ("external", "queued", EXTERNAL["payload"])
    token = job.pop("reporterToken")
    seen = (await rig.get(f"/jobs/{job['id']}", "ann")).json()
    assert seen == job
    assert token not in (await rig.get("/jobs", "ann")).text
    assert "reporterToken" not in await rig.job("ann")


async def test_a_replay_repeats_the_token(rig: Rig) -> None:
    """ "an idempotent replay repeats ``reporterToken``"."""
    first = await accepted(rig, **{"Idempotency-Key": "k"})
    assert await accepted(rig, **{"Idempotency-Key": "k"}) == first
    assert (await report(rig, first["id"], first["reporterToken"])).status_code == 204
    assert (await accepted(rig))["id"] != first["id"]


async def test_reports(rig: Rig) -> None:
    """ "reports answer 204"; each is seen by who looks at the job."""
    job = await accepted(rig)
    for body in (
        {"sequence": 1, "type": "progress", "progress": 0.5, "stage": "mix", "message": "half"},
        {"sequence": 1, "type": "progress", "progress": 0.1},
        {"sequence": 2, "type": "heartbeat"},
        {"sequence": 3, "type": "completed", "result": {"url": "https://x.example/1"}},
        {"sequence": 3, "type": "completed", "result": {"url": "https://x.example/1"}},
    ):
        answer = await report(rig, job["id"], job["reporterToken"], body)
        assert (answer.status_code, answer.content) == (204, b"")
        if body["sequence"] == 1:
            seen = (await rig.get(f"/jobs/{job['id']}", "ann")).json()
            assert (seen["status"], seen["progress"], seen["stage"]) == ("running", 0.5, "mix")
    done = (await rig.get(f"/jobs/{job['id']}", "ann")).json()
    assert (done["status"], done["progress"]) == ("succeeded", 1.0)
    assert done["result"] == {"url": "https://x.example/1"}
    late = await report(rig, job["id"], job["reporterToken"], {"sequence": 4, "type": "heartbeat"})
    assert (late.status_code, late.json()["code"]) == (409, "CONFLICT")


async def test_cancelled(rig: Rig) -> None:
    """ "A cancelled external job refuses reports with 409"."""
    job = await accepted(rig)
    assert (await rig.post(f"/jobs/{job['id']}/cancel", "ann")).json()["status"] == "cancelled"
    assert (await report(rig, job["id"], job["reporterToken"])).status_code == 409


async def test_wrong_tokens(rig: Rig) -> None:
    """ "a wrong reporter token ... is 401": a user's own, another job's, none; of no job too, all alike."""
    job, other = await accepted(rig), await accepted(rig)
    ordinary = await rig.job("ann")
    token = job["reporterToken"]
    answers = [
        await report(rig, name, given)
        for name, given in (
            (job["id"], None),
            (job["id"], "reporter_wrong"),
            (job["id"], rig.token("ann")),
            (job["id"], other["reporterToken"]),
            (ordinary["id"], token),
            (new_id(), token),
            ("x", token),
            (job["id"].upper(), token),
        )
    ]
    assert [answer.status_code for answer in answers] == [401] * len(answers)
    bodies = [{**answer.json(), "requestId": ""} for answer in answers]
    assert bodies == [bodies[0]] * len(bodies)
    assert {answer.headers["www-authenticate"] for answer in answers} == {"Bearer"}
    assert (await rig.get(f"/jobs/{job['id']}", "ann")).json()["status"] == "queued"
    reasons = {(event.event, event.reason) for event in await rig.audited()}
    assert (SecurityEventType.AUTHENTICATION_FAILED, "unknown_reporter") in reasons


async def test_the_token_is_good_for_nothing_else(rig: Rig) -> None:
    """ "a reporter token that can do nothing but report on that job"."""
    job = await accepted(rig)
    headers = {"Authorization": f"Bearer {job['reporterToken']}"}
    for method, path in (
        ("GET", f"/jobs/{job['id']}"),
        ("GET", "/jobs"),
        ("POST", f"/jobs/{job['id']}/cancel"),
        ("POST", "/jobs"),
        ("GET", "/notifications"),
        ("POST", "/tickets"),
    ):
        answer = await rig.client.request(method, path, headers=headers)
        assert answer.status_code == 401, path


async def test_a_token_in_the_query(rig: Rig) -> None:
    """ "A token in a query string is refused and audited", whichever token it is."""
    job = await accepted(rig)
    path = f"/jobs/{job['id']}/events?token={job['reporterToken']}"
    headers = {"Authorization": f"Bearer {job['reporterToken']}"}
    assert (await rig.client.post(path, json=BEAT, headers=headers)).status_code == 401
    assert SecurityEventType.SECURITY_VIOLATION in {event.event for event in await rig.audited()}


async def test_origins(rig: Rig) -> None:
    """ "A present Origin that is not allowed ... is 403 on every surface"; who reports mostly sends none."""
    job = await accepted(rig)
    token = job["reporterToken"]
    for origin, status in (("https://evil.example", 403), ("null", 403), (PAGE_ORIGIN, 204)):
        assert (await report(rig, job["id"], token, Origin=origin)).status_code == status
    cookie = {"Cookie": f"tidings={rig.token('ann')}", "Origin": PAGE_ORIGIN}
    assert (await report(rig, job["id"], None, **cookie)).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {"type": "heartbeat"},
        {"sequence": 1},
        {"sequence": -1, "type": "heartbeat"},
        {"sequence": "1", "type": "heartbeat"},
        {"sequence": True, "type": "heartbeat"},
        {"sequence": 1.5, "type": "heartbeat"},
        {"sequence": 1, "type": "started"},
        {"sequence": 1, "type": "progress", "progress": 1.1},
        {"sequence": 1, "type": "progress", "progress": -0.1},
        {"sequence": 1, "type": "progress", "progress": "0.5"},
        {"sequence": 1, "type": "progress", "stage": "s" * 101},
        {"sequence": 1, "type": "progress", "message": "m" * 1001},
        {"sequence": 1, "type": "progress", "message": "nul\x00"},
        {"sequence": 1, "type": "progress", "result": 1},
        {"sequence": 1, "type": "completed", "error": {"code": "E", "message": "m"}},
        {"sequence": 1, "type": "failed", "error": "broken"},
        {"sequence": 1, "type": "failed", "error": {"code": "", "message": "m"}},
        {"sequence": 1, "type": "heartbeat", "jobId": "x"},
        [],
    ],
)
async def test_reports_are_validated(rig: Rig, body: Any) -> None:
    """ "reports are validated": 422 with the fields, and nothing has happened."""
    job = await accepted(rig)
    answer = await report(rig, job["id"], job["reporterToken"], body)
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_FAILED")
    assert answer.json()["errors"]
    assert (await rig.get(f"/jobs/{job['id']}", "ann")).json()["status"] == "queued"


async def test_reports_are_rated_by_job(sqlite_url: str) -> None:
    """A reporter in a loop is told when there is more; another job's is not concerned, nor is the user."""
    async with serving(sqlite_url, report_limiter=SlidingWindow(2, 60)) as rig:
        job, other = await accepted(rig), await accepted(rig)
        answers = [await report(rig, job["id"], job["reporterToken"]) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [204, 204, 429]
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert answers[0].headers["ratelimit"].startswith('"job";r=1')
        assert (await report(rig, other["id"], other["reporterToken"])).status_code == 204
        assert (await rig.get("/jobs", "ann")).status_code == 200
        assert SecurityEventType.RATE_LIMIT_EXCEEDED in {event.event for event in await rig.audited()}


async def test_nobody_is_locked_out_by_wrong_tokens(sqlite_url: str) -> None:
    """Who knows a job's id and not its token does not use up what its reporter may send."""
    async with serving(sqlite_url, report_limiter=SlidingWindow(1, 60)) as rig:
        job = await accepted(rig)
        for _ in range(3):
            assert (await report(rig, job["id"], "reporter_wrong")).status_code == 401
        assert (await report(rig, job["id"], job["reporterToken"])).status_code == 204


async def test_other_methods(rig: Rig) -> None:
    """405 names the methods of the path, the stream's among them."""
    job = await accepted(rig)
    answer = await rig.client.put(f"/jobs/{job['id']}/events", headers=rig.as_("ann"))
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


async def test_what_is_handed_in(rig: Rig) -> None:
    """Payload ``{name?, timeoutSeconds <= 86400}``; when it begins is not for us to say."""
    for body, field in (
        ({"kind": "external", "payload": {"timeoutSeconds": 86_401}}, "payload.timeoutSeconds"),
        ({"kind": "external", "payload": {"more": 1}}, "payload.more"),
        ({"kind": "external", "payload": {}, "delaySeconds": 5}, "delaySeconds"),
    ):
        answer = await rig.post("/jobs", "ann", body)
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert (await rig.post("/jobs", "ann", {"kind": "external", "payload": {}})).status_code == 202


async def test_the_stream_of_an_external_job(tmp_path: Path) -> None:
    """ "``queued`` until its first report, then ``running``": its stream tells it like any other job's, and ends.

    So it does on a server that runs no jobs, where a silent one "fails with ``TIMEOUT``" all the same.
    """
    with servers.serving(tmp_path, {"worker": "false"}) as server:
        user = await server.person()
        async with server.http(user) as client:
            made = (await client.post("/jobs", json=EXTERNAL)).json()
            silent = {"kind": "external", "payload": {"timeoutSeconds": 1}}
            name = (await client.post("/jobs", json=silent)).json()["id"]
        path, headers = f"/jobs/{made['id']}/events", {"Authorization": f"Bearer {made['reporterToken']}"}
        async with streaming(server, path, user) as stream, server.http() as reporter:
            told = [await stream.message()]
            for body in (
                {"sequence": 1, "type": "progress", "progress": 0.5, "message": "half"},
                {"sequence": 2, "type": "failed", "error": {"code": "NO_DATA", "message": "There is none"}},
            ):
                assert (await reporter.post(path, json=body, headers=headers)).status_code == 204
            told += await stream.rest()
            assert (await reporter.put(path, headers=headers)).headers["allow"] == "GET, POST"
        assert [(each.type, each.data["status"], each.data["attempt"]) for each in told] == [
            ("snapshot", "queued", 0),
            ("started", "running", 1),
            ("progress", "running", 1),
            ("failed", "failed", 1),
        ]
        assert told[-1].data["message"] == "There is none"
        (*_, end) = await read(server, name, user)
        assert end.type == "failed"
        async with server.http(user) as client:
            assert (await client.get(f"/jobs/{name}")).json()["error"]["code"] == "TIMEOUT"
