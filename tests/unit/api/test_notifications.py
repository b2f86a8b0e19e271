"""``/notifications``."""

from collections.abc import Mapping
from typing import Any

from tests.support.services import Rig
from tidings.domain.channel import user_channel
from tidings.domain.notification import CONTENT_MAX, DATA_MAX_BYTES, TITLE_MAX

EMOJI = "\N{FIRE}"


async def test_a_notification_comes_back_as_it_was_made(rig: Rig) -> None:
    """201 with the whole of it and where it is, and it is published."""
    data = {"text": "日本", "n": 1.5, "deep": [{"x": None}]}
    body = {"title": "Hello", "content": "News.", "priority": "high", "data": data}
    ann = rig.people["ann"]
    before = await rig.broker.position(ann.tenant_id)
    answer = await rig.post("/notifications", "ann", body)
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/notifications/{made['id']}"
    assert {name: made[name] for name in body} == body
    assert (made["tenantId"], made["userId"], made["createdBy"]) == (ann.tenant_id, ann.id, ann.id)
    assert (made["audience"], made["readAt"], made["archivedAt"]) == ("user", None, None)
    assert (await rig.get(answer.headers["location"], "ann")).json() == made
    await rig.services.relay.flushed()
    history = await rig.broker.read([user_channel(ann.tenant_id, ann.id)], before)
    assert [one.event.name for one in history.events] == ["notification:new", "notification:unread"]


async def test_lengths_are_counted_in_code_points(rig: Rig) -> None:
    """200 emoji are a title, 201 are none; 1,000 are a content; data is 8 KiB of compact JSON."""
    frame = len('{"x":""}')
    cases: list[tuple[dict[str, Any], int]] = [
        ({"title": EMOJI * TITLE_MAX}, 201),
        ({"title": EMOJI * (TITLE_MAX + 1)}, 422),
        ({"content": EMOJI * CONTENT_MAX}, 201),
        ({"content": EMOJI * (CONTENT_MAX + 1)}, 422),
        ({"data": {"x": "y" * (DATA_MAX_BYTES - frame)}}, 201),
        ({"data": {"x": "y" * (DATA_MAX_BYTES - frame + 1)}}, 422),
        ({"data": {"x": EMOJI * (DATA_MAX_BYTES // 4)}}, 422),
    ]
    for changes, status in cases:
        body = {"title": "t", "content": "c", **changes}
        assert (await rig.post("/notifications", "ann", body)).status_code == status, list(changes)


async def test_roles_decide_whom_one_may_notify(rig: Rig) -> None:
    """403 for an audience one may not address, 404 for whom one cannot see."""
    people = rig.people
    to_bob, to_eve = {"userId": people["bob"].id}, {"userId": people["eve"].id}
    to_acme, to_other = {"tenantId": people["ann"].tenant_id}, {"tenantId": people["eve"].tenant_id}
    cases: list[tuple[str, Mapping[str, str], int]] = [
        ("ann", {"userId": people["ann"].id}, 201),
        ("ann", to_bob, 404),
        ("ann", {"userId": "nobody"}, 404),
        ("ann", {"audience": "tenant"}, 403),
        ("ann", {"audience": "global"}, 403),
        ("amy", to_bob, 201),
        ("amy", to_eve, 404),
        ("amy", {"audience": "tenant"}, 201),
        ("amy", to_acme, 201),
        ("amy", to_other, 404),
        ("amy", {"audience": "global"}, 403),
        ("root", to_eve, 201),
        ("root", to_other, 201),
        ("root", {"tenantId": "nothing"}, 404),
        ("root", {"audience": "global"}, 201),
        ("root", {"audience": "global", **to_bob}, 422),
    ]
    for name, to, status in cases:
        answer = await rig.post("/notifications", name, {"title": "t", "content": "c", **to})
        assert answer.status_code == status, (name, to)


async def test_pages_lead_to_the_end(rig: Rig) -> None:
    """The newest first, each once, and no cursor on the last page."""
    made = [(await rig.notified("ann"))["id"] for _ in range(5)]
    seen: list[str] = []
    path: str | None = "/notifications?limit=2"
    while path is not None:
        page = (await rig.get(path, "ann")).json()
        assert set(page) == {"items", "nextCursor"}
        seen += [item["id"] for item in page["items"]]
        cursor = page["nextCursor"]
        path = None if cursor is None else f"/notifications?limit=2&cursor={cursor}"
    assert seen == made[::-1]


async def test_marking_and_counting(rig: Rig) -> None:
    """Read, unread, archived and all at once: each answers as the contract says, and the count follows."""
    first, second = (await rig.notified("ann"))["id"], (await rig.notified("ann"))["id"]
    read = await rig.post(f"/notifications/{first}/read", "ann")
    assert (read.status_code, read.json()["id"]) == (200, first)
    assert read.json()["readAt"] is not None
    assert [item["id"] for item in (await rig.get("/notifications?unread=true", "ann")).json()["items"]] == [
        second
    ]
    unread = await rig.post(f"/notifications/{first}/unread", "ann")
    assert unread.json()["readAt"] is None
    count = (await rig.get("/notifications/unread", "ann")).json()
    assert (set(count), count["count"]) == ({"count", "version"}, 2)
    archived = await rig.post(f"/notifications/{second}/archive", "ann", {})
    assert archived.json()["archivedAt"] is not None
    assert [item["id"] for item in (await rig.get("/notifications", "ann")).json()["items"]] == [first]
    marked = (await rig.post("/notifications/read-all", "ann")).json()
    assert (marked["updated"], marked["unread"]["count"]) == (1, 0)
    assert marked["unread"]["version"] > count["version"]


async def test_what_is_sent_to_many_is_read_by_each(rig: Rig) -> None:
    """A receipt is the reader's own."""
    note = (
        await rig.post("/notifications", "amy", {"title": "t", "content": "c", "audience": "tenant"})
    ).json()
    await rig.post(f"/notifications/{note['id']}/read", "ann")
    assert (await rig.get(f"/notifications/{note['id']}", "ann")).json()["readAt"] is not None
    assert (await rig.get(f"/notifications/{note['id']}", "bob")).json()["readAt"] is None
    assert (await rig.get(f"/notifications/{note['id']}", "eve")).status_code == 404


async def test_a_path_is_not_an_id(rig: Rig) -> None:
    """``unread`` and ``read-all`` are read before ids, each with its own methods."""
    assert (await rig.get("/notifications/unread", "ann")).status_code == 200
    wrong = await rig.get("/notifications/read-all", "ann")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    wrong = await rig.post("/notifications/unread", "ann")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD")
