"""``/jobs``."""

from tests.support.services import Rig
from tidings.domain.channel import job_channel


async def test_a_job_is_accepted(rig: Rig) -> None:
    """202 with the job, where it is, and its first event."""
    body = {"kind": "demo.steps", "payload": {"steps": 2, "delayMs": 0}, "priority": "pro"}
    tenant = rig.people["ann"].tenant_id
    before = await rig.broker.position(tenant)
    answer = await rig.post("/jobs", "ann", body)
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    assert {name: job[name] for name in body} == body
    assert (job["status"], job["attempt"], job["progress"], job["artifacts"]) == ("queued", 0, 0, [])
    assert (await rig.get(answer.headers["location"], "ann")).json() == job
    await rig.services.relay.flushed()
    history = await rig.broker.read([job_channel(tenant, job["id"])], before)
    assert [one.event.name for one in history.events] == ["job:event"]


async def test_jobs_that_are_not_accepted(rig: Rig) -> None:
    """Kind, payload and priority are checked before anything is stored."""
    good = {"kind": "demo.steps", "payload": {"steps": 1, "delayMs": 0}}
    cases = [
        ({**good, "kind": "no.such.kind"}, "UNKNOWN_KIND"),
        ({**good, "kind": "nul\x00"}, "UNKNOWN_KIND"),
        ({**good, "kind": ""}, "VALIDATION_FAILED"),
        ({**good, "kind": "k" * 101}, "VALIDATION_FAILED"),
        ({"kind": "demo.steps"}, "VALIDATION_FAILED"),
        ({**good, "payload": []}, "VALIDATION_FAILED"),
        ({**good, "payload": {"steps": 0, "delayMs": 0}}, "VALIDATION_FAILED"),
        ({**good, "priority": "vip"}, "VALIDATION_FAILED"),
        ({**good, "userId": rig.people["bob"].id}, "VALIDATION_FAILED"),
    ]
    for body, code in cases:
        answer = await rig.post("/jobs", "ann", body)
        assert (answer.status_code, answer.json()["code"]) == (422, code), body
    assert (await rig.get("/jobs", "ann")).json() == {"items": [], "nextCursor": None}


async def test_the_children_of_a_job(rig: Rig) -> None:
    """``GET /jobs?parentId=ID`` gives those alone; of what is not there, or somebody else's, it gives none."""
    parent = await rig.job("ann")
    for person in ("ann", "bob"):
        answer = await rig.get(f"/jobs?parentId={parent['id']}", person)
        assert answer.json() == {"items": [], "nextCursor": None}
    assert (await rig.get("/jobs?parentId=x", "ann")).json() == {"items": [], "nextCursor": None}
    assert (await rig.get("/jobs?parentId=%00", "ann")).status_code == 422


async def test_a_delayed_job(rig: Rig) -> None:
    """It is accepted like any other, and queued until its time."""
    job = await rig.job("ann", delaySeconds=30 * 86_400)
    assert job["status"] == "queued"
    assert (await rig.get(f"/jobs/{job['id']}", "ann")).json() == job
    for delay in (-1, 30 * 86_400 + 1, "5", None):
        body = {"kind": "demo.steps", "payload": {"steps": 1, "delayMs": 0}, "delaySeconds": delay}
        answer = await rig.post("/jobs", "ann", body)
        assert [error["field"] for error in answer.json()["errors"]] == ["delaySeconds"]


async def test_dead_letters(rig: Rig) -> None:
    """``GET /jobs?status=failed`` lists them, ``POST /jobs/{id}/retry`` queues one again."""
    failed = []
    for _ in range(3):
        body = {"kind": "external", "payload": {}}
        job = (await rig.post("/jobs", "ann", body)).json()
        reporter = {"Authorization": f"Bearer {job['reporterToken']}"}
        report = {"sequence": 1, "type": "failed"}
        await rig.client.post(f"/jobs/{job['id']}/events", json=report, headers=reporter)
        failed.append(job["id"])
    await rig.job("ann")

    async def dead() -> list[str]:
        items = (await rig.get("/jobs?status=failed", "ann")).json()["items"]
        assert all(item["error"]["code"] == "JOB_FAILED" for item in items)
        return [item["id"] for item in items]

    assert await dead() == failed[::-1]
    again = await rig.post(f"/jobs/{failed[0]}/retry", "ann")
    assert (again.status_code, again.json()["status"], again.json()["error"]) == (202, "queued", None)
    assert await dead() == failed[:0:-1]
    assert (await rig.post(f"/jobs/{failed[1]}/retry", "bob")).status_code == 404


async def test_a_list_is_filtered_and_paged(rig: Rig) -> None:
    """By status and kind; what is no status or no cursor is refused."""
    jobs = [(await rig.job("ann"))["id"] for _ in range(3)]
    await rig.post(f"/jobs/{jobs[0]}/cancel", "ann")

    async def found(query: str) -> list[str]:
        items = (await rig.get(f"/jobs?{query}", "ann")).json()["items"]
        return [item["id"] for item in items]

    assert await found("status=cancelled") == [jobs[0]]
    assert await found("status=queued&kind=demo.steps") == [jobs[2], jobs[1]]
    assert await found("kind=other") == []
    assert await found("kind=") == jobs[::-1]
    first = (await rig.get("/jobs?limit=2", "ann")).json()
    assert await found(f"limit=2&cursor={first['nextCursor']}") == [jobs[0]]
    for field, text in (
        ("status", "done"),
        ("status", "QUEUED"),
        ("limit", "0"),
        ("cursor", "!"),
        ("kind", "%00"),
    ):
        answer = await rig.get(f"/jobs?{field}={text}", "ann")
        assert answer.status_code == 422, (field, text)
        assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_cancel_and_retry(rig: Rig) -> None:
    """Each answers 202 with the job; what does not fit the job's status is a conflict."""
    job = (await rig.job("ann"))["id"]
    assert (await rig.post(f"/jobs/{job}/retry", "ann")).json()["code"] == "CONFLICT"
    cancelled = await rig.post(f"/jobs/{job}/cancel", "ann", {})
    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
    assert (await rig.post(f"/jobs/{job}/cancel", "ann")).status_code == 409
    again = await rig.post(f"/jobs/{job}/retry", "ann")
    assert (again.status_code, again.json()["id"], again.json()["status"]) == (202, job, "queued")


async def test_methods_are_those_of_the_path(rig: Rig) -> None:
    """405 names them."""
    job = (await rig.job("ann"))["id"]
    for method, path, allow in (
        ("DELETE", "/jobs", "GET, HEAD, POST"),
        ("PUT", f"/jobs/{job}", "GET, HEAD"),
        ("GET", f"/jobs/{job}/cancel", "POST"),
    ):
        answer = await rig.client.request(method, path, headers=rig.as_("ann"))
        assert (answer.status_code, answer.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
        assert answer.headers["allow"] == allow
