"""Bodies and queries: what is read, and what is refused."""

from collections.abc import AsyncIterator

from tests.support.services import Rig, serving

GOOD = b'{"title":"Hello","content":"News."}'

MALFORMED = {
    "nothing": b"",
    "space": b"   ",
    "no JSON": b"title=Hello",
    "cut off": b'{"title":"Hello"',
    "something behind": GOOD + b"{}",
    "trailing comma": b'{"title":"Hello","content":"News.",}',
    "single quotes": b"{'title':'Hello','content':'News.'}",
    "comment": b'{"title":"Hello",/**/"content":"News."}',
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "no UTF-8": b'{"title":"\xff\xfe","content":"News."}',
    "UTF-16": GOOD.decode().encode("utf-16"),
    "NUL in the text": b'{"title":"a\x00b","content":"News."}',
    "duplicate key": b'{"title":"a","title":"b","content":"News."}',
    "deep duplicate": b'{"title":"a","content":"c","data":{"x":{"y":1,"y":1}}}',
    "lone surrogate": b'{"title":"\\ud800","content":"News."}',
    "surrogates reversed": b'{"title":"\\udc00\\ud800","content":"News."}',
    "NaN": b'{"title":"a","content":"c","data":{"x":NaN}}',
    "infinity": b'{"title":"a","content":"c","data":{"x":-Infinity}}',
    "overflow": b'{"title":"a","content":"c","data":{"x":1e999}}',
    "2^53+1": b'{"title":"a","content":"c","data":{"x":9007199254740993}}',
    "endless integer": b'{"title":"a","content":"c","data":{"x":' + b"9" * 5000 + b"}}",
    "deep": b'{"title":"a","content":"c","data":{"x":' + b"[" * 31 + b"]" * 31 + b"}}",
    "very deep": b"[" * 100_000,
}
NO_OBJECTS = (b"[]", b"null", b"1", b'"text"', b"true", b"[" + GOOD + b"]")
FAULTS = {
    "wrong type": (b'{"title":1,"content":"c"}', "title"),
    "null": (b'{"title":null,"content":"c"}', "title"),
    "missing": (b'{"title":"t"}', "content"),
    "empty": (b'{"title":"","content":"c"}', "title"),
    "NUL": (b'{"title":"a\\u0000b","content":"c"}', "title"),
    "unknown priority": (b'{"title":"t","content":"c","priority":"urgent"}', "priority"),
    "no object": (b'{"title":"t","content":"c","data":[]}', "data"),
    "unknown field": (b'{"title":"t","content":"c","colour":"red"}', "colour"),
    "snake case": (b'{"title":"t","content":"c","user_id":"x"}', "user_id"),
    "long id": (b'{"title":"t","content":"c","userId":"' + b"x" * 129 + b'"}', "userId"),
    "long data": (b'{"title":"t","content":"c","data":{"x":"' + b"y" * 8192 + b'"}}', "data"),
}
MEDIA_TYPES = ("application/json", "application/json; charset=utf-8", 'Application/JSON ;charset="UTF-8"')
OTHER_MEDIA_TYPES = (
    "",
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/jsonp",
    "application/json, text/plain",
    "application/json; charset=latin-1",
    "application/json; charset=utf-8; x=y",
    "application/problem+json",
)


async def test_what_is_not_json_is_malformed(rig: Rig) -> None:
    """400 for each class of malformed JSON, and nothing of the input comes back."""
    for name, body in MALFORMED.items():
        answer = await rig.post_raw("/notifications", "ann", body)
        assert (answer.status_code, answer.json()["code"]) == (400, "MALFORMED"), name
        assert set(answer.json()) == {"type", "title", "status", "code", "requestId"}, name
    assert (await rig.get("/notifications", "ann")).json()["items"] == []


async def test_what_is_no_object_is_no_form(rig: Rig) -> None:
    """JSON that is fine but no object is a validation error of the whole."""
    for body in NO_OBJECTS:
        answer = await rig.post_raw("/notifications", "ann", body)
        assert answer.status_code == 422, body
        assert answer.json()["errors"] == [{"field": "", "message": "is not an object"}], body


async def test_each_fault_names_its_field_and_not_its_content(rig: Rig) -> None:
    """422 with the field's name on the wire."""
    for name, (body, field) in FAULTS.items():
        answer = await rig.post_raw("/notifications", "ann", body)
        assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_FAILED"), name
        assert [error["field"] for error in answer.json()["errors"]] == [field], name
        assert "yyyy" not in answer.text, name


async def test_json_is_declared(rig: Rig) -> None:
    """Only ``application/json``, in UTF-8, and only once."""
    for media_type in MEDIA_TYPES:
        answer = await rig.post_raw("/notifications", "ann", GOOD, **{"Content-Type": media_type})
        assert answer.status_code == 201, media_type
    for media_type in OTHER_MEDIA_TYPES:
        answer = await rig.post_raw("/notifications", "ann", GOOD, **{"Content-Type": media_type})
        assert (answer.status_code, answer.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE"), media_type
    bearer = ("Authorization", f"Bearer {rig.token('ann')}")
    twice = [bearer, ("Content-Type", "application/json"), ("Content-Type", "application/json")]
    assert (await rig.client.post("/notifications", content=GOOD, headers=twice)).status_code == 415
    assert (await rig.client.post("/notifications", content=GOOD, headers=[bearer])).status_code == 415


async def test_depth_counts_the_outermost_value(rig: Rig) -> None:
    """32 are accepted: the body, its data, and 30 within."""
    body = b'{"title":"a","content":"c","data":{"x":' + b"[" * 30 + b"]" * 30 + b"}}"
    assert (await rig.post_raw("/notifications", "ann", body)).status_code == 201


async def test_a_large_body_is_refused(sqlite_url: str) -> None:
    """The limit holds on servers that have none of their own, in one piece or in many."""

    async def pieces(size: int) -> AsyncIterator[bytes]:
        for _ in range(size):
            yield b" "

    async with serving(sqlite_url, max_body_bytes=1024) as rig:
        padded = GOOD + b" " * (1024 - len(GOOD))
        assert (await rig.post_raw("/notifications", "ann", padded)).status_code == 201
        answer = await rig.post_raw("/notifications", "ann", padded + b" ")
        assert (answer.status_code, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")
        headers = rig.as_("ann", **{"Content-Type": "application/json"})
        chunked = await rig.client.post("/notifications", content=pieces(1025), headers=headers)
        assert chunked.status_code == 413


async def test_a_post_that_takes_no_body(rig: Rig) -> None:
    """It takes none or an empty object, and nothing else."""
    assert (await rig.post("/notifications/read-all", "ann")).status_code == 200
    assert (await rig.post("/notifications/read-all", "ann", {})).status_code == 200
    refused = ((b"[]", 422), (b'{"all":true}', 422), (b"{", 400), (b" ", 400))
    for body, status in refused:
        assert (await rig.post_raw("/notifications/read-all", "ann", body)).status_code == status, body
    plain = {"Content-Type": "text/plain"}
    assert (await rig.post_raw("/notifications/read-all", "ann", b"{}", **plain)).status_code == 415


async def test_queries_are_read_strictly(rig: Rig) -> None:
    """A parameter that is known is one of its values; others are no business of ours."""
    good = ("", "limit=1", "limit=100", "unread=true&limit=007", "cursor=&limit=&unread=", "utm=1&utm=2")
    for query in good:
        assert (await rig.get(f"/notifications?{query}", "ann")).status_code == 200, query
    bad = {
        "limit": ("0", "101", "-1", "1.0", "1e2", "%201", "ten", "٣", "1" * 30),
        "unread": ("1", "yes", "True", "null"),
        "cursor": ("x", "%00", "é", "a" * 300, "..", "%F0%9F%92%A9"),
    }
    for field, texts in bad.items():
        for text in texts:
            answer = await rig.get(f"/notifications?{field}={text}", "ann")
            assert answer.status_code == 422, (field, text)
            assert [error["field"] for error in answer.json()["errors"]] == [field], (field, text)


async def test_a_parameter_that_is_given_twice_is_refused(rig: Rig) -> None:
    """Which of the two is meant is not guessed."""
    answer = await rig.get("/notifications?limit=1&limit=2", "ann")
    assert answer.json()["errors"] == [{"field": "limit", "message": "is given twice"}]
