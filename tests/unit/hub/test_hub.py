"""The hub: who hears what, encoded once, in order, and nobody after they left."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.support.links import Link, link
from tests.support.sessions import Sessions
from tidings.broker.base import Limits
from tidings.broker.memory import MemoryBroker
from tidings.domain.channel import GLOBAL_CHANNEL, Channel, job_channel, tenant_channel, user_channel
from tidings.domain.errors import CloseReason
from tidings.domain.event import Event, EventClass, Published
from tidings.domain.people import Principal, Role, TenantId, UserId
from tidings.hub import hub as hub_file
from tidings.hub.hub import Hub
from tidings.hub.outbox import Outbox
from tidings.hub.session import Session

ACME, OTHER = TenantId("acme"), TenantId("other")


class Plain:
    """A wire format for reading: data@cursor, counted."""

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, published: Published, cursor: str) -> bytes:
        self.encoded += 1
        offsets = ".".join(cursor.split(".")[1::2])
        return published.event.data + b"@" + offsets.encode() + b";"


PLAIN = Plain()


def a_principal(user: str, tenant: TenantId) -> Principal:
    return Principal(UserId(user), tenant, Role.USER, "", None, 0.0)


class Client:
    """A session on a real connection, and what happens to it."""

    def __init__(self, on: Link, user: str, tenant: TenantId = ACME, wire_format: Plain = PLAIN) -> None:
        self.link = on
        self.closed: list[CloseReason] = []
        self.over: list[Channel] = []
        outbox = Outbox(1024 * 1024)
        outbox.attach(on.transport)
        on.carrier.on_resume = outbox.writable
        self.session = Session(user, a_principal(user, tenant), self, outbox, wire_format)

    def close(self, reason: CloseReason) -> None:
        self.closed.append(reason)

    def finished(self, channel: Channel) -> None:
        self.over.append(channel)

    def tell(self, event: str, data: bytes) -> None: ...

    @property
    def channels(self) -> tuple[Channel, ...]:
        principal = self.session.principal
        return (
            user_channel(principal.tenant_id, principal.user_id),
            tenant_channel(principal.tenant_id),
            GLOBAL_CHANNEL,
        )

    async def hears(self, expected: bytes) -> None:
        assert await self.link.read(len(expected)) == expected


class House:
    """A hub on the broker of one process."""

    def __init__(self) -> None:
        self.broker = MemoryBroker(Limits())
        self.subscribed: list[Channel] = []
        self.hub = Hub(self._subscribe, self._unsubscribe, self.broker.position)
        self.links = AsyncExitStack()

    async def _subscribe(self, channels: object) -> None:
        assert isinstance(channels, list)
        self.subscribed += channels
        await self.broker.subscribe(channels)

    async def _unsubscribe(self, channels: object) -> None:
        assert isinstance(channels, list)
        for channel in channels:
            self.subscribed.remove(channel)
        await self.broker.unsubscribe(channels)

    async def client(self, user: str, tenant: TenantId = ACME, wire_format: Plain = PLAIN) -> Client:
        return Client(await self.links.enter_async_context(link()), user, tenant, wire_format)

    async def joined(self, user: str, tenant: TenantId = ACME, wire_format: Plain = PLAIN) -> Client:
        client = await self.client(user, tenant, wire_format)
        await self.hub.join(client.session, client.channels)
        return client

    async def publish(self, *events: tuple[Channel, bytes]) -> None:
        await self.broker.publish([(channel, Event("e", data, EventClass.INBOX)) for channel, data in events])


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    await made.broker.start(made.hub.deliver)
    async with made.links:
        yield made


async def test_everyone_hears_what_is_theirs_and_nothing_else(house: House) -> None:
    """One user, one tenant, everyone; another tenant's events never."""
    ann, bob, eve = await house.joined("ann"), await house.joined("bob"), await house.joined("eve", OTHER)
    await house.publish((ann.channels[0], b"ann"), (tenant_channel(ACME), b"acme"), (GLOBAL_CHANNEL, b"all"))
    await ann.hears(b"ann@1.0;acme@2.0;all@2.1;")
    await bob.hears(b"acme@2.0;all@2.1;")
    await eve.hears(b"all@0.1;")
    assert eve.link.nothing_there()


async def test_order_is_that_of_publication_over_all_channels(house: House) -> None:
    """Within one turn of the loop consecutive events are joined; their order stays."""
    ann = await house.joined("ann")
    own, ours, everyone = ann.channels
    kinds = (own, own, ours, own, everyone, ours, ours)
    await house.publish(*((channel, b"%d" % n) for n, channel in enumerate(kinds)))
    await ann.hears(b"0@1.0;1@2.0;2@3.0;3@4.0;4@4.1;5@5.1;6@6.1;")


async def test_an_event_is_encoded_once_per_format_and_tenant(house: House) -> None:
    """Nothing is made per recipient."""
    form, other_form = Plain(), Plain()
    clients = [await house.joined(f"u{n}", ACME, form) for n in range(5)]
    clients += [await house.joined(f"v{n}", ACME, other_form) for n in range(5)]
    await house.publish((tenant_channel(ACME), b"x"))
    for client in clients:
        await client.hears(b"x@1.0;")
    assert (form.encoded, other_form.encoded) == (1, 1)


async def test_a_session_may_be_written_to_in_another_way(house: House) -> None:
    """After an upgrade a session gets what follows in its new carrier's bytes, once, and others do not notice."""
    before, after = Plain(), Plain()
    ann, bob = await house.joined("ann", ACME, before), await house.joined("bob", ACME, before)
    await house.publish((tenant_channel(ACME), b"one"))
    await ann.hears(b"one@1.0;")
    house.hub.reformat(ann.session, after)
    await house.publish((tenant_channel(ACME), b"two"))
    await ann.hears(b"two@2.0;")
    await bob.hears(b"one@1.0;two@2.0;")
    assert (before.encoded, after.encoded) == (2, 1)
    assert ann.link.nothing_there()
    house.hub.leave(ann.session)
    house.hub.leave(bob.session)
    assert len(house.hub) == 0


async def test_who_left_hears_nothing(house: House) -> None:
    """Leaving takes effect at once, for events of the same turn included."""
    ann, bob = await house.joined("ann"), await house.joined("bob")
    await house.publish((tenant_channel(ACME), b"x"))
    house.hub.leave(ann.session)
    house.hub.leave(ann.session)
    await bob.hears(b"x@1.0;")
    assert ann.link.nothing_there()
    assert house.hub.sessions() == [bob.session]


async def test_subscriptions_are_counted_by_channel_and_dropped_lazily(house: House) -> None:
    """The broker hears of a channel once, and of its end when it has been deserted for a while."""
    ann, two = await house.joined("ann"), await house.joined("ann")
    assert sorted(house.subscribed) == sorted(ann.channels)
    house.hub.leave(ann.session)
    await house.hub.tidy()
    assert len(house.subscribed) == 3
    house.hub.leave(two.session)
    assert len(house.subscribed) == 3
    await house.hub.tidy()
    assert house.subscribed == []


async def test_a_reconnect_before_the_tidying_costs_nothing(house: House) -> None:
    """Who comes back finds the subscription still there."""
    ann = await house.joined("ann")
    house.hub.leave(ann.session)
    again = await house.joined("ann")
    await house.hub.tidy()
    await house.publish((ann.channels[0], b"x"))
    await again.hears(b"x@1.0;")


async def test_a_held_session_is_told_what_came_behind_its_cursor(house: House) -> None:
    """Joining loses nothing and doubles nothing, whatever is published meanwhile."""
    ann = await house.client("ann")
    ann.session.outbox.hold()
    await house.publish((tenant_channel(ACME), b"before"))
    cursor = await house.hub.join(ann.session, ann.channels)
    await house.publish((tenant_channel(ACME), b"behind"))
    await asyncio.sleep(0)
    assert ann.session.outbox.release(cursor, ann.channels)
    await ann.hears(b"behind@2.0;")


async def test_a_cursor_never_goes_back(house: House) -> None:
    """What was published while nobody here heard it counts for those who joined behind it."""
    ann, bob = await house.client("ann"), await house.joined("bob")
    await house.publish((ann.channels[0], b"before"))
    ann.session.outbox.hold()
    cursor = await house.hub.join(ann.session, ann.channels)
    assert cursor.tenant.offset == 1
    assert ann.session.outbox.release(cursor, ann.channels)
    await house.publish((GLOBAL_CHANNEL, b"all"), (ann.channels[0], b"own"))
    await ann.hears(b"all@1.1;own@2.1;")
    await bob.hears(b"all@1.1;")


async def test_a_cursor_never_runs_ahead(house: House) -> None:
    """Somebody's join moves nobody past what was published before it and has not been written yet."""
    ann, bob = await house.joined("ann"), await house.client("bob")
    await house.publish((GLOBAL_CHANNEL, b"all"), (ann.channels[0], b"own"))
    await house.hub.join(bob.session, bob.channels)
    await ann.hears(b"all@0.1;own@1.1;")


async def test_failing_to_subscribe_leaves_nothing_behind(house: House) -> None:
    """Whoever could not join is in no channel, and the next attempt subscribes anew."""

    async def fail(channels: object) -> None:
        raise ConnectionError

    hub = Hub(fail, house.broker.unsubscribe, house.broker.position)
    ann = await house.client("ann")
    with pytest.raises(ConnectionError):
        await hub.join(ann.session, ann.channels)
    assert hub.sessions() == []
    assert ann.session.channels == []
    await hub.tidy()


async def test_joins_that_share_a_subscription_wait_for_it(house: House) -> None:
    """Nobody counts as joined before the broker has said so; a failure fails all who waited."""
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def slow(channels: object) -> None:
        await answer

    hub = Hub(slow, house.broker.unsubscribe, house.broker.position)
    clients = [await house.client("ann"), await house.client("ann")]
    joins = [asyncio.create_task(hub.join(client.session, client.channels)) for client in clients]
    await asyncio.sleep(0.01)
    assert not any(join.done() for join in joins)
    answer.set_exception(ConnectionError())
    results = await asyncio.gather(*joins, return_exceptions=True)
    assert all(isinstance(result, ConnectionError) for result in results)
    assert hub.sessions() == []


async def test_a_channels_end_is_told_to_its_sessions(house: House) -> None:
    """A final event is delivered, then the wire is told that the channel is over."""
    ann = await house.client("ann")
    channel = job_channel(ACME, "j")
    await house.hub.join(ann.session, [channel])
    await house.broker.publish([(channel, Event("job:event", b"done", EventClass.FINAL))])
    await ann.hears(b"done@1.0;")
    assert ann.over == [channel]
    assert channel not in ann.session.channels


async def test_a_full_outbox_closes_its_session_alone(house: House) -> None:
    """Contract, section 9: "it is closed with a reason, others do not notice"."""
    slow = Client(await house.links.enter_async_context(link(send_buffer=4096)), "slow")
    quick = await house.joined("quick")
    await house.hub.join(slow.session, slow.channels)
    big = b"x" * 200_000
    for _ in range(12):
        await house.publish((tenant_channel(ACME), big))
        await quick.link.read(len(big))
        if slow.closed:
            break
    assert slow.closed[0] is CloseReason.SLOW_CONSUMER
    assert quick.closed == []


async def test_who_has_missed_something_hears_nothing_more(house: House) -> None:
    """Contract, section 4: "never a partial replay". What came later would move the position past the gap."""
    ann, eve = await house.joined("ann"), await house.joined("eve", OTHER)
    house.hub.lost(ann.channels[1])
    assert ann.closed == [CloseReason.MISSED]
    await house.publish(*((channel, b"later") for channel in ann.channels))
    await eve.hears(b"later@0.1;")
    assert ann.link.nothing_there()
    with pytest.raises(ConnectionError):
        await house.hub.join(ann.session, [job_channel(ACME, "j")])
    assert house.hub.sessions_of(ann.session.principal.user_id) == [ann.session]
    house.hub.leave(ann.session)
    assert house.hub.sessions() == [eve.session]
    await house.hub.tidy()
    assert set(house.subscribed) == set(eve.channels)


async def test_many_who_have_missed_something_are_closed_a_few_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that they do not all come back at once; within the time that is set, and each once."""
    monkeypatch.setattr(hub_file, "SPREAD_SECONDS", 0.2)
    monkeypatch.setattr(hub_file, "_TURN_SECONDS", 0.01)
    sessions = Sessions()
    wires = [(await sessions.join(a_principal(str(number), ACME)))[1] for number in range(600)]
    sessions.hub.lost(GLOBAL_CHANNEL)
    sessions.hub.lost(tenant_channel(ACME))
    assert sum(len(wire.closed) for wire in wires) == 30
    gone = next(wire for wire in wires if not wire.closed)
    gone.close(CloseReason.CLIENT_CLOSED)
    async with asyncio.timeout(5):
        await asyncio.gather(*(wire.gone.wait() for wire in wires))
    assert [wire.closed for wire in wires if wire is not gone] == [[CloseReason.MISSED]] * 599
    assert gone.closed == [CloseReason.CLIENT_CLOSED]


async def test_nothing_is_left_when_all_have_gone(house: House) -> None:
    """No state that only grows: channels, users, tenants."""
    for n in range(50):
        client = await house.joined(f"u{n}", TenantId(f"t{n % 7}"))
        house.hub.leave(client.session)
    await house.hub.tidy()
    assert len(house.hub) == 0
    assert house.subscribed == []
    assert house.hub._audiences == {}
    assert house.hub._users == {}
    assert set(house.hub._seen) == {GLOBAL_CHANNEL.tenant}
