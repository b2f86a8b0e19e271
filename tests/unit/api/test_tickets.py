"""``POST /tickets``."""

import time
from datetime import datetime

import pytest

from tests.support.services import PAGE_ORIGIN, Rig
from tidings.identity.rejection import TicketRejected
from tidings.identity.tickets import FIRST_USE_SECONDS


async def test_a_ticket_opens_the_stream_it_was_made_for(rig: Rig) -> None:
    """201 with the ticket and until when it may first be used; it stands for the user who asked."""
    path = f"/jobs/{(await rig.job('ann'))['id']}/events"
    for stream in (path, "/notifications/events"):
        answer = await rig.post("/tickets", "ann", {"for": stream}, Origin=PAGE_ORIGIN)
        assert (answer.status_code, set(answer.json())) == (201, {"ticket", "expiresAt"})
        until = datetime.fromisoformat(answer.json()["expiresAt"]).timestamp()
        assert 0 < until - time.time() <= FIRST_USE_SECONDS
        ticket = await rig.tickets.open(answer.json()["ticket"], stream, PAGE_ORIGIN)
        assert ticket.claims.subject == rig.people["ann"].id


async def test_a_ticket_is_bound_to_the_page_that_asked(rig: Rig) -> None:
    """The Origin of the request goes into the ticket."""
    answer = await rig.post("/tickets", "ann", {"for": "/notifications/events"}, Origin=PAGE_ORIGIN)
    with pytest.raises(TicketRejected):
        await rig.tickets.open(answer.json()["ticket"], "/notifications/events", "https://evil.example")


async def test_streams_of_others_do_not_exist(rig: Rig) -> None:
    """A stranger's job, no job, and what is no stream at all are the same 404."""
    bobs = (await rig.job("bob"))["id"]
    bodies = set()
    for path in (
        f"/jobs/{bobs}/events",
        "/jobs/nothing/events",
        "/jobs//events",
        "/jobs/%00/events",
        "/notifications",
        "/notifications/events/",
        "/notifications/events?x=1",
        "https://evil.example/notifications/events",
        "",
    ):
        answer = await rig.post("/tickets", "ann", {"for": path})
        assert answer.status_code == 404, path
        bodies.add(answer.text.replace(answer.json()["requestId"], ""))
    assert len(bodies) == 1


async def test_a_ticket_is_for_a_path(rig: Rig) -> None:
    """The field is there, is a text, and is alone."""
    for body in (
        {},
        {"for": 1},
        {"for": None},
        {"for": "x" * 257},
        {"for": "/notifications/events", "to": "x"},
    ):
        assert (await rig.post("/tickets", "ann", body)).status_code == 422, body


async def test_a_repeated_request_gets_the_first_ticket(rig: Rig) -> None:
    """The one that is answered is the one that opens."""
    key = {"Idempotency-Key": "k"}
    answers = [await rig.post("/tickets", "ann", {"for": "/notifications/events"}, **key) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    await rig.tickets.open(answers[1].json()["ticket"], "/notifications/events", None)
