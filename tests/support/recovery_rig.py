"""Clients that come and go on the real hub, broker and records of one process; only the wire is a list.

What a server has sent and what a client has received are two things here: a test says how much of it arrives
before the link is cut.
"""

import asyncio
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

from tests.support.broker_rig import ACME, FakeClock, epochs
from tests.support.job_records import a_job
from tidings import metrics
from tidings.broker.base import History, Limits
from tidings.broker.memory import MemoryBroker, Remember
from tidings.delivery.records import LocalRecords
from tidings.delivery.recovery import Recovery
from tidings.delivery.relay import Relay
from tidings.delivery.resume import Frames, Outcome
from tidings.delivery.subscribe import Subscriptions
from tidings.domain.channel import GLOBAL_CHANNEL, Channel, job_channel, tenant_channel, user_channel
from tidings.domain.errors import CloseReason, ErrorCode, TidingsError
from tidings.domain.event import Event, EventClass, Published
from tidings.domain.job import Job, JobStatus
from tidings.domain.people import Principal, Role, TenantId, UserId
from tidings.domain.position import Position
from tidings.hub.hub import Hub
from tidings.hub.outbox import Outbox
from tidings.hub.session import Session
from tidings.store.database import Database

ANN, BOB = UserId("ann"), UserId("bob")
TENANT = tenant_channel(ACME)
LIMIT = 1024 * 1024


class Lines:
    """A wire format for reading: one JSON array a line, ``[name, data, position]``. It counts its work."""

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, published: Published, cursor: str) -> bytes:
        self.encoded += 1
        return line(published.event.name, published.event.data, cursor)


LINES = Lines()


def line(name: str, data: bytes, position: str) -> bytes:
    return json.dumps([name, json.loads(data), position]).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Said:
    """One event as a client received it."""

    name: str
    data: dict[str, Any]
    position: str


class Tape(asyncio.WriteTransport):
    """A transport that keeps what is written and always has room."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is always room."""


class Connection:
    """One connection of a client: a session, and what has been sent over it and not read yet."""

    def __init__(self, principal: Principal, outbox_limit: int) -> None:
        self.tape = Tape()
        self.closed: list[CloseReason] = []
        outbox = Outbox(outbox_limit)
        outbox.attach(self.tape)
        self.session = Session("sid", principal, self, outbox, LINES)

    def close(self, reason: CloseReason) -> None:
        self.closed.append(reason)

    def finished(self, channel: Channel) -> None: ...

    def tell(self, event: str, data: bytes) -> None: ...

    def send(self, name: str, data: bytes, position: str) -> None:
        assert self.session.outbox.send(line(name, data, position))

    def waiting(self) -> list[Said]:
        return [Said(*json.loads(text)) for text in self.tape.written.splitlines()]


class Distant(MemoryBroker):
    """A broker whose answers take their time; ``meanwhile`` is called on each way."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    async def subscribe(self, channels: Collection[Channel]) -> None:
        await self._travel()
        await super().subscribe(channels)
        await self._travel()

    async def position(self, tenant: TenantId) -> Position:
        await self._travel()
        answer = await super().position(tenant)
        await self._travel()
        return answer

    async def read(self, channels: Collection[Channel], after: Position) -> History:
        await self._travel()
        answer = await super().read(channels, after)
        await self._travel()
        return answer

    async def _travel(self) -> None:
        await asyncio.sleep(0)
        self.meanwhile()


@dataclass
class House:
    """One node. ``jobs`` are what the database would say.

    ``meanwhile`` is called whenever something is waited for that a real node would wait for.
    """

    limits: Limits = field(default_factory=Limits)
    remember: Remember = field(default_factory=Remember)
    capacity: int = 100
    clock: FakeClock = field(default_factory=FakeClock)
    jobs: dict[str, Job] = field(default_factory=dict)
    meanwhile: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.broker = Distant(self.limits, self.clock, epochs(), remember=self.remember)
        self.broker.meanwhile = self._wait
        self.hub = Hub(self.broker.subscribe, self.broker.unsubscribe, self.broker.position)
        relay = Relay(Database("sqlite:///never-opened"), self.broker)
        self.records = LocalRecords(self.clock)
        self.subscriptions = Subscriptions(self.hub, self.broker, relay, self._find_job)
        self.recovery = Recovery(self.subscriptions, self.records, jobs=self.capacity)
        self.frames = Frames()

    async def open(self) -> "House":
        await self.broker.start(self.hub.deliver)
        return self

    async def publish(self, channel: Channel, data: object, klass: EventClass = EventClass.INBOX) -> Position:
        name = "job:event" if klass is not EventClass.INBOX else "notification:new"
        [position] = await self.broker.publish([(channel, Event(name, json.dumps(data).encode(), klass))])
        return position

    def job(self, job_id: str, owner: UserId = ANN) -> Job:
        """A job that runs; ``attempt`` counts its events."""
        self.jobs[job_id] = a_job("demo", id=job_id, tenant_id=ACME, user_id=owner, attempt=0)
        return self.jobs[job_id]

    async def report(self, job_id: str, *, final: bool = False) -> Position:
        """A job's next event."""
        job = self.jobs[job_id]
        status = JobStatus.SUCCEEDED if final else JobStatus.RUNNING
        fields: dict[str, Any] = {"attempt": job.attempt + 1, "status": status}
        job = self.jobs[job_id] = replace(job, **fields)
        kind, klass = ("completed", EventClass.FINAL) if final else ("started", EventClass.STATE)
        data = {"jobId": job_id, "type": kind, "attempt": job.attempt}
        return await self.publish(job.channel, data, klass)

    def _wait(self) -> None:
        self.meanwhile()

    async def _find_job(self, principal: Principal, job_id: str) -> Job:
        await asyncio.sleep(0)
        self._wait()
        job = self.jobs.get(job_id)
        if job is None or job.user_id != principal.user_id:
            raise TidingsError(ErrorCode.NOT_FOUND)
        return job


class Client:
    """A client that goes by what it has received: ``pid`` from CONNECT, ``offset`` from its last event."""

    def __init__(
        self, house: House, user: UserId = ANN, *, role: Role = Role.USER, tenant: TenantId = ACME
    ) -> None:
        self.house = house
        self.principal = Principal(user, tenant, role, "", None, 0.0)
        self.pid: str | None = None
        self.offset: str | None = None
        self.recovered = False
        self.received: list[Said] = []
        self.connection: Connection | None = None

    @property
    def connected(self) -> Connection:
        assert self.connection is not None
        return self.connection

    @property
    def session(self) -> Session:
        return self.connected.session

    async def connect(self, pid: object = None, offset: object = None, *, outbox: int = LIMIT) -> bool:
        """Connect with what is given."""
        made = self.connection = Connection(self.principal, outbox)
        arrival = await self.house.recovery.connect(made.session, pid, offset)
        await asyncio.sleep(0)
        self.house.meanwhile()  # the unread count is asked for
        self.pid, self.recovered = made.session.id, arrival.recovered
        made.send("notification:ready", b"{}", arrival.begins)
        for data in self.house.frames.of(made.session.format, arrival.start.missed):
            assert made.session.outbox.send(data)
        for snapshot, place in arrival.snapshots:
            made.send("job:event", snapshot, place)
        assert self.house.recovery.release(made.session, arrival.start)
        return arrival.recovered

    async def back(self) -> bool:
        """Come back as the stock client does."""
        return await self.connect(self.pid, self.offset)

    async def subscribe(self, job_id: str, last_event_id: str | None = None) -> str:
        """``job:subscribe``; returns the ack's ``lastEventId``."""
        made, recovery = self.connected, self.house.recovery
        start, place = await recovery.subscribe(made.session, job_id, last_event_id)
        if start.first is not None:
            made.send("job:event", json.dumps(start.first).encode(), place)
        for data in self.house.frames.of(made.session.format, start.missed):
            assert made.session.outbox.send(data)
        assert recovery.release(made.session, start)
        return place

    async def unsubscribe(self, job_id: str) -> None:
        await self.house.recovery.unsubscribe(self.session, job_id)

    def read(self, most: int | None = None) -> list[Said]:
        """Receive what was sent, or the first of it; returns that."""
        made = self.connected
        self.house.hub.flush()
        arrived = made.waiting()[:most]
        made.tape.written = b"".join(made.tape.written.splitlines(keepends=True)[len(arrived) :])
        self.received += arrived
        for said in arrived:
            self.offset = said.position
        return arrived

    async def drop(self) -> None:
        """The link is cut, and the server notices. What had not been read is lost."""
        self.house.hub.flush()
        self.house.recovery.leave(self.session)
        self.connection = None
        await self.house.hub.tidy()


def inbox(user: UserId = ANN) -> Channel:
    return user_channel(ACME, user)


def jobs(name: str) -> Channel:
    return job_channel(ACME, name)


def numbers(told: list[Said]) -> list[int]:
    return [said.data["n"] for said in told if said.name == "notification:new"]


def told_of_jobs(told: list[Said]) -> list[tuple[str, int]]:
    """The types and numbers of job events."""
    return [(said.data["type"], said.data["attempt"]) for said in told if said.name == "job:event"]


async def put(house: House, *values: int) -> None:
    """To Ann, her tenant and everyone in turns."""
    for value in values:
        await house.publish((inbox(), TENANT, GLOBAL_CHANNEL)[value % 3], {"n": value})


def outcomes(outcome: Outcome) -> float:
    value = metrics.REGISTRY.get_sample_value("tidings_resumes_total", {"outcome": outcome.value})
    return value or 0.0


async def refused(client: Client, pid: object, offset: object, outcome: Outcome) -> None:
    """Nothing is replayed, there is a new pid, and the session hears what is live."""
    before, house = outcomes(outcome), client.house
    assert not await client.connect(pid, offset)
    assert client.pid != pid
    assert [said.name for said in client.read()] == ["notification:ready"]
    await put(house, 99)
    assert numbers(client.read()) == [99]
    assert outcomes(outcome) == before + 1
