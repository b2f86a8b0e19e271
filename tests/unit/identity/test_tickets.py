"""Tickets: the rule as the contract says it. Where they are kept is tested with ``delivery/tickets``."""

from dataclasses import replace

import pytest

from tests.support.identity_rig import NOW, claims
from tidings.identity.rejection import Reason
from tidings.identity.tickets import REOPEN_SECONDS, Ticket, digest, fresh, open_

OWN = "https://tidings.example.com"
APP = "https://app.example.com"
PATH = "/jobs/01890000-0000-7000-8000-000000000001/events"
FRESH = fresh(claims(1), PATH, APP, NOW)


def opened(ticket: Ticket, now: float) -> Ticket:
    outcome = open_(ticket, PATH, APP, now, {OWN})
    assert isinstance(outcome, Ticket)
    return outcome


@pytest.mark.parametrize(("after", "expected"), [(0, None), (30, None), (30.1, Reason.TICKET_LATE)])
def test_the_first_use_is_within_thirty_seconds(after: float, expected: Reason | None) -> None:
    """Contract: "it opens the stream once within 30 s"."""
    outcome = open_(FRESH, PATH, APP, NOW + after, {OWN})
    assert outcome == (expected or replace(FRESH, in_use=True))


def test_one_stream_at_a_time() -> None:
    """Contract: "a second stream at the same time ... is 401", however late it is."""
    first = opened(FRESH, NOW)
    assert open_(first, PATH, APP, NOW + 1, {OWN}) is Reason.TICKET_IN_USE
    assert open_(first, PATH, APP, NOW + 1000, {OWN}) is Reason.TICKET_IN_USE


@pytest.mark.parametrize(("after", "expected"), [(0, None), (60, None), (60.1, Reason.TICKET_LATE)])
def test_it_reopens_within_sixty_seconds_of_its_last_close(after: float, expected: Reason | None) -> None:
    """Contract: "re-opens it ... only within 60 s of its last close"."""
    closed = replace(FRESH, deadline=NOW + 1000 + REOPEN_SECONDS)
    outcome = open_(closed, PATH, APP, NOW + 1000 + after, {OWN})
    assert outcome == (expected or replace(closed, in_use=True))


def test_it_lives_no_longer_than_the_token_behind_it() -> None:
    """Contract: "while the token behind it is valid"."""
    ticket = fresh(replace(claims(1), expires_at=NOW + 10), PATH, APP, NOW)
    assert isinstance(open_(ticket, PATH, APP, NOW + 9.9, {OWN}), Ticket)
    assert open_(ticket, PATH, APP, NOW + 10, {OWN}) is Reason.EXPIRED


@pytest.mark.parametrize(
    "path", ["/notifications/events", PATH + "/", PATH.upper(), "/jobs/other/events", "", "/tickets"]
)
def test_another_path_is_refused(path: str) -> None:
    """Contract: "another path or Origin is 401"."""
    assert open_(FRESH, path, APP, NOW, {OWN}) is Reason.TICKET_PATH


@pytest.mark.parametrize(
    ("bound", "sent", "good"),
    [
        (APP, APP, True),
        (APP, None, False),
        (APP, OWN, False),
        (APP, "null", False),
        (OWN, OWN, True),
        (OWN, None, True),
        (OWN, APP, False),
        (None, None, True),
        (None, APP, True),
    ],
)
def test_it_is_bound_to_the_origin_that_was_sent(bound: str | None, sent: str | None, *, good: bool) -> None:
    """Contract: "bound to path, user and, if one was sent, Origin".

    "A ticket bound to the server's own Origin is good without one too (same-origin `EventSource` sends
    none)."
    """
    outcome = open_(replace(FRESH, origin=bound), PATH, sent, NOW, {OWN})
    assert isinstance(outcome, Ticket) if good else outcome is Reason.TICKET_ORIGIN


def test_it_is_known_by_its_digest() -> None:
    """Whatever text is sent has one."""
    assert len({digest(value) for value in ("", "x", "\ud800", "é" * 1000)}) == 4
