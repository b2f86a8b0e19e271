"""What ``MemoryBroker`` adds to the contract: bounds on everything it keeps, quickness, and its own clock."""

from collections.abc import Coroutine
from typing import NamedTuple, TypeVar

import pytest
from structlog.testing import capture_logs

from tests.support.broker_rig import ACME, ANN, BOB, JOB, OTHER, STRANGER, MemoryRig, event
from tidings.broker.base import Limits
from tidings.broker.memory import MemoryBroker, Remember
from tidings.domain.channel import Channel, job_channel
from tidings.domain.event import Published
from tidings.domain.people import TenantId
from tidings.domain.position import Cursor, Position
from tidings.metrics import events_published

LIMITS = Limits(events=5, seconds=60.0)
DAY = 86_400.0
T = TypeVar("T")


class Size(NamedTuple):
    """How much a broker holds, in things."""

    tenants: int = 0
    lively: int = 0
    quiet: int = 0
    keys: int = 0
    events: int = 0


def size(broker: MemoryBroker) -> Size:
    tenants = broker._tenants.values()
    return Size(
        len(tenants),
        sum(len(tenant.lively) for tenant in tenants),
        sum(len(tenant.quiet) for tenant in tenants),
        sum(len(tenant.keys) for tenant in tenants),
        sum(len(line.events) for tenant in tenants for line in tenant.lively.values()),
    )


async def started(limits: Limits = LIMITS, remember: Remember | None = None) -> MemoryRig:
    rig = MemoryRig(limits, remember or Remember())
    await rig.broker.start(rig.heard.append)
    return rig


def jobs(count: int, tenant: TenantId = ACME) -> list[Channel]:
    return [job_channel(tenant, str(number)) for number in range(count)]


async def put(rig: MemoryRig, *channels: Channel) -> list[Position]:
    """Publish one event to each, with a key of its own."""
    return await rig.broker.publish([(channel, event(key=f"{channel.key}-key")) for channel in channels])


class TestFreed:
    async def test_nothing_stays(self) -> None:
        """All that many tenants left behind is gone once it aged, whoever publishes then."""
        rig = await started()
        for number in range(50):
            tenant = TenantId(f"t{number}")
            await rig.broker.subscribe(jobs(20, tenant))
            await put(rig, *jobs(20, tenant))
            await rig.broker.unsubscribe(jobs(20, tenant))
        assert size(rig.broker) == Size(tenants=50, lively=1000, keys=1000, events=1000)
        await rig.advance(DAY + 1)
        await rig.sweep(500)
        assert set(rig.broker._tenants) == {"busy"}
        await rig.advance(DAY + 1)
        await rig.sweep(10)
        assert size(rig.broker) == Size(tenants=1, lively=1, events=LIMITS.events)

    async def test_quiet_channels_keep_no_events(self) -> None:
        """A channel that went quiet loses its history to another tenant's publishing, and keeps its number and keys."""
        rig = await started()
        await rig.broker.subscribe([STRANGER])
        await put(rig, *jobs(100))
        await rig.advance(LIMITS.seconds + 1)
        await rig.sweep()
        assert size(rig.broker) == Size(tenants=3, lively=1, quiet=100, keys=100, events=LIMITS.events)

    async def test_a_day_later_the_number_goes(self) -> None:
        """A last number is forgotten after a day, while its tenant lives on."""
        rig = await started()
        await rig.broker.subscribe([ANN])
        await put(rig, *jobs(10))
        await rig.advance(DAY + 1)
        await rig.sweep()
        assert set(rig.broker._tenants) == {ACME, "busy"}
        assert size(rig.broker).quiet == 0

    async def test_a_busy_channel_keeps_what_is_young(self) -> None:
        """What has aged leaves a history with the next publish to it, and a key with its renewal."""
        rig = await started()
        await rig.broker.publish([(ANN, event(key="a")), (ANN, event(key="b"))])
        await rig.advance(DAY + 1)
        await rig.broker.publish([(ANN, event(key="a"))])
        assert size(rig.broker) == Size(tenants=1, lively=1, keys=1, events=1)

    async def test_a_sweep_is_short(self) -> None:
        """After a quiet spell no single publish pays for all that has aged."""
        rig = await started()
        await put(rig, *jobs(1000))
        await rig.advance(LIMITS.seconds + 1)
        before = size(rig.broker).lively
        await rig.sweep(1)
        assert before - 20 < size(rig.broker).lively < before

    async def test_subscriptions_leave_nothing(self) -> None:
        """An ``unsubscribe`` for each ``subscribe`` leaves no count behind, nor does one too many."""
        rig = await started()
        await rig.broker.subscribe([ANN, BOB])
        await rig.broker.subscribe([ANN])
        await rig.broker.unsubscribe([ANN, BOB, JOB])
        await rig.broker.unsubscribe([ANN])
        assert rig.broker._tenants[ACME].heard == {}


class TestBounded:
    async def test_channels(self) -> None:
        """100,000 distinct channels do not grow the state beyond its bound."""
        rig = await started(remember=Remember(channels=1000, keys=500))
        channels = jobs(100_000)
        for first in range(0, len(channels), 10_000):
            await put(rig, *channels[first : first + 10_000])
            await rig.advance(1)
        assert size(rig.broker) == Size(tenants=1, lively=1000, quiet=0, keys=500, events=1000)

    async def test_the_quiet_go_first(self) -> None:
        """Too many channels cost the number of a quiet one before the history of a lively one."""
        rig = await started(remember=Remember(channels=10))
        await put(rig, *jobs(9))
        await rig.advance(LIMITS.seconds + 1)
        await rig.sweep()
        await put(rig, ANN, BOB)
        tenant = rig.broker._tenants[ACME]
        assert (list(tenant.lively), list(tenant.quiet)) == ([ANN, BOB], jobs(9)[1:])

    async def test_keys(self) -> None:
        """Of too many keys the oldest is forgotten, and its event published again."""
        rig = await started(remember=Remember(keys=2))
        await rig.broker.publish([(ANN, event(key=key)) for key in "abc"])
        again = await rig.broker.publish([(ANN, event(key=key)) for key in "bca"])
        assert [position.offset for position in again] == [2, 3, 4]


class TestForgotten:
    async def test_old_cursors_are_refused(self) -> None:
        """Below the floor a channel that nobody knows any more may have had events; above it had none."""
        rig = await started(remember=Remember(channels=2))
        start = await rig.broker.position(ACME)
        one, two, *_ = await put(rig, ANN, BOB, *jobs(2))
        for channel in (ANN, job_channel(ACME, "never published")):
            assert not (await rig.broker.read([channel], start)).complete
            assert not (await rig.broker.read([channel], one)).complete
            assert (await rig.broker.read([channel], two)).complete

    async def test_a_forgotten_history_is_refused(self) -> None:
        """A history that went with its channel, not by age, is missed all the same."""
        rig = await started(remember=Remember(channels=1))
        start = await rig.broker.position(ACME)
        await put(rig, ANN, BOB)
        assert not (await rig.broker.read([ANN], start)).complete

    async def test_prev_of_a_forgotten_channel(self) -> None:
        """``prev`` is the floor: whoever saw that much has missed nothing, whoever did not may have."""
        rig = await started(remember=Remember(channels=2))
        one, two, *_ = await put(rig, ANN, BOB, *jobs(2))
        await rig.broker.publish([(ANN, event())])
        assert not (await rig.broker.read([ANN], one)).complete
        [again] = (await rig.broker.read([ANN], two)).events
        assert (again.position.offset, again.prev) == (5, 2)

    async def test_a_heard_tenant_never_begins_anew(self) -> None:
        """As long as somebody hears a tenant its epoch stays, whatever the silence."""
        rig = await started()
        await rig.broker.subscribe([ANN])
        start = await rig.broker.position(ACME)
        await rig.advance(10 * DAY)
        await rig.sweep()
        assert await rig.broker.position(ACME) == start
        await rig.broker.unsubscribe([ANN])
        await rig.advance(DAY - 1)
        await rig.sweep()
        assert await rig.broker.position(ACME) == start

    async def test_a_history_longer_than_a_day(self) -> None:
        """Nobody forgets a tenant whose histories are meant to last longer than last numbers do."""
        rig = await started(Limits(seconds=3 * DAY))
        start = await rig.broker.position(ACME)
        await rig.broker.publish([(ANN, event())])
        await rig.advance(2 * DAY)
        await rig.sweep()
        assert len((await rig.broker.read([ANN], start)).events) == 1

    async def test_a_tenant_asked_for_is_kept(self) -> None:
        """A position that was given out is good for a day, even if nothing was ever published."""
        rig = await started()
        start = await rig.broker.position(ACME)
        for _ in range(3):
            await rig.advance(DAY - 1)
            await rig.sweep()
            assert await rig.broker.position(ACME) == start
        await rig.advance(DAY + 1)
        await rig.sweep()
        assert (await rig.broker.position(ACME)).epoch != start.epoch


class TestClock:
    async def test_published_at(self) -> None:
        """``published_at`` is what the clock said."""
        rig = await started()
        await rig.broker.subscribe([ANN])
        await put(rig, ANN)
        assert [heard.published_at for heard in rig.heard] == [rig.clock.now]

    async def test_set_back(self) -> None:
        """A clock that is set back frees things later; it breaks no order and no chain."""
        rig = await started()
        start = await rig.broker.position(ACME)
        await put(rig, ANN, BOB)
        await rig.advance(-3600)
        await rig.broker.publish([(BOB, event()), (ANN, event())])
        history = await rig.broker.read([ANN, BOB], start)
        assert [(each.position.offset, each.prev) for each in history.events] == [
            (1, 0),
            (2, 0),
            (3, 2),
            (4, 1),
        ]

    async def test_defaults(self) -> None:
        """Left to itself it tells Unix time, and each start has epochs of its own that fit a cursor."""
        positions = [await MemoryBroker(LIMITS).position(ACME) for _ in range(2)]
        cursor = Cursor(*positions)
        assert Cursor.parse(str(cursor)) == cursor
        assert positions[0] != positions[1]


class TestPublish:
    async def test_deliver_raises(self) -> None:
        """``deliver`` must not raise. If it does, that is logged, and the batch is published and delivered."""
        heard: list[Published] = []

        def deliver(published: Published) -> None:
            heard.append(published)
            if published.channel == ANN:
                raise RuntimeError("broken")

        rig = await started()
        await rig.broker.start(deliver)
        await rig.broker.subscribe([ANN, BOB])
        with capture_logs() as lines:
            positions = await put(rig, ANN, BOB)
        assert [published.position for published in heard] == positions
        assert [(line["event"], line["channel"]) for line in lines] == [("deliver_failed", "acme/user/ann")]

    async def test_counted(self) -> None:
        """Each event that is published is counted under its name; a repetition is not."""
        counter = events_published.labels("notification:new")
        before = counter._value.get()
        rig = await started()
        await put(rig, ANN, BOB)
        await put(rig, ANN, BOB)
        assert counter._value.get() - before == 2

    async def test_never_suspends(self) -> None:
        """``subscribe``, ``publish`` and ``unsubscribe`` are over before anyone else runs."""
        rig = await started()
        at_once(rig.broker.subscribe([ANN]))
        assert len(at_once(rig.broker.publish([(ANN, event()), (STRANGER, event())]))) == 2
        at_once(rig.broker.unsubscribe([ANN]))
        assert len(rig.heard) == 1
        assert at_once(rig.broker.position(OTHER)).offset == 1


def at_once(coroutine: Coroutine[object, None, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    pytest.fail("suspended")
