"""``Idempotency-Key``, over the routes that create."""

import asyncio

from tests.support.services import Rig
from tidings.domain import strictjson

NOTE = {"title": "Hello", "content": "News."}
JOB = {"kind": "demo.steps", "payload": {"steps": 1, "delayMs": 0}}
TICKET = {"for": "/notifications/events"}


async def test_a_repeated_post_answers_the_first_result(rig: Rig) -> None:
    """The same status, body and Location on each creating route; nothing is done twice."""
    for path, body in (("/notifications", NOTE), ("/jobs", JOB), ("/tickets", TICKET)):
        first, again = [await rig.post(path, "ann", body, **{"Idempotency-Key": "k"}) for _ in range(2)]
        assert (again.status_code, again.content) == (first.status_code, first.content), path
        assert again.headers.get("location") == first.headers.get("location"), path
    assert len((await rig.get("/notifications", "ann")).json()["items"]) == 1
    assert len((await rig.get("/jobs", "ann")).json()["items"]) == 1


async def test_posts_at_the_same_time_are_one(rig: Rig) -> None:
    """Ten racing requests with one key make one notification."""
    racing = [rig.post("/notifications", "ann", NOTE, **{"Idempotency-Key": "race"}) for _ in range(10)]
    assert len({answer.content for answer in await asyncio.gather(*racing)}) == 1
    assert len((await rig.get("/notifications", "ann")).json()["items"]) == 1


async def test_a_used_key_with_another_body_is_a_conflict(rig: Rig) -> None:
    """Bodies are compared as they came: a space more is another body."""
    key = {"Idempotency-Key": "k"}
    for path, body in (("/notifications", NOTE), ("/jobs", JOB), ("/tickets", TICKET)):
        raw = strictjson.dumps(body)
        assert (await rig.post_raw(path, "ann", raw, **key)).status_code < 300
        answer = await rig.post_raw(path, "ann", raw + b" ", **key)
        assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT"), path


async def test_a_key_belongs_to_a_user_and_a_route(rig: Rig) -> None:
    """The same key of another user, or on another route, is another key."""
    key = {"Idempotency-Key": "k"}
    anns = await rig.post("/notifications", "ann", NOTE, **key)
    bobs = await rig.post("/notifications", "bob", NOTE, **key)
    assert anns.json()["id"] != bobs.json()["id"]
    assert (await rig.post("/jobs", "ann", JOB, **key)).status_code == 202


async def test_what_failed_may_be_tried_again(rig: Rig) -> None:
    """Only results are remembered."""
    key = {"Idempotency-Key": "k"}
    assert (await rig.post("/notifications", "ann", {**NOTE, "audience": "global"}, **key)).status_code == 403
    assert (await rig.post("/notifications", "ann", NOTE, **key)).status_code == 201


async def test_a_key_is_printable_and_short(rig: Rig) -> None:
    """1 to 255 printable ASCII characters, once."""
    for good in ("k", "k" * 255, "a b~!", '"quoted"'):
        assert (await rig.post("/notifications", "ann", NOTE, **{"Idempotency-Key": good})).status_code == 201
    token = f"Bearer {rig.token('ann')}".encode()
    for bad in ([b""], [b"k" * 256], [b"\xc3\xa9"], [b"a\tb"], [b"k", b"k"]):
        headers = [(b"Authorization", token), *((b"Idempotency-Key", key) for key in bad)]
        for path, body in (("/notifications", NOTE), ("/jobs", JOB), ("/tickets", TICKET)):
            answer = await rig.client.post(path, json=body, headers=headers)
            assert answer.status_code == 422, (path, bad)
            assert [error["field"] for error in answer.json()["errors"]] == ["Idempotency-Key"]
