"""The contract, section 3: errors over HTTP."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support.services import PAGE_ORIGIN, Rig, serving
from tidings.domain.ids import new_id
from tidings.identity.limiter import SlidingWindow

MARK = "xyzzy7731"
CONTENT_HEADERS = ("content-type", "content-length", "cache-control", "allow", "location")


@pytest.fixture
async def rig(sqlite_url: str) -> AsyncIterator[Rig]:
    async with serving(sqlite_url) as rig:
        yield rig


def bytes_of(answer: httpx.Response) -> tuple[int, str, list[str | None]]:
    """Status, body but for the id of the request, and content headers."""
    body = re.sub(r'"requestId":"[^"]+"', '"requestId":""', answer.text)
    return answer.status_code, body, [answer.headers.get(name) for name in CONTENT_HEADERS]


async def test_errors_are_problems(rig: Rig) -> None:
    """HTTP errors are ``application/problem+json`` (RFC 9457) with ``type``, ``title``, ``status``, ``code``,
    ``requestId`` and, for validation, ``errors: [{field, message}]``.
    """
    invalid = await rig.post("/notifications", "ann", {"title": "", "content": 1})
    answers = [
        invalid,
        await rig.client.get("/notifications"),
        await rig.get("/jobs/x", "ann"),
        await rig.client.get("/nowhere"),
        await rig.client.delete("/jobs"),
        await rig.client.get("/healthz", headers={"Origin": "null"}),
        await rig.post_raw("/jobs", "ann", b"{"),
    ]
    for answer in answers:
        problem = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status", "code", "requestId"} <= set(problem)
        assert problem["status"] == answer.status_code
        assert ("errors" in problem) == (answer is invalid)
    assert [set(error) for error in invalid.json()["errors"]] == [{"field", "message"}] * 2
    assert [error["field"] for error in invalid.json()["errors"]] == ["title", "content"]


async def test_codes_and_statuses(sqlite_url: str) -> None:
    """``UNAUTHENTICATED`` 401, ``FORBIDDEN`` 403, ``NOT_FOUND`` 404, ``CONFLICT`` 409, ``PAYLOAD_TOO_LARGE``
    413, ``VALIDATION_FAILED`` 422, ``RATE_LIMITED`` 429 (+ ``Retry-After``), ``UNAVAILABLE`` 503 (+
    ``Retry-After``) [...] ``MALFORMED`` 400, ``METHOD_NOT_ALLOWED`` 405, ``UNSUPPORTED_MEDIA_TYPE`` 415.
    """
    async with serving(sqlite_url, limiter=SlidingWindow(9, 60)) as rig:
        job = (await rig.job("ann"))["id"]
        plain = {"Content-Type": "text/plain"}
        answers = {
            "UNAUTHENTICATED": (401, await rig.client.get("/jobs")),
            "FORBIDDEN": (403, await rig.get("/jobs", "ann", Origin="https://evil.example")),
            "NOT_FOUND": (404, await rig.get(f"/jobs/{new_id()}", "ann")),
            "CONFLICT": (409, await rig.post(f"/jobs/{job}/retry", "ann")),
            "PAYLOAD_TOO_LARGE": (413, await rig.post_raw("/jobs", "ann", b" " * (256 * 1024 + 1))),
            "VALIDATION_FAILED": (422, await rig.post("/jobs", "ann", {})),
            "UNKNOWN_KIND": (422, await rig.post("/jobs", "ann", {"kind": "x", "payload": {}})),
            "MALFORMED": (400, await rig.post_raw("/jobs", "ann", b"{")),
            "METHOD_NOT_ALLOWED": (405, await rig.client.put("/jobs")),
            "UNSUPPORTED_MEDIA_TYPE": (415, await rig.post_raw("/jobs", "ann", b"{}", **plain)),
        }
        await rig.get("/jobs", "ann")
        answers["RATE_LIMITED"] = (429, await rig.get("/jobs", "ann"))
        rig.drain.set()
        answers["UNAVAILABLE"] = (503, await rig.get("/jobs", "ann"))
    for code, (status, answer) in answers.items():
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert ("retry-after" in answer.headers) == (status in (429, 503)), code
        assert ("www-authenticate" in answer.headers) == (status == 401), code


async def test_no_input_comes_back(rig: Rig) -> None:
    """No stack trace, path, library name, SQL, token or echoed input ever reaches a client."""
    token = rig.token("ann")
    values = {"title": [MARK], "content": {MARK: 1}, "priority": MARK, "audience": MARK, "data": MARK}
    answers = [
        await rig.post("/notifications", "ann", values),
        await rig.post("/notifications", "ann", {"title": "t", "content": "c", "userId": MARK}),
        await rig.post_raw("/notifications", "ann", f'{{"{MARK}":'.encode()),
        await rig.post("/jobs", "ann", {"kind": MARK, "payload": {}}),
        await rig.post("/jobs", "ann", {"kind": "demo.steps", "payload": {"steps": MARK, "delayMs": 0}}),
        await rig.post("/tickets", "ann", {"for": f"/{MARK}"}),
        await rig.post("/notifications", "ann", {}, **{"Idempotency-Key": MARK * 50}),
        await rig.get(f"/jobs?status={MARK}&cursor={MARK}&limit={MARK}", "ann"),
        await rig.get(f"/jobs/{MARK}", "ann"),
        await rig.get(f"/{MARK}", "ann"),
        await rig.get("/jobs", "ann", Origin=f"https://{MARK}.example"),
        await rig.client.get("/jobs", headers={"Authorization": f"Bearer {MARK}"}),
        await rig.client.get(f"/jobs?token={token}"),
    ]
    for answer in answers:
        assert answer.status_code >= 400
        assert MARK not in answer.text + str(answer.headers)
        assert token not in answer.text + str(answer.headers)
        assert not re.search("pydantic|starlette|sqlalchemy|Traceback|SELECT|/src/|[.]py", answer.text)


async def test_what_is_someone_elses_does_not_exist(rig: Rig) -> None:
    """Whatever belongs to someone else answers exactly as if it did not exist: the same bytes but for
    ``requestId`` and ``Date``, malformed ids included. A job belongs to the user who made it; an ADMIN is a
    stranger to it.
    """
    strange_ids = [
        (await rig.job("bob"))["id"],
        (await rig.notified("bob"))["id"],
        (await rig.job("eve"))["id"],
        (await rig.notified("eve"))["id"],
        new_id(),
        new_id().upper(),
        "nonsense",
        "0",
        "%00",
        "%0A",
        "%F0%9F%92%A9",
        "..%2Fjobs",
        "a" * 4000,
        "'%20OR%20'1'='1",
    ]
    routes = [
        ("GET", "/jobs/{}"),
        ("POST", "/jobs/{}/cancel"),
        ("POST", "/jobs/{}/retry"),
        ("GET", "/notifications/{}"),
        ("POST", "/notifications/{}/read"),
        ("POST", "/notifications/{}/unread"),
        ("POST", "/notifications/{}/archive"),
    ]
    for name in ("ann", "amy", "root"):
        seen = {
            str(bytes_of(await rig.client.request(method, route.format(one), headers=rig.as_(name))))
            for method, route in routes
            for one in strange_ids
        }
        assert len(seen) == 1, name
        assert seen.pop().startswith("(404, ")


async def test_no_header_names_the_software(rig: Rig) -> None:
    """No header names the software beneath."""
    for answer in (await rig.get("/jobs", "ann"), await rig.client.get("/nowhere")):
        assert not re.search("uvicorn|starlette|fastapi|python|tidings", str(answer.headers), re.IGNORECASE)


async def test_a_stranger_is_refused_on_every_surface(rig: Rig) -> None:
    """A present Origin that is not allowed, empty and ``null`` included, is 403 on every surface: [...] REST,
    CORS preflight. A missing Origin is allowed where the credential is an explicit token, never with a cookie.
    """
    for origin in ("", "null", "https://evil.example", "http://tidings.example"):
        assert (await rig.get("/notifications", "ann", Origin=origin)).status_code == 403
        asked = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        assert (await rig.client.options("/notifications", headers=asked)).status_code == 403
    assert (await rig.get("/notifications", "ann")).status_code == 200
    assert (await rig.get("/notifications", "ann", Origin=PAGE_ORIGIN)).status_code == 200
    cookie = {"Cookie": f"tidings={rig.token('ann')}"}
    assert (await rig.client.get("/notifications", headers=cookie)).status_code == 401
