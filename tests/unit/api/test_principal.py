"""Who a request stands for, and how often they may ask."""

import re

import pytest

from tests.support.services import OWN_ORIGIN, Rig, serving
from tidings.domain.audit import SecurityEventType
from tidings.identity.limiter import SlidingWindow

PATHS = (
    ("GET", "/notifications"),
    ("GET", "/notifications/unread"),
    ("POST", "/notifications"),
    ("POST", "/notifications/read-all"),
    ("GET", "/notifications/x"),
    ("POST", "/notifications/x/read"),
    ("POST", "/notifications/x/unread"),
    ("POST", "/notifications/x/archive"),
    ("GET", "/jobs"),
    ("POST", "/jobs"),
    ("GET", "/jobs/x"),
    ("POST", "/jobs/x/cancel"),
    ("POST", "/jobs/x/retry"),
    ("POST", "/tickets"),
)


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_nothing_is_read_before_somebody_is_known(rig: Rig, method: str, path: str) -> None:
    """Without a credential each resource is 401, whatever its body is and whether it exists."""
    answer = await rig.client.request(method, path, content=b"{" * 1000)
    assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHENTICATED")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "ratelimit" not in answer.headers


async def test_every_bad_credential_gets_the_same_answer(rig: Rig) -> None:
    """The reason is for the security log alone."""
    good, other = rig.token("ann"), rig.token("bob")
    bad = [
        [("Authorization", "Bearer nonsense")],
        [("Authorization", "Bearer ")],
        [("Authorization", f"Bearer {good}x")],
        [("Authorization", f"Basic {good}")],
        [("Authorization", f"Bearer {good} {good}")],
        [("Authorization", f"Bearer {good}"), ("Authorization", f"Bearer {good}")],
        [("Authorization", f"Bearer {good}"), ("Authorization", f"Bearer {other}")],
        [("Authorization", f"Bearer {good}"), ("Cookie", f"tidings={other}"), ("Origin", OWN_ORIGIN)],
        [("Cookie", f"tidings={good}")],
        [("Cookie", f"tidings={good}"), ("Sec-Fetch-Site", "cross-site")],
    ]
    bodies = set()
    for headers in bad:
        answer = await rig.client.get("/notifications", headers=headers)
        assert answer.status_code == 401, headers
        bodies.add(re.sub('"requestId":"[^"]+"', "", answer.text))
    assert len(bodies) == 1
    reasons = {event.reason for event in await rig.audited()}
    assert {"malformed", "malformed_header", "conflicting_credentials", "missing"} <= reasons


async def test_a_token_in_the_query_string_is_a_violation(rig: Rig) -> None:
    """It is refused even beside a good one, and neither answered nor written down."""
    token = rig.token("ann")
    answer = await rig.get(f"/notifications?access_token={token}", "ann")
    assert answer.status_code == 401
    assert token not in answer.text
    (event,) = await rig.audited()
    assert (event.event, event.reason) == (SecurityEventType.SECURITY_VIOLATION, "token_in_query")
    assert token not in str(event)


async def test_a_cookie_counts_from_allowed_pages(rig: Rig) -> None:
    """With an allowed Origin, or when the browser says it is the same."""
    cookie = f"tidings={rig.token('ann')}"
    for proof in ({"Origin": OWN_ORIGIN}, {"Sec-Fetch-Site": "same-origin"}):
        answer = await rig.client.get("/notifications", headers={"Cookie": cookie, **proof})
        assert answer.status_code == 200, proof


async def test_the_rate_limit_is_told_and_kept(sqlite_url: str) -> None:
    """Each answer says what is left; over the limit nothing is done, and it is written down."""
    async with serving(sqlite_url, limiter=SlidingWindow(2, 60)) as rig:
        first = await rig.get("/notifications", "ann")
        assert first.headers["ratelimit-policy"] == '"user";q=2;w=60'
        assert first.headers["ratelimit"] == '"user";r=1'
        assert (await rig.get("/nowhere", "ann")).headers.get("ratelimit") is None
        assert (await rig.get("/jobs/x", "ann")).headers["ratelimit"] == '"user";r=0'
        over = await rig.post("/notifications", "ann", {"title": "t", "content": "c"})
        wait = over.headers["retry-after"]
        assert (over.status_code, over.json()["code"]) == (429, "RATE_LIMITED")
        assert over.headers["ratelimit"] == f'"user";r=0;t={wait}'
        assert 1 <= int(wait) <= 60
        assert (await rig.get("/notifications", "bob")).json()["items"] == []
        (event,) = await rig.audited()
        assert (event.event, event.user_id) == (
            SecurityEventType.RATE_LIMIT_EXCEEDED,
            rig.people["ann"].id,
        )


async def test_who_is_not_known_uses_nobodys_share(sqlite_url: str) -> None:
    """Requests that were refused as unauthenticated count for no user."""
    async with serving(sqlite_url, limiter=SlidingWindow(1, 60)) as rig:
        for _ in range(3):
            assert (await rig.client.get("/notifications")).status_code == 401
        assert (await rig.get("/notifications", "ann")).status_code == 200
