"""Connection state recovery against a model that keeps everything, over random histories.

One client hears its inbox and jobs while events are published, time passes and histories are trimmed. Its link
is cut anywhere, in the middle of a replay too, and it comes back with the last position that it really received
or with none. What it has received over all its connections has to be gapless, in order and without doubles for
as long as it is told ``recovered``; and it has to be told so whenever the histories hold what it missed.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.support.broker_rig import ACME
from tests.support.recovery_rig import ANN, BOB, Client, House, Said, inbox
from tidings.broker.base import Limits
from tidings.broker.memory import Remember
from tidings.delivery.resume import Place
from tidings.domain.channel import GLOBAL_CHANNEL, GLOBAL_TENANT, Channel, tenant_channel, user_channel
from tidings.domain.people import TenantId, UserId
from tidings.domain.position import Cursor, Position

# Halves, because time passes in whole seconds: nothing is ever exactly as old as a bound.
LIMITS = Limits(events=5, seconds=10.5)
REMEMBER = Remember(seconds=50.5)
JOBS = ("j1", "j2", "j3", "j4", "j5")
OWN = (inbox(ANN), tenant_channel(ACME), GLOBAL_CHANNEL)
BUSY = user_channel(TenantId("busy"), UserId("bee"))
T = TypeVar("T")

Happening = Channel | str
"""An event of a channel, or of a job by its id; with an exclamation mark it is the job's last."""
channels = st.sampled_from([*OWN, inbox(BOB)])
jobs = st.sampled_from(JOBS)
happening = st.one_of(channels, jobs, jobs.map(lambda job: f"{job}!"))
happenings = st.lists(happening, max_size=3)
interleaved = st.lists(st.one_of(st.none(), st.none(), happening), max_size=12)
arriving = st.sampled_from([0, 1, 2, 3, None])
"""How many of the events that are under way arrive before the link is cut; None for all."""
knowing = st.sampled_from(["all", "all", "all", "pid", "nothing"])
"""What a client says when it comes back."""


class Entry(NamedTuple):
    """What was published, where and when."""

    channel: Channel
    position: Position
    at: float

    def follows(self, cursor: Cursor) -> bool:
        """Whether this is news to who stands there. Of another epoch nothing is."""
        seen = cursor.everyone if self.channel == GLOBAL_CHANNEL else cursor.tenant
        return self.position.epoch == seen.epoch and self.position.offset > seen.offset


@dataclass(frozen=True)
class Told:
    """What a client has received: how many of its inbox's events by counter, and of each job the latest event.

    ``snapshots`` are jobs of which one is still due: it was subscribed to, and nothing of that has arrived.
    ``left`` are those that had not been subscribed to when the client connected.
    """

    place: Place | None = None
    inbox: dict[TenantId, int] = field(default_factory=lambda: {ACME: 0, GLOBAL_TENANT: 0})
    jobs: dict[str, int] = field(default_factory=dict)
    snapshots: frozenset[str] = frozenset()
    left: frozenset[str] = frozenset()

    def take(self, said: Said, due: dict[TenantId, list[int]]) -> "Told":
        """Receive one event, which has to be the next one that is due."""
        place = Place.parse(said.position)
        assert self.place is None or not place.precedes(self.place), (self.place, place)
        now = replace(self, place=place)
        if said.name == "job:event":
            return now.take_of_job(said.data["jobId"], said.data["attempt"], snapshot=place.snapshot > 0)
        if said.name == "notification:new":
            number = said.data["n"]
            [counter] = [tenant for tenant, numbers in due.items() if number in numbers]
            assert due[counter][self.inbox[counter]] == number
            return replace(now, inbox={**self.inbox, counter: self.inbox[counter] + 1})
        return now

    def take_of_job(self, job: str, event: int, *, snapshot: bool) -> "Told":
        assert job not in self.left
        if snapshot:
            assert job in self.snapshots
            assert event >= self.jobs.get(job, 0)
        else:
            assert event == self.jobs[job] + 1
        left = self.snapshots - {job} if snapshot else self.snapshots
        return replace(self, jobs={**self.jobs, job: event}, snapshots=left)


class Returning(RuleBasedStateMachine):
    """``due`` are the inbox's events since the session began; ``told`` what the client has received of them."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.house = self.run(House(LIMITS, REMEMBER).open())
        self.client = Client(self.house)
        self.neighbour: Client | None = None
        self.published: list[Entry] = []
        self.due: dict[TenantId, list[int]] = {ACME: [], GLOBAL_TENANT: []}
        self.told = self.began = Told()
        self.subscribed: set[str] = set()
        self.subscribed_since: frozenset[str] = frozenset()  # ... the client connected
        for job in JOBS:
            self.house.job(job)
            self.run(self.happen(job))
        self.run(self.client.connect())

    def run(self, coroutine: Coroutine[object, object, T]) -> T:
        return self.runner.run(coroutine)

    def teardown(self) -> None:
        self.runner.close()

    # What happens in the world.

    async def happen(self, what: Happening) -> None:
        if isinstance(what, str):
            job, final = what.rstrip("!"), what.endswith("!")
            if self.house.jobs[job].status.finished:
                return
            position = await self.house.report(job, final=final)
            what = self.house.jobs[job].channel
        else:
            serial = len(self.published)
            if what in OWN:
                self.due[what.tenant].append(serial)
            position = await self.house.publish(what, {"n": serial})
        self.published.append(Entry(what, position, self.house.clock.now))

    @contextmanager
    def meanwhile(self, events: list[Happening | None]) -> Iterator[None]:
        """In this block the events happen one after the other, each while something is waited for."""

        def happen() -> None:
            event = events.pop(0) if events else None
            if event is not None:
                # Publishing in memory never suspends, so a coroutine that was driven once is at its end.
                for _ in self.happen(event).__await__():
                    raise AssertionError("it did suspend")

        self.house.meanwhile = happen
        try:
            yield
        finally:
            self.house.meanwhile = lambda: None

    @rule(events=happenings)
    def publish(self, events: list[Happening]) -> None:
        self.run(self.publish_all(events))

    async def publish_all(self, events: list[Happening]) -> None:
        for event in events:
            await self.happen(event)

    @rule(what=happening)
    def flood(self, what: Happening) -> None:
        """More than a history holds."""
        self.publish([what] * (LIMITS.events + 1))

    @rule(seconds=st.sampled_from([1, 4, 11, 60]))
    def wait(self, seconds: int) -> None:
        """Time passes, and somebody else's publishing lets the broker forget what has aged."""
        self.house.clock.now += seconds
        self.run(self.be_busy())

    async def be_busy(self) -> None:
        for _ in range(5):
            await self.house.publish(BUSY, {})

    @rule()
    def neighbour_comes_or_goes(self) -> None:
        """Another user of the tenant on the same node, who makes it hear more, or less."""
        if self.neighbour is None:
            self.neighbour = Client(self.house, BOB)
            self.run(self.neighbour.connect())
        else:
            self.run(self.neighbour.drop())
            self.neighbour = None

    # What the client does.

    @rule(arrives=arriving, knows=knowing, away=happenings, meanwhile=interleaved)
    def come_back(
        self, arrives: int | None, knows: str, away: list[Happening], meanwhile: list[Happening | None]
    ) -> None:
        """What ``away`` says happens while the client is, ``meanwhile`` in the course of its coming back."""
        if self.client.connection is not None:
            self.drop(arrives)
        self.publish(away)
        if knows == "pid":
            self.client.offset = None
        pid = None if knows == "nothing" else self.client.pid
        known = self.told if self.client.offset is not None else self.forgetful()
        with self.meanwhile(meanwhile):
            recovered = self.run(self.client.connect(pid, self.client.offset))
        self.subscribed_since = frozenset()
        if not recovered:
            assert pid is None or known.place is None or not self.owed(known.place)
            begins = Place.parse(self.client.connected.waiting()[0].position).cursor
            self.due = {
                tenant: [serial for serial in due if self.published[serial].follows(begins)]
                for tenant, due in self.due.items()
            }
            self.subscribed.clear()
            known = Told()
        self.told = self.began = replace(known, left=frozenset(JOBS) - self.subscribed)

    def forgetful(self) -> Told:
        """What a client is taken to have received that does not say: nothing since it connected."""
        return replace(self.began, snapshots=self.began.snapshots | self.subscribed_since)

    @precondition(lambda self: self.client.connection is not None)
    @rule(most=st.sampled_from([1, 2, 5]))
    def read(self, most: int | None) -> None:
        for said in self.client.read(most):
            self.told = self.told.take(said, self.due)

    @precondition(lambda self: self.client.connection is not None)
    @rule()
    def read_all(self) -> None:
        """A connected client that reads on has all that is due."""
        self.read(None)
        assert self.told.inbox == {counter: len(due) for counter, due in self.due.items()}
        assert self.told.snapshots == frozenset()
        assert {job: self.told.jobs[job] for job in self.subscribed} == {
            job: self.house.jobs[job].attempt for job in self.subscribed
        }

    @precondition(lambda self: self.client.connection is not None)
    @rule(arrives=arriving)
    def drop(self, arrives: int | None) -> None:
        """The link is cut behind the first of what is under way."""
        self.read(arrives)
        self.run(self.client.drop())
        self.told = replace(self.told, snapshots=self.told.snapshots & self.subscribed)

    @precondition(lambda self: self.client.connection is not None)
    @rule(job=jobs, meanwhile=interleaved)
    def subscribe(self, job: str, meanwhile: list[Happening | None]) -> None:
        if job in self.told.snapshots:
            return
        with self.meanwhile(meanwhile):
            self.run(self.client.subscribe(job))
        self.subscribed.add(job)
        self.subscribed_since |= {job}
        self.told = replace(self.told, snapshots=self.told.snapshots | {job}, left=self.told.left - {job})

    @precondition(lambda self: self.client.connection is not None)
    @rule(job=jobs)
    def unsubscribe(self, job: str) -> None:
        self.run(self.client.unsubscribe(job))
        self.subscribed.discard(job)
        self.subscribed_since -= {job}

    def owed(self, place: Place) -> bool:
        """Whether what followed a place must still be known. A broker may know more than it must."""
        now = self.house.clock.now
        for tenant, seen in ((ACME, place.cursor.tenant), (GLOBAL_TENANT, place.cursor.everyone)):
            if self.run(self.house.broker.position(tenant)).epoch != seen.epoch:
                return False
        newer = [entry for entry in self.published if entry.follows(place.cursor)]
        if any(now - entry.at > LIMITS.seconds for entry in newer):
            return False
        counts = Counter(entry.channel for entry in newer if entry.channel != inbox(BOB))
        return max(counts.values(), default=0) <= LIMITS.events


def test_never_differs_from_the_model() -> None:
    """Contract, section 4: "replays exactly what was missed, in order, after a quiet hour, with zero events received
    so far, any number of times, as long as the history holds it; otherwise ``recovered: false``. Never a partial
    replay".
    """
    run_state_machine_as_test(
        Returning,
        settings=settings(
            max_examples=200, stateful_step_count=40, deadline=None, derandomize=True, database=None
        ),
    )
