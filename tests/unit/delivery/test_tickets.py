"""Tickets of several nodes on one database, against a plain model and through the deaths of nodes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.identity_rig import NOW, HandClock
from tests.support.store_rig import migrated, settle
from tidings.delivery.tickets import HOLD_SECONDS, StoredTickets
from tidings.domain.people import Tenant, User
from tidings.identity.rejection import Reason, TicketRejected
from tidings.identity.tickets import REOPEN_SECONDS, Tickets
from tidings.identity.tokens import Claims
from tidings.store.database import Database

OWN, APP = "https://tidings.example", "https://app.example"
PATH = "/notifications/events"


@dataclass
class House:
    """A database, and a user who wants tickets."""

    database: Database
    acme: Tenant
    ann: User
    clock: HandClock = field(default_factory=HandClock)

    @property
    def claims(self) -> Claims:
        return Claims(self.ann.id, NOW + 3600.25, NOW, "jti", self.acme.id, self.ann.role)

    def node(self, patience: float = HOLD_SECONDS) -> StoredTickets:
        return StoredTickets(self.database, {OWN}, clock=self.clock, patience=patience)

    async def issue(self, node: Tickets) -> str:
        value, deadline = await node.issue(self.acme.id, self.claims, PATH, APP)
        assert deadline == self.clock.now + 30
        return value


@pytest.fixture
async def house(sqlite_url: str) -> AsyncIterator[House]:
    async with migrated(sqlite_url) as database:
        acme, (ann,) = await settle(database)
        yield House(database, acme, ann)


@asynccontextmanager
async def running(node: StoredTickets) -> AsyncIterator[None]:
    task = asyncio.create_task(node.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def rejection(node: Tickets, value: str, path: str = PATH, origin: str | None = APP) -> Reason:
    with pytest.raises(TicketRejected) as caught:
        await node.open(value, path, origin)
    return caught.value.reason


async def test_a_ticket_of_one_node_opens_a_stream_at_another(house: House) -> None:
    """The claims come back, to ask who it is; a second stream at the same time is refused where the first is."""
    here, there = house.node(), house.node()
    value = await house.issue(here)
    assert (await there.open(value, PATH, APP)).claims == house.claims
    assert await rejection(there, value) is Reason.TICKET_IN_USE


async def test_a_failed_attempt_spends_nothing(house: House) -> None:
    """Contract: "another path or Origin is 401"; a stranger who tries does not take the ticket from its owner."""
    node = house.node()
    value = await house.issue(node)
    assert await rejection(node, value, path="/jobs/1/events") is Reason.TICKET_PATH
    assert await rejection(node, value, origin="https://evil.example") is Reason.TICKET_ORIGIN
    assert (await node.open(value, PATH, APP)).in_use


@pytest.mark.parametrize("value", ["", "x", "\ud800", "é" * 1000])
async def test_an_unknown_ticket_opens_nothing(house: House, value: str) -> None:
    """Whatever text is sent; and closing what was never open does nothing."""
    node = house.node()
    assert await rejection(node, value) is Reason.UNKNOWN_TICKET
    await node.close(value)


async def test_values_are_random(house: House) -> None:
    """256 bits that fit a URL."""
    node = house.node()
    values = {await house.issue(node) for _ in range(10)}
    assert len(values) == 10
    assert all(len(value) == 43 and value.replace("-", "").replace("_", "").isalnum() for value in values)


async def test_who_comes_back_to_another_node_at_once_waits_for_the_first(house: House) -> None:
    """An ``EventSource`` that is refused never comes again: a close that is still being told is waited for."""
    here, there = house.node(), house.node()
    value = await house.issue(here)
    await here.open(value, PATH, APP)
    opening = asyncio.create_task(there.open(value, PATH, APP))
    await asyncio.sleep(0)
    await here.close(value)
    async with running(here):
        assert (await asyncio.wait_for(opening, 5)).in_use


async def test_losing_the_race_for_a_ticket_takes_nothing_from_who_has_it(house: House) -> None:
    """Of many who try at once on two nodes one gets it, and keeps it however the others let go."""
    nodes = (house.node(patience=0), house.node(patience=0))
    value = await house.issue(nodes[0])
    tries = [node.open(value, PATH, APP) for node in nodes * 4]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(not isinstance(outcome, TicketRejected) for outcome in outcomes) == 1
    for node in nodes:
        await node.give_back()
        assert await rejection(node, value) is Reason.TICKET_IN_USE


async def test_a_stream_elsewhere_is_waited_for_in_vain(house: House) -> None:
    """Contract: "one stream at a time": as long as the other node holds it."""
    here, there = house.node(), house.node()
    value = await house.issue(here)
    await here.open(value, PATH, APP)
    waiting = asyncio.create_task(rejection(there, value))
    async with asyncio.timeout(5):
        while not waiting.done():
            house.clock.now += 1
            await here.renew()
            await asyncio.sleep(0.01)
    assert await waiting is Reason.TICKET_IN_USE


async def test_a_node_that_dies_gives_its_tickets_back(house: House) -> None:
    """By doing nothing, after a few seconds; then it may be opened for a minute, as after a close."""
    here, there = house.node(), house.node()
    value = await house.issue(here)
    await here.open(value, PATH, APP)
    house.clock.now += HOLD_SECONDS
    assert (await there.open(value, PATH, APP)).in_use
    house.clock.now += HOLD_SECONDS + REOPEN_SECONDS + 0.001
    assert await rejection(house.node(), value) is Reason.TICKET_LATE


async def test_a_node_that_lives_holds_on(house: House) -> None:
    """However long the stream, and beyond the time in which it could be opened again."""
    here, there = house.node(), house.node(patience=0)
    value = await house.issue(here)
    await here.open(value, PATH, APP)
    for _ in range(100):
        house.clock.now += HOLD_SECONDS - 0.001
        await here.renew()
    assert await rejection(there, value) is Reason.TICKET_IN_USE


async def test_a_stopping_node_gives_back_what_it_closed(house: House) -> None:
    """What was closed just before the end is told all the same."""
    here, there = house.node(), house.node()
    value = await house.issue(here)
    async with running(here):
        await asyncio.sleep(0)
        await here.open(value, PATH, APP)
        await here.close(value)
    assert (await there.open(value, PATH, APP)).in_use


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "close", "other path", "other origin"]),
        st.sampled_from([0, 1, 29, 30, 31, 59, 60, 61]),
        st.booleans(),
    ),
    max_size=30,
)


@given(steps=STEPS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
async def test_tickets_do_as_the_contract_says(house: House, steps: list[tuple[str, int, bool]]) -> None:
    """Model: open or not and where, when issued, when last closed."""
    house.clock.now = NOW
    nodes = (house.node(patience=0), house.node(patience=0))
    value = await house.issue(nodes[0])
    opened_at: StoredTickets | None = None
    last_closed = None
    for step, pause, second in steps:
        for _ in range(pause):
            house.clock.now += 1
            if opened_at is not None:
                await opened_at.renew()
        node = nodes[second]
        if step == "close":
            await node.close(value)
            await node.give_back()
            if node is opened_at:
                opened_at, last_closed = None, house.clock.now
            continue
        in_time = house.clock.now <= (NOW + 30 if last_closed is None else last_closed + 60)
        good = step == "open" and opened_at is None and in_time and house.clock.now < house.claims.expires_at
        path = "/elsewhere" if step == "other path" else PATH
        origin = OWN if step == "other origin" else APP
        if good:
            await node.open(value, path, origin)
            opened_at = node
        else:
            await rejection(node, value, path, origin)
