"""Tickets: the rule as the contract says it, and the book against a plain model."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.identity_rig import NOW, HandClock, claims
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.identity.rejection import Reason, TicketRejected
from tidings.identity.tickets import Ticket, TicketBook, Tickets, closed, digest, fresh, open_, spent

OWN = "https://tidings.example.com"
APP = "https://app.example.com"
PATH = "/jobs/01890000-0000-7000-8000-000000000001/events"
FRESH = fresh(claims(1), PATH, APP, NOW)


def opened(ticket: Ticket, now: float) -> Ticket:
    outcome = open_(ticket, PATH, APP, now, OWN)
    assert isinstance(outcome, Ticket)
    return outcome


@pytest.mark.parametrize(("after", "expected"), [(0, None), (30, None), (30.1, Reason.TICKET_LATE)])
def test_the_first_use_is_within_thirty_seconds(after: float, expected: Reason | None) -> None:
    """Contract: "it opens the stream once within 30 s"."""
    outcome = open_(FRESH, PATH, APP, NOW + after, OWN)
    assert outcome == (expected or replace(FRESH, in_use=True))


def test_one_stream_at_a_time() -> None:
    """Contract: "a second stream at the same time ... is 401", however late it is."""
    first = opened(FRESH, NOW)
    assert open_(first, PATH, APP, NOW + 1, OWN) is Reason.TICKET_IN_USE
    assert open_(first, PATH, APP, NOW + 1000, OWN) is Reason.TICKET_IN_USE


@pytest.mark.parametrize(("after", "expected"), [(0, None), (60, None), (60.1, Reason.TICKET_LATE)])
def test_it_reopens_within_sixty_seconds_of_its_last_close(after: float, expected: Reason | None) -> None:
    """Contract: "re-opens it ... only within 60 s of its last close", any number of times."""
    ticket, now = FRESH, NOW
    for _ in range(3):
        ticket, now = closed(opened(ticket, now), now + 100), now + 100
    outcome = open_(ticket, PATH, APP, now + after, OWN)
    assert outcome == (expected or replace(ticket, in_use=True))


def test_closing_twice_does_not_prolong() -> None:
    """Only a stream that was open can end."""
    once = closed(opened(FRESH, NOW), NOW + 1)
    assert closed(once, NOW + 50) is once
    assert closed(FRESH, NOW + 20) is FRESH


def test_it_lives_no_longer_than_the_token_behind_it() -> None:
    """Contract: "while the token behind it is valid"."""
    ticket = fresh(replace(claims(1), expires_at=NOW + 10), PATH, APP, NOW)
    assert isinstance(open_(ticket, PATH, APP, NOW + 9.9, OWN), Ticket)
    assert open_(ticket, PATH, APP, NOW + 10, OWN) is Reason.EXPIRED


@pytest.mark.parametrize(
    "path", ["/notifications/events", PATH + "/", PATH.upper(), "/jobs/other/events", "", "/tickets"]
)
def test_another_path_is_refused(path: str) -> None:
    """Contract: "another path or Origin is 401"."""
    assert open_(FRESH, path, APP, NOW, OWN) is Reason.TICKET_PATH


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
    outcome = open_(replace(FRESH, origin=bound), PATH, sent, NOW, OWN)
    assert isinstance(outcome, Ticket) if good else outcome is Reason.TICKET_ORIGIN


def test_spent_is_for_ever() -> None:
    """A ticket in use is not spent, whatever the time."""
    assert not spent(FRESH, NOW + 30)
    assert spent(FRESH, NOW + 30.1)
    assert not spent(opened(FRESH, NOW), NOW + 1_000_000)
    assert spent(FRESH, claims(1).expires_at)


async def rejection(book: Tickets, value: str, path: str = PATH, origin: str | None = APP) -> Reason:
    with pytest.raises(TicketRejected) as caught:
        await book.open(value, path, origin)
    return caught.value.reason


async def test_a_ticket_of_the_book_opens_its_stream() -> None:
    """Issue, open, close, open again; and the claims come back, to ask who it is."""
    clock = HandClock()
    book: Tickets = TicketBook(OWN, clock=clock)
    value, deadline = await book.issue(claims(1), PATH, APP)
    assert deadline == NOW + 30
    assert (await book.open(value, PATH, APP)).claims == claims(1)
    assert await rejection(book, value) is Reason.TICKET_IN_USE
    clock.now += 1000
    await book.close(value)
    clock.now += 60
    assert (await book.open(value, PATH, APP)).in_use


async def test_a_failed_attempt_spends_nothing() -> None:
    """A stranger who tries the wrong path does not take the ticket from its owner."""
    book = TicketBook(OWN, clock=HandClock())
    value, _ = await book.issue(claims(1), PATH, APP)
    assert await rejection(book, value, path="/notifications/events") is Reason.TICKET_PATH
    assert await rejection(book, value, origin="https://evil.example") is Reason.TICKET_ORIGIN
    assert (await book.open(value, PATH, APP)).in_use


@pytest.mark.parametrize("value", ["", "x", "\ud800", "é" * 1000])
async def test_an_unknown_ticket_opens_nothing(value: str) -> None:
    """Whatever text is sent; and closing what was never open does nothing."""
    book = TicketBook(OWN, clock=HandClock())
    assert await rejection(book, value) is Reason.UNKNOWN_TICKET
    await book.close(value)
    assert len(book) == 0


async def test_values_are_random_and_kept_as_digests_only() -> None:
    """256 bits that fit a URL, and whoever reads the book learns no ticket."""
    book = TicketBook(OWN, clock=HandClock())
    values = {(await book.issue(claims(1), PATH, None))[0] for _ in range(100)}
    assert len(values) == 100
    assert all(len(value) == 43 and value.replace("-", "").replace("_", "").isalnum() for value in values)
    assert set(book._waiting) == {digest(value) for value in values}


async def test_spent_tickets_are_swept_and_the_book_is_bounded() -> None:
    """A full book refuses with a time to come back; what is spent makes room."""
    clock = HandClock()
    book = TicketBook(OWN, clock=clock, limit=3)
    held, _ = await book.issue(claims(1), PATH, APP)
    await book.open(held, PATH, APP)
    for _ in range(2):
        await book.issue(claims(1), PATH, APP)
    with pytest.raises(TidingsError) as caught:
        await book.issue(claims(1), PATH, APP)
    assert (caught.value.code, caught.value.retry_after) == (ErrorCode.UNAVAILABLE, 30)
    clock.now += 31
    await book.issue(claims(1), PATH, APP)
    assert len(book) == 2


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "close", "other path", "other origin"]),
        st.sampled_from([0, 1, 29, 30, 31, 59, 60, 61]),
    ),
    max_size=30,
)


@given(steps=STEPS, sweeping=st.booleans())
async def test_the_book_does_as_the_contract_says(steps: list[tuple[str, int]], *, sweeping: bool) -> None:
    """Model: open or not, when issued, when last closed. Sweeping in between changes nothing."""
    clock = HandClock()
    book = TicketBook(OWN, clock=clock)
    value, _ = await book.issue(claims(1), PATH, APP)
    is_open, last_closed = False, None
    for step, pause in steps:
        clock.now += pause
        if sweeping:
            await book.issue(claims(2), PATH, APP)
        if step == "close":
            await book.close(value)
            last_closed = clock.now if is_open else last_closed
            is_open = False
            continue
        in_time = clock.now <= (NOW + 30 if last_closed is None else last_closed + 60)
        good = step == "open" and not is_open and in_time and clock.now < claims(1).expires_at
        path = "/elsewhere" if step == "other path" else PATH
        origin = OWN if step == "other origin" else APP
        if good:
            await book.open(value, path, origin)
            is_open = True
        else:
            with pytest.raises(TicketRejected):
                await book.open(value, path, origin)
