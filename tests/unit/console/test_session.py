"""The way into the console: from a token to a cookie, and out again."""

import re
import time

import httpx
import pytest

from tests.support.console import SAME_ORIGIN, SESSION, Desk, opened
from tests.support.services import OWN_ORIGIN, PAGE_ORIGIN, SECRET
from tidings.domain.audit import SecurityEvent, SecurityEventType
from tidings.domain.ids import new_id
from tidings.domain.people import UserId
from tidings.identity.credentials import COOKIE_SECURE
from tidings.identity.tokens import issue

FOREIGN: tuple[dict[str, str], ...] = (
    {},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "same-site", "Origin": PAGE_ORIGIN},
    {"Origin": PAGE_ORIGIN},
)
"""Requests that no page of this server makes; an application's page is allowed, and is another one."""


def flags(answer: httpx.Response) -> list[str]:
    return str(answer.headers["set-cookie"]).split("; ")


async def only_event(desk: Desk) -> SecurityEvent:
    (event,) = await desk.rig.audited()
    return event


async def test_sign_in(desk: Desk) -> None:
    """Contract 2 and 11: "an HttpOnly ``SameSite=Strict`` session cookie"; ``tidings`` without https."""
    token = desk.rig.token("ann", ttl=600)
    answer = await desk.sign_in(token)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["cache-control"] == "no-store"
    value, lifetime, *rest = flags(answer)
    assert value == f"tidings={token}"
    assert rest == ["Path=/", "HttpOnly", "SameSite=Strict"]
    assert 590 <= int(lifetime.removeprefix("Max-Age=")) <= 600
    event = await only_event(desk)
    assert (event.event, event.reason) == (SecurityEventType.AUTHENTICATION_SUCCESS, "console")
    assert event.user_id == desk.rig.people["ann"].id


async def test_over_https(sqlite_url: str) -> None:
    """Contract 11: "the console's cookie is ``__Host-tidings`` over https", which has to be Secure and of Path=/."""
    async with opened(sqlite_url, cookie_name=COOKIE_SECURE, base=OWN_ORIGIN) as desk:
        value, _, *rest = flags(await desk.sign_in(desk.rig.token("ann")))
    assert value.startswith("__Host-tidings=")
    assert rest == ["Path=/", "HttpOnly", "SameSite=Strict", "Secure"]


async def test_who_is_signed_in(desk: Desk) -> None:
    """With the cookie the page is told who the user is, and REST answers as with the token."""
    await desk.sign_in(desk.rig.token("amy"))
    body = (await desk.get(SESSION)).json()
    assert body["user"] == {
        "id": desk.rig.people["amy"].id,
        "tenantId": desk.rig.people["amy"].tenant_id,
        "email": desk.rig.people["amy"].email,
        "name": desk.rig.people["amy"].name,
        "role": "ADMIN",
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]+\.\d{3}Z", body["expiresAt"])
    assert (await desk.get("/jobs")).json() == {"items": [], "nextCursor": None}
    assert (await desk.get("/admin/security-events")).status_code == 200
    assert (await desk.get("/admin/nodes")).status_code == 403


async def test_nobody_is_no_failure(desk: Desk) -> None:
    """A visitor without a cookie is not signed in, which is nothing to be written down."""
    answer = await desk.get(SESSION)
    assert (answer.status_code, answer.content) == (204, b"")
    assert await desk.rig.audited() == []


@pytest.mark.parametrize("headers", FOREIGN)
async def test_only_own_pages_sign_in_and_out(desk: Desk, headers: dict[str, str]) -> None:
    """Another page could sign its visitor in as somebody else, or out; neither sets a cookie."""
    for answer in (
        await desk.client.post(SESSION, json={"token": desk.rig.token("ann")}, headers=headers),
        await desk.client.delete(SESSION, headers=headers),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
        assert "set-cookie" not in answer.headers
    assert {event.event for event in await desk.rig.audited()} == {SecurityEventType.ORIGIN_REJECTED}


async def test_browsers_that_tell_no_site(desk: Desk) -> None:
    """They send an Origin with what changes something, and the server's own address is as good."""
    assert (await desk.sign_in(desk.rig.token("ann"), Origin=OWN_ORIGIN)).status_code == 204


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}])
async def test_a_cookie_counts_from_own_pages_alone(desk: Desk, headers: dict[str, str]) -> None:
    """Contract 2: the cookie "is accepted only with an allowed ``Origin`` or ``Sec-Fetch-Site: same-origin``".

    Reading routes and changing ones alike.
    """
    notification, job = (await desk.rig.notified("ann"))["id"], (await desk.rig.job("ann"))["id"]
    reading = ["/jobs", f"/jobs/{job}", "/notifications", "/notifications/unread", "/admin/nodes", SESSION]
    changing = ["/jobs", f"/jobs/{job}/cancel", "/notifications", "/notifications/read-all", "/tickets"]
    changing += [f"/notifications/{notification}/read", "/admin/tokens/revoke"]
    sent = {**desk.cookie(desk.rig.token("ann")), **headers}
    refused = [await desk.client.get(path, headers=sent) for path in reading]
    refused += [await desk.client.post(path, json={}, headers=sent) for path in changing]
    assert {answer.status_code for answer in refused} == {401}
    for good in (SAME_ORIGIN, {"Origin": PAGE_ORIGIN}):
        assert (await desk.client.get("/jobs", headers={**sent, **good})).status_code == 200


async def test_an_origin_that_is_not_allowed(desk: Desk) -> None:
    """Contract 4: "a present Origin that is not allowed ... is 403 on every surface", this one too."""
    headers = {**SAME_ORIGIN, "Origin": "https://evil.example"}
    assert (await desk.sign_in(desk.rig.token("ann"), **headers)).status_code == 403


async def test_tokens_that_are_no_good(desk: Desk) -> None:
    """They are refused as everywhere, in the same words, and no cookie is set."""
    expired = issue(SECRET, desk.rig.people["ann"].id, ttl=60, now=time.time() - 120, jti=new_id())
    good = desk.rig.token("ann")
    forged = issue(
        "another secret of 32 bytes or so", UserId(new_id()), ttl=60, now=time.time(), jti=new_id()
    )
    for token in (expired, forged, "nonsense", f"{good};", f"{good}\r\n", f"{good} "):
        answer = await desk.sign_in(token)
        assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHENTICATED")
        assert "set-cookie" not in answer.headers
    reasons = [event.reason for event in await desk.rig.audited()]
    assert reasons == ["expired", "bad_signature", *["malformed"] * 4]


async def test_two_credentials(desk: Desk) -> None:
    """Contract 2: "two differing credentials in one request are refused"; an older cookie is what is exchanged."""
    ann, bob = desk.rig.token("ann"), desk.rig.token("bob")
    assert (await desk.sign_in(ann, **SAME_ORIGIN, Authorization=f"Bearer {bob}")).status_code == 401
    assert (await desk.sign_in(ann, **SAME_ORIGIN, Authorization=f"Bearer {ann}")).status_code == 204
    assert (await desk.sign_in(bob)).status_code == 204
    assert (await desk.get(SESSION)).json()["user"]["id"] == desk.rig.people["bob"].id


async def test_a_token_too_long_for_a_cookie(desk: Desk) -> None:
    """Browsers drop a cookie of more than 4096 bytes without a word, so the page is told."""
    answer = await desk.sign_in(
        issue(SECRET, desk.rig.people["ann"].id, ttl=60, now=time.time(), jti="x" * 3200)
    )
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert fault["field"] == "token"


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b'{"token": "x"}', "text/plain", 415),
        (b'{"token": "x"', "application/json", 400),
        (b'{"token": 1}', "application/json", 422),
        (b'{"token": "x", "more": 1}', "application/json", 422),
        (b"[]", "application/json", 422),
        (b'{"token": "' + b"x" * 20_000 + b'"}', "application/json", 413),
    ],
)
async def test_bodies(desk: Desk, body: bytes, media_type: str, status: int) -> None:
    """What is no form of this kind is refused as such."""
    sent = {**SAME_ORIGIN, "Content-Type": media_type}
    assert (await desk.client.post(SESSION, content=body, headers=sent)).status_code == status


async def test_attempts_are_limited(sqlite_url: str) -> None:
    """Who tries tokens one after the other is told to wait, good ones too, and is written down."""
    async with opened(sqlite_url, points=2) as desk:
        answers = [await desk.sign_in("nonsense"), await desk.sign_in("nonsense")]
        answers.append(await desk.sign_in(desk.rig.token("ann")))
        assert [answer.status_code for answer in answers] == [401, 401, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        *_, last = await desk.rig.audited()
    assert (last.event, last.reason) == (SecurityEventType.RATE_LIMIT_EXCEEDED, "console")


async def test_sign_out(desk: Desk) -> None:
    """The browser forgets the cookie; a token that was good stays so elsewhere."""
    token = desk.rig.token("ann")
    await desk.sign_in(token)
    answer = await desk.client.delete(SESSION, headers=SAME_ORIGIN)
    assert answer.status_code == 204
    assert flags(answer) == ["tidings=", "Max-Age=0", "Path=/", "HttpOnly", "SameSite=Strict"]
    assert (await desk.get(SESSION)).status_code == 204
    header = {"Authorization": f"Bearer {token}"}
    assert (await desk.client.get("/jobs", headers=header)).status_code == 200


async def test_other_methods(desk: Desk) -> None:
    """The session is read, begun and ended, and nothing else."""
    assert (await desk.client.put(SESSION)).status_code == 405
    assert (await desk.client.head(SESSION, headers=SAME_ORIGIN)).status_code == 204
