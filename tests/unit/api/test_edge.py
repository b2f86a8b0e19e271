"""The edge: what every request passes first and every response last."""

import logging

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from tests.support.asgi import drive, http_scope
from tests.support.services import OWN_ORIGIN, PAGE_ORIGIN, Rig, serving
from tidings.domain.audit import SecurityEventType
from tidings.domain.ids import is_id
from tidings.metrics import REGISTRY

SURFACES = (
    "/healthz",
    "/readyz",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/notifications",
    "/jobs",
    "/nowhere",
)
STRANGERS = (
    "",
    "null",
    "*",
    "https://evil.example",
    f"{PAGE_ORIGIN}/",
    PAGE_ORIGIN.upper(),
    "http://app.example",
)


def counted(registry: CollectorRegistry, route: str, **labels: str) -> float:
    return registry.get_sample_value("tidings_http_requests_total", {"route": route, **labels}) or 0.0


async def test_each_response_has_an_id_that_the_server_made(rig: Rig) -> None:
    """The id is fresh each time, whatever the client sends under its name, and stands in the problem too."""
    first = await rig.client.get("/nowhere", headers={"X-Request-Id": "mine"})
    second = await rig.client.get("/healthz", headers={"X-Request-Id": "mine"})
    assert is_id(first.headers["x-request-id"])
    assert is_id(second.headers["x-request-id"])
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert first.json()["requestId"] == first.headers["x-request-id"]


async def test_what_nobody_foresaw_is_told_to_the_log_alone(sqlite_url: str) -> None:
    """The client gets INTERNAL_ERROR and the id under which the log has the rest."""

    async def boom(_: Request) -> Response:
        raise RuntimeError("the secret of /etc/passwd")

    async with serving(sqlite_url, [Route("/boom", boom)]) as rig:
        with capture_logs() as lines:
            answer = await rig.client.get("/boom")
    assert answer.status_code == 500
    assert answer.json() == {
        "type": "urn:tidings:error:internal-error",
        "title": "Unable to process request",
        "status": 500,
        "code": "INTERNAL_ERROR",
        "requestId": answer.headers["x-request-id"],
    }
    (line,) = [line for line in lines if line["event"] == "request failed"]
    assert line["requestId"] == answer.headers["x-request-id"]
    assert "passwd" in str(line["exc_info"])


async def test_a_response_that_has_begun_is_not_begun_again(sqlite_url: str) -> None:
    """When a route fails half-way there is nothing left to tell the client."""

    async def half(_: Request) -> Response:
        return Half()

    async with serving(sqlite_url, [Route("/half", half)]) as rig:
        sent = await drive(rig.app, http_scope("GET", "/half"))
    assert [message["type"] for message in sent] == ["http.response.start"]


class Half(Response):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("half-way")


async def test_a_client_that_leaves_is_not_answered(rig: Rig) -> None:
    """A body that breaks off ends the request in silence."""
    headers = [(b"authorization", f"Bearer {rig.token('ann')}".encode())]
    scope = http_scope("POST", "/notifications", headers)
    assert await drive(rig.app, scope, [{"type": "http.disconnect"}]) == []


async def test_a_transport_that_is_taken_over_is_left_alone(sqlite_url: str) -> None:
    """A route that answers by itself is no fault, and is counted as a stream."""

    class Nothing(Response):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            return

    async def stream(_: Request) -> Response:
        return Nothing()

    before = counted(REGISTRY, "/stream", method="GET", status="stream")
    async with serving(sqlite_url, [Route("/stream", stream)]) as rig:
        assert await drive(rig.app, http_scope("GET", "/stream")) == []
    assert counted(REGISTRY, "/stream", method="GET", status="stream") == before + 1


async def test_strange_origins_are_refused_everywhere(rig: Rig) -> None:
    """Each surface answers 403 to each of them, preflights and unknown paths included, and grants nothing."""
    for path in SURFACES:
        for origin in STRANGERS:
            answer = await rig.client.get(path, headers=rig.as_("ann", Origin=origin))
            assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN"), (path, origin)
            assert "access-control-allow-origin" not in answer.headers
    preflight = {"Origin": "null", "Access-Control-Request-Method": "POST"}
    assert (await rig.client.options("/notifications", headers=preflight)).status_code == 403
    events = await rig.audited()
    assert {event.event for event in events} == {SecurityEventType.ORIGIN_REJECTED}


async def test_two_origins_are_none(rig: Rig) -> None:
    """Two allowed origins in one request are no allowed origin."""
    headers = [("Origin", OWN_ORIGIN), ("Origin", PAGE_ORIGIN)]
    assert (await rig.client.get("/healthz", headers=headers)).status_code == 403


async def test_allowed_pages_may_read_what_they_are_answered(rig: Rig) -> None:
    """CORS headers stand on successes and on problems, and without an Origin there are none."""
    for path in ("/notifications", "/nowhere"):
        answer = await rig.get(path, "ann", Origin=PAGE_ORIGIN)
        assert answer.headers["access-control-allow-origin"] == PAGE_ORIGIN
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert "Location" in answer.headers["access-control-expose-headers"]
        assert answer.headers["vary"] == "Origin"
    plain = await rig.get("/notifications", "ann")
    assert plain.headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in plain.headers


async def test_a_preflight_is_answered_for_an_allowed_page(rig: Rig) -> None:
    """It needs no credential, and grants the methods and headers of the surface."""
    asked = {"Origin": PAGE_ORIGIN, "Access-Control-Request-Method": "POST"}
    answer = await rig.client.options("/notifications", headers=asked)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == PAGE_ORIGIN
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "Idempotency-Key" in answer.headers["access-control-allow-headers"]


async def test_options_is_no_method_of_a_resource(rig: Rig) -> None:
    """An OPTIONS that is no preflight is told which methods there are."""
    answer = await rig.client.options("/notifications", headers={"Origin": PAGE_ORIGIN})
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")


async def test_safe_headers_stand_on_every_response(rig: Rig) -> None:
    """Successes, problems, pages: nosniff, no-referrer, HSTS, and no software is named."""
    for path in SURFACES:
        answer = await rig.get(path, "ann")
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.headers["referrer-policy"] == "no-referrer", path
        assert answer.headers["strict-transport-security"].startswith("max-age="), path
        assert not {"server", "x-powered-by", "via"} & set(answer.headers), path
        cached = "no-cache" if path in ("/docs", "/openapi.json") else "no-store"
        assert answer.headers["cache-control"] == cached, path


async def test_http_is_not_told_to_be_https(sqlite_url: str) -> None:
    """HSTS is for a public address that is https."""
    async with serving(sqlite_url, public_https=False) as rig:
        answer = await rig.client.get("/healthz")
    assert "strict-transport-security" not in answer.headers


async def test_while_draining_only_the_operator_is_answered(rig: Rig) -> None:
    """Everything else is 503 with Retry-After; a preflight passes, so that pages can read that."""
    rig.drain.set()
    for path in ("/notifications", "/docs", "/nowhere"):
        answer = await rig.get(path, "ann")
        assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE"), path
        assert 1 <= int(answer.headers["retry-after"]) <= 10
    assert (await rig.client.get("/healthz")).status_code == 200
    assert (await rig.client.get("/metrics")).status_code == 200
    asked = {"Origin": PAGE_ORIGIN, "Access-Control-Request-Method": "POST"}
    assert (await rig.client.options("/notifications", headers=asked)).status_code == 204


async def test_requests_are_counted_by_route(rig: Rig) -> None:
    """The label is the route as written; ids, unknown paths and made-up methods make no label of their own."""
    before = counted(REGISTRY, "/jobs/{id}", method="GET", status="404")
    nowhere = counted(REGISTRY, "none", method="other", status="404")
    for made_up in ("a", "b", "c"):
        await rig.get(f"/jobs/{made_up}", "ann")
    await rig.client.request("BREW", "/coffee")
    assert counted(REGISTRY, "/jobs/{id}", method="GET", status="404") == before + 3
    assert counted(REGISTRY, "none", method="other", status="404") == nowhere + 1


async def test_a_line_for_each_request_can_be_had(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """At level debug, with the route and never the path."""
    with caplog.at_level(logging.DEBUG, "tidings.api"), capture_logs() as lines:
        answer = await rig.get("/jobs/private", "ann")
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["method"], line["route"], line["status"]) == ("GET", "/jobs/{id}", 404)
    assert line["requestId"] == answer.headers["x-request-id"]
    assert "private" not in str(lines)


async def test_trying_what_ones_role_may_not_is_written_down(rig: Rig) -> None:
    """A 403 of a known user is an attempt, with the user and the route."""
    body = {"title": "t", "content": "c", "audience": "global"}
    assert (await rig.post("/notifications", "ann", body)).status_code == 403
    (event,) = await rig.audited()
    assert event.event is SecurityEventType.UNAUTHORIZED_ACCESS_ATTEMPT
    assert (event.user_id, event.reason) == (rig.people["ann"].id, "POST /notifications")


async def test_a_shared_response_keeps_no_header_of_a_request(sqlite_url: str) -> None:
    """A response object that a route answers with again and again is not written into."""
    shared = PlainTextResponse("same")

    async def same(_: Request) -> Response:
        return shared

    async with serving(sqlite_url, [Route("/same", same)]) as rig:
        answers = [await rig.client.get("/same") for _ in range(2)]
    assert [answer.headers.get_list("x-request-id") for answer in answers] == [
        [answer.headers["x-request-id"]] for answer in answers
    ]
    assert answers[0].headers["x-request-id"] != answers[1].headers["x-request-id"]


async def test_what_is_no_http_goes_through(rig: Rig) -> None:
    """Servers that speak lifespan are answered by the routes' own."""
    sent = await drive(
        rig.app,
        {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}},
        [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}],
    )
    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


async def test_head_is_get_without_its_body(rig: Rig) -> None:
    """Status and headers are those of GET, the length included."""
    for path in ("/healthz", "/docs", "/notifications", "/nowhere"):
        head: httpx.Response = await rig.client.head(path, headers=rig.as_("ann"))
        get = await rig.get(path, "ann")
        assert (head.status_code, head.headers["content-length"]) == (
            get.status_code,
            get.headers["content-length"],
        )
