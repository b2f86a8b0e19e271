"""Coming back: what is replayed, to whom, from where, and what is refused as a whole (contract, section 4)."""

import pytest

from tests.support.recovery_rig import ANN, BOB, TENANT, Client, House, inbox, numbers, outcomes, put, refused
from tidings.broker.base import Limits
from tidings.delivery.resume import Outcome
from tidings.domain.channel import GLOBAL_CHANNEL
from tidings.domain.people import Role, TenantId

HOUR, DAY = 3600.0, 86_400.0


@pytest.fixture
async def house() -> House:
    return await House(Limits(events=5, seconds=600)).open()


@pytest.fixture
async def ann(house: House) -> Client:
    """Ann, who is connected and has read that she is ready."""
    client = Client(house)
    await client.connect()
    client.read()
    return client


# What comes back.


async def test_a_new_session(house: House, ann: Client) -> None:
    """ "CONNECT answers with ``sid`` and ``pid``": the pid is a secret of its own, and nothing was recovered."""
    other = Client(house)
    assert not await other.connect()
    assert len({ann.pid, other.pid, "sid"}) == 3
    assert ann.pid is not None
    assert len(ann.pid) == 20


async def test_exactly_what_was_missed(house: House, ann: Client) -> None:
    """ "Replays exactly what was missed, in order", under the same pid, and then what is live."""
    await put(house, 0, 1, 2)
    ann.read(2)
    pid, offset = ann.pid, ann.offset
    await ann.drop()
    await house.publish(inbox(BOB), {"n": -1})
    await put(house, 3, 4)
    assert await ann.back()
    await put(house, 6)
    ready, *rest = ann.read()
    assert (ready.name, ready.position, ann.pid) == ("notification:ready", offset, pid)
    assert numbers(rest) == [3, 4, 2, 6]
    assert ann.read() == []


async def test_any_number_of_times(house: House, ann: Client) -> None:
    """ "Any number of times": again and again, with what was missed in between and with nothing missed."""
    for value in range(3):
        await ann.drop()
        await put(house, value)
        assert await ann.back()
        assert numbers(ann.read()) == [value]
    for _ in range(3):
        await ann.drop()
        assert await ann.back()
    assert numbers(ann.received) == [0, 1, 2]


async def test_the_same_offset_again(house: House, ann: Client) -> None:
    """A client that has received nothing since comes back with the offset it came back with before."""
    offset = ann.offset
    for count in range(1, 4):
        await ann.drop()
        await put(house, count * 3)
        assert await ann.connect(ann.pid, offset)
        assert numbers(ann.connected.waiting()) == [3, 6, 9][:count]


async def test_zero_events_received(house: House) -> None:
    """ "A known ``pid`` without an offset recovers from its connect", more than once."""
    client = Client(house)
    await client.connect()
    for value in range(3):
        await client.drop()
        await put(house, value)
        assert await client.connect(client.pid)
        assert sorted(numbers(client.connected.waiting())) == list(range(value + 1))


async def test_in_the_middle_of_a_replay(house: House, ann: Client) -> None:
    """ "Never a partial replay": a link that is cut after two of five loses none of the other three."""
    await ann.drop()
    await put(house, 0, 1, 3, 4, 2)
    assert await ann.back()
    assert numbers(ann.read(3)) == [0, 1]
    await ann.drop()
    assert await ann.back()
    assert numbers(ann.read()) == [3, 4, 2]


async def test_before_the_replay(house: House, ann: Client) -> None:
    """``notification:ready`` stands at the start of the replay: a client that got no further has all before it."""
    await ann.drop()
    await put(house, 0, 1)
    assert await ann.back()
    assert numbers(ann.read(1)) == []
    await ann.drop()
    assert await ann.back()
    assert numbers(ann.read()) == [0, 1]


@pytest.mark.parametrize("received", [True, False])
async def test_after_a_quiet_hour(house: House, *, received: bool) -> None:
    """ "After a quiet hour, with zero events received so far": histories have aged, and nothing was missed."""
    client = Client(house)
    await client.connect()
    if received:
        await put(house, 0)
        client.read()
    await client.drop()
    house.clock.now += HOUR
    for _ in range(50):
        await house.publish(inbox(BOB), {"n": -1})
    await put(house, 1)
    assert await client.connect(client.pid, client.offset)
    assert numbers(client.read()) == [1]


async def test_while_the_old_connection_still_lives(house: House, ann: Client) -> None:
    """A server notices late that a link is gone; what it then forgets is not the session."""
    old = ann.connected.session
    assert await ann.back()
    house.recovery.leave(old)
    await put(house, 0)
    await ann.drop()
    await put(house, 1)
    assert await ann.back()
    assert numbers(ann.read()) == [0, 1]


async def test_the_first_offset_of_a_new_session(house: House, ann: Client) -> None:
    """The stock client goes on giving its former session's offset until it has received something of the new one."""
    stale = ann.offset
    await put(house, 0)
    await ann.drop()
    await ann.connect()
    await ann.drop()
    await put(house, 1)
    assert await ann.connect(ann.pid, stale)
    assert numbers(ann.read()) == [1]


# What does not.


@pytest.mark.parametrize("pid", ["", "unknown", "x" * 70_000, 7, True, ["pid"], {"pid": 1}, 1.5])
async def test_an_unknown_pid(house: House, ann: Client, pid: object) -> None:
    """ "A stolen or unknown ``pid`` connects with ``recovered: false``", whatever it is."""
    await put(house, 0)
    await refused(Client(house), pid, ann.offset, Outcome.UNKNOWN)


@pytest.mark.parametrize(
    "offset", ["", "nonsense", "x" * 70_000, 7, True, ["e1.1.e2.0"], {"a": 1}, "e1.1.e2", "e1.-1.e2.0"]
)
async def test_what_is_no_offset(house: House, ann: Client, offset: object) -> None:
    """An offset that is none is no error either."""
    await put(house, 0)
    await ann.drop()
    await refused(ann, ann.pid, offset, Outcome.POSITION)


@pytest.mark.parametrize("offset", ["e9.0.e2.0", "e1.0.e9.0", "e1.99.e2.0", "e1.0.e2.99"])
async def test_an_offset_of_another_epoch_or_of_the_future(house: House, ann: Client, offset: str) -> None:
    """Of another epoch, or beyond the counter, nothing can be said."""
    await put(house, 0)
    await ann.drop()
    await refused(ann, ann.pid, offset, Outcome.HISTORY)


@pytest.mark.parametrize("stranger", ["user", "tenant", "role"])
async def test_a_stolen_pid(house: House, ann: Client, stranger: str) -> None:
    """ "Authorisation is checked again on recovery": another user, another tenant, or the same user with other rights."""
    await put(house, 0)
    await ann.drop()
    thief = {
        "user": Client(house, BOB),
        "tenant": Client(house, ANN, tenant=TenantId("other")),
        "role": Client(house, ANN, role=Role.ADMIN),
    }[stranger]
    before = outcomes(Outcome.FOREIGN)
    assert not await thief.connect(ann.pid, ann.offset)
    assert [said.name for said in thief.read()] == ["notification:ready"]
    assert outcomes(Outcome.FOREIGN) == before + 1
    assert await ann.back()
    assert numbers(ann.read()) == [0]


@pytest.mark.parametrize("channel", [inbox(), TENANT, GLOBAL_CHANNEL])
async def test_when_the_history_holds_no_longer_all(house: House, ann: Client, channel: object) -> None:
    """ "As long as the history holds it; otherwise ``recovered: false``"."""
    await ann.drop()
    for value in range(6):
        await house.publish(channel, {"n": value})  # type: ignore[arg-type]  # parametrised
    await put(house, 0)
    await refused(ann, ann.pid, ann.offset, Outcome.HISTORY)


async def test_after_a_day(house: House, ann: Client) -> None:
    """A session that went a day ago is nobody's."""
    await ann.drop()
    house.clock.now += DAY + 1
    await refused(ann, ann.pid, ann.offset, Outcome.UNKNOWN)
