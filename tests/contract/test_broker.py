"""The broker's guarantees (``tidings.broker.base``), on every implementation. Docstrings quote them."""

from collections.abc import AsyncIterator

import pytest

from tests.support.broker_rig import (
    ACME,
    ANN,
    BOB,
    JOB,
    OTHER,
    STRANGER,
    BrokerRig,
    broker_rig,
    event,
)
from tests.support.redis import Arrangement
from tidings.broker.base import BrokerUnavailable, History, Limits
from tidings.domain.channel import GLOBAL_CHANNEL, GLOBAL_TENANT, Channel
from tidings.domain.position import Cursor, Position

LIMITS = Limits(events=5, seconds=60.0)
HOUR = 3600.0


@pytest.fixture
async def rig(broker_servers: Arrangement | None) -> AsyncIterator[BrokerRig]:
    async with broker_rig(broker_servers, LIMITS) as made:
        yield made


async def put(rig: BrokerRig, *channels: Channel) -> list[Position]:
    """Publish one event to each of these channels, as one batch."""
    return await rig.broker.publish([(channel, event()) for channel in channels])


def offsets(history: History) -> list[int]:
    return [published.position.offset for published in history.events]


class TestNumbered:
    """1. *Numbered.*"""

    async def test_one_counter(self, rig: BrokerRig) -> None:
        """Each tenant has one epoch and one counter. ``publish`` gives an event the counter's next number."""
        first, second, third = await put(rig, ANN, BOB, JOB)
        assert [first.offset, second.offset, third.offset] == [1, 2, 3]
        assert first.epoch == second.epoch == third.epoch
        assert await rig.broker.position(ACME) == third

    async def test_each_tenant_has_its_own(self, rig: BrokerRig) -> None:
        """Each tenant has one epoch and one counter; so has ``global``."""
        ours, theirs, everyones = await put(rig, ANN, STRANGER, GLOBAL_CHANNEL)
        assert [ours.offset, theirs.offset, everyones.offset] == [1, 1, 1]
        assert len({ours.epoch, theirs.epoch, everyones.epoch}) == 3

    async def test_prev(self, rig: BrokerRig) -> None:
        """``prev``, the number of the event before it on the same channel (0 for the first)."""
        start = await rig.broker.position(ACME)
        await put(rig, ANN, BOB, ANN)
        await put(rig, BOB, ANN)
        history = await rig.broker.read([ANN, BOB], start)
        assert [published.prev for published in history.events] == [0, 0, 1, 2, 3]

    async def test_position_before_the_first(self, rig: BrokerRig) -> None:
        """``position``: the number of its latest event, 0 before the first. The epoch is already the one."""
        before = await rig.broker.position(ACME)
        [first] = await put(rig, ANN)
        assert before == Position(first.epoch, 0)

    async def test_epochs_fit_a_cursor(self, rig: BrokerRig) -> None:
        """A position can be written into a cursor and read again."""
        cursor = Cursor(await rig.broker.position(ACME), await rig.broker.position(GLOBAL_TENANT))
        assert Cursor.parse(str(cursor)) == cursor


class TestAtomic:
    """2. *Atomic.*"""

    async def test_one_step(self, rig: BrokerRig) -> None:
        """Numbering, appending to the channel's history and handing to subscribers is one step."""
        await rig.broker.subscribe([ANN])
        start = await rig.broker.position(ACME)
        positions = await rig.broker.publish([(ANN, event("a")), (ANN, event("b"))])
        await rig.settle()
        history = await rig.broker.read([ANN], start)
        assert list(history.events) == rig.heard
        assert [published.position for published in rig.heard] == positions
        assert [published.event for published in rig.heard] == [event("a"), event("b")]

    async def test_repeated_key(self, rig: BrokerRig) -> None:
        """An event with a key that its tenant has seen is not published again; the first's position returns."""
        await rig.broker.subscribe([ANN, BOB])
        [first] = await rig.broker.publish([(ANN, event("a", key="k"))])
        await put(rig, ANN)
        again = await rig.broker.publish([(ANN, event("a", key="k")), (BOB, event("other", key="k"))])
        await rig.settle()
        assert again == [first, first]
        assert len(rig.heard) == 2
        assert (await rig.broker.position(ACME)).offset == 2

    async def test_repeated_key_within_a_batch(self, rig: BrokerRig) -> None:
        """The same, when the first is of the same batch."""
        first, other, again = await rig.broker.publish(
            [(ANN, event(key="k")), (ANN, event(key="l")), (ANN, event(key="k"))]
        )
        assert again == first != other

    async def test_key_outlives_the_history(self, rig: BrokerRig) -> None:
        """... within a day, *whatever the history still holds*: too many events have followed, or it has aged."""
        [first] = await rig.broker.publish([(ANN, event(key="k"))])
        await put(rig, *[ANN] * (LIMITS.events * 2))
        assert await rig.broker.publish([(ANN, event(key="k"))]) == [first]
        await rig.advance(23 * HOUR)
        assert await rig.broker.publish([(ANN, event(key="k"))]) == [first]

    async def test_key_is_forgotten(self, rig: BrokerRig) -> None:
        """... within a day: some time afterwards it is a new event, however busy its tenant was."""
        await rig.broker.publish([(ANN, event(key="k"))])
        for _ in range(4):
            await rig.advance(15 * HOUR)
            await put(rig, ANN)
        [again] = await rig.broker.publish([(ANN, event(key="k"))])
        assert again.offset == 6

    async def test_keys_belong_to_a_tenant(self, rig: BrokerRig) -> None:
        """A key that *its tenant* has seen: another tenant's is another key."""
        await rig.broker.subscribe([ANN, STRANGER])
        await rig.broker.publish([(ANN, event(key="k")), (STRANGER, event(key="k"))])
        await rig.settle()
        assert [published.channel for published in rig.heard] == [ANN, STRANGER]

    async def test_no_key_is_never_a_repetition(self, rig: BrokerRig) -> None:
        """``key``: empty: no check."""
        await put(rig, ANN, ANN)
        assert (await rig.broker.position(ACME)).offset == 2


class TestOrdered:
    """3. *Ordered.*"""

    async def test_order_of_numbers(self, rig: BrokerRig) -> None:
        """A node's ``deliver`` is called once per event in the order of a tenant's numbers."""
        await rig.broker.subscribe([ANN, BOB, JOB])
        for _ in range(10):
            await put(rig, JOB, ANN, BOB, ANN)
        await rig.settle()
        assert [published.position.offset for published in rig.heard] == list(range(1, 41))

    async def test_once_whatever_the_count(self, rig: BrokerRig) -> None:
        """``deliver`` is called *once* per event, though the node subscribed twice."""
        await rig.broker.subscribe([ANN])
        await rig.broker.subscribe([ANN])
        await put(rig, ANN)
        await rig.settle()
        assert len(rig.heard) == 1


class TestSubscribed:
    """4. *Subscribed means hearing.*"""

    async def test_after_subscribe(self, rig: BrokerRig) -> None:
        """What is published to a channel *after* ``subscribe`` has returned is delivered, and nothing else."""
        await put(rig, ANN)
        await rig.broker.subscribe([ANN])
        await put(rig, BOB, ANN, STRANGER)
        await rig.settle()
        assert [(heard.channel, heard.position.offset, heard.prev) for heard in rig.heard] == [(ANN, 3, 1)]

    async def test_until_the_last_unsubscribe(self, rig: BrokerRig) -> None:
        """... until ``unsubscribe`` of the same count."""
        await rig.broker.subscribe([ANN])
        await rig.broker.subscribe([ANN, BOB])
        await rig.broker.unsubscribe([ANN])
        await put(rig, ANN)
        await rig.settle()
        assert len(rig.heard) == 1
        await rig.broker.unsubscribe([ANN])
        await put(rig, ANN, BOB)
        await rig.settle()
        assert [published.channel for published in rig.heard] == [ANN, BOB]

    async def test_subscribe_again(self, rig: BrokerRig) -> None:
        """A channel that was left can be heard again."""
        await rig.broker.subscribe([ANN])
        await rig.broker.unsubscribe([ANN])
        await rig.broker.subscribe([ANN])
        await put(rig, ANN)
        await rig.settle()
        assert len(rig.heard) == 1


class TestBounded:
    """5. *Bounded.*"""

    async def test_by_count(self, rig: BrokerRig) -> None:
        """A channel's history holds at most so many events."""
        positions = await put(rig, *[ANN] * (LIMITS.events + 1))
        assert not (await rig.broker.read([ANN], Position(positions[0].epoch, 0))).complete
        kept = await rig.broker.read([ANN], positions[0])
        assert kept.complete
        assert offsets(kept) == [2, 3, 4, 5, 6]

    async def test_by_age(self, rig: BrokerRig) -> None:
        """... of at most so many seconds."""
        start = await rig.broker.position(ACME)
        [first] = await put(rig, ANN)
        await rig.advance(LIMITS.seconds / 2)
        await put(rig, ANN)
        assert offsets(await rig.broker.read([ANN], start)) == [1, 2]
        await rig.advance(LIMITS.seconds / 2 + 1)
        assert not (await rig.broker.read([ANN], start)).complete
        assert offsets(await rig.broker.read([ANN], first)) == [2]

    async def test_each_channel_by_itself(self, rig: BrokerRig) -> None:
        """*A channel's* history: a busy neighbour takes nothing from it."""
        start = await rig.broker.position(ACME)
        await put(rig, ANN, *[BOB] * (LIMITS.events * 2))
        assert offsets(await rig.broker.read([ANN], start)) == [1]


class TestWholeOrRefused:
    """6. *Whole or refused.*"""

    async def test_merged_in_order(self, rig: BrokerRig) -> None:
        """``read`` gives everything after a position on the given channels, in the order of the numbers."""
        _, after, *_ = await put(rig, ANN, BOB, BOB, ANN, JOB, BOB)
        history = await rig.broker.read([BOB, ANN, ANN], after)
        assert history.complete
        assert offsets(history) == [3, 4, 6]
        assert history.upto == await rig.broker.position(ACME)

    async def test_what_is_read_is_what_was_published(self, rig: BrokerRig) -> None:
        """An event comes out of the history with its channel, name, class, key and bytes."""
        start = await rig.broker.position(ACME)
        sent = event('{"title":"Grüße"}', key="k")
        await rig.broker.publish([(ANN, sent)])
        [published] = (await rig.broker.read([ANN], start)).events
        assert (published.channel, published.event) == (ANN, sent)

    async def test_never_a_part(self, rig: BrokerRig) -> None:
        """Never a part: when one channel's is gone, nothing of the others is given either."""
        start = await rig.broker.position(ACME)
        await put(rig, ANN, *[BOB] * (LIMITS.events + 1))
        history = await rig.broker.read([ANN, BOB], start)
        assert not history.complete
        assert history.events == ()
        assert history.upto == await rig.broker.position(ACME)

    async def test_nothing_newer_after_the_history_went(self, rig: BrokerRig) -> None:
        """A resume succeeds after a quiet hour (contract, section 4): the channel has nothing newer."""
        [last] = await put(rig, ANN)
        await rig.advance(3600)
        await put(rig, *[BOB] * 10)
        history = await rig.broker.read([ANN], last)
        assert history.complete
        assert history.events == ()

    async def test_zero_events_received(self, rig: BrokerRig) -> None:
        """... with zero events received so far, after a quiet hour (contract, section 4)."""
        start = await rig.broker.position(ACME)
        await rig.advance(3600)
        await put(rig, ANN)
        assert offsets(await rig.broker.read([ANN, BOB], start)) == [1]

    async def test_chain_across_a_quiet_hour(self, rig: BrokerRig) -> None:
        """``prev`` reaches over a history that went: who saw that event misses nothing, others are refused."""
        start = await rig.broker.position(ACME)
        [seen] = await put(rig, ANN)
        await rig.advance(3600)
        await put(rig, ANN)
        assert offsets(await rig.broker.read([ANN], seen)) == [2]
        assert not (await rig.broker.read([ANN], start)).complete

    async def test_a_position_from_the_future(self, rig: BrokerRig) -> None:
        """A position beyond the counter was never given out, so nothing can be said about it."""
        [last] = await put(rig, ANN)
        history = await rig.broker.read([ANN], Position(last.epoch, last.offset + 1))
        assert not history.complete
        assert history.upto == last

    @pytest.mark.parametrize("channels", [(), (ANN, STRANGER)], ids=["none", "two tenants"])
    async def test_channels_of_one_tenant(self, rig: BrokerRig, channels: tuple[Channel, ...]) -> None:
        """... on these channels, which all belong to one tenant."""
        start = await rig.broker.position(ACME)
        with pytest.raises(ValueError, match="one tenant"):
            await rig.broker.read(channels, start)


class TestHonest:
    """7. *Honest.*"""

    async def test_begun_anew(self, rig: BrokerRig) -> None:
        """When the counter has to begin anew, the epoch changes, and every older position is refused."""
        start = await rig.broker.position(ACME)
        [old] = await put(rig, ANN)
        await rig.lose()
        [new] = await put(rig, ANN)
        assert new.offset == 1
        assert new.epoch != old.epoch
        for position in (start, old):
            history = await rig.broker.read([ANN], position)
            assert (history.events, history.complete, history.upto) == ((), False, new)

    async def test_a_foreign_epoch(self, rig: BrokerRig) -> None:
        """A position of another tenant, or of a tenant not seen yet, is no position here."""
        [ours] = await put(rig, ANN)
        assert not (await rig.broker.read([STRANGER], ours)).complete
        assert not (await rig.broker.read([ANN], await rig.broker.position(OTHER))).complete


class TestNoReadAhead:
    """8. *No read ahead.*"""

    async def test_position(self, rig: BrokerRig) -> None:
        """What ``position`` has returned of a subscribed channel was handed to ``deliver`` before it returned."""
        await rig.broker.subscribe([ANN])
        for _ in range(20):
            await put(rig, ANN, BOB)
            position = await rig.broker.position(ACME)
            assert rig.heard[-1].position.offset == position.offset - 1

    async def test_read(self, rig: BrokerRig) -> None:
        """What ``read`` has returned of a subscribed channel was handed to ``deliver`` before it returned."""
        await rig.broker.subscribe([ANN])
        start = await rig.broker.position(ACME)
        for _ in range(20):
            [start] = await put(rig, ANN)
            await put(rig, ANN)
            history = await rig.broker.read([ANN, BOB], start)
            assert rig.heard[-1] == history.events[-1]


class TestLatest:
    """``latest`` is the newest event that is still known of these channels."""

    async def test_complete_or_not(self, rig: BrokerRig) -> None:
        """Complete or not, before ``after`` or behind it."""
        start = await rig.broker.position(ACME)
        positions = await put(rig, *[ANN] * 7, BOB)
        for after, complete in ((start, False), (positions[3], True), (positions[-1], True)):
            history = await rig.broker.read([ANN], after)
            assert history.complete is complete
            assert history.latest is not None
            assert history.latest.position == positions[6]

    async def test_none_when_nothing_is_known(self, rig: BrokerRig) -> None:
        """A channel without events has none, nor has one whose history has aged."""
        start = await rig.broker.position(ACME)
        assert (await rig.broker.read([ANN], start)).latest is None
        await put(rig, ANN)
        await rig.advance(LIMITS.seconds + 1)
        assert (await rig.broker.read([ANN], start)).latest is None


class TestLife:
    """``start``, ``close`` and ``healthy``."""

    async def test_close(self, rig: BrokerRig) -> None:
        """``close``: stop delivering. ``BrokerUnavailable``: nothing was published."""
        assert rig.broker.healthy()
        await rig.broker.subscribe([ANN])
        await rig.broker.close()
        with pytest.raises(BrokerUnavailable):
            await put(rig, ANN)
        assert not rig.broker.healthy()
        assert rig.heard == []

    async def test_empty_batch(self, rig: BrokerRig) -> None:
        """Publishing nothing is no fault."""
        assert await rig.broker.publish([]) == []
