"""What followed a cursor: places, replays up to the seam, and frames that are encoded once."""

from collections.abc import AsyncIterator

import pytest

from tests.support.broker_rig import ACME, ANN, JOB, MemoryRig, event, memory_rig
from tests.support.recovery_rig import Lines
from tidings.broker.base import Limits
from tidings.delivery.resume import Frames, Place, latest, read_cursor, replay
from tidings.domain.channel import GLOBAL_CHANNEL, GLOBAL_TENANT, Channel, tenant_channel
from tidings.domain.event import Published
from tidings.domain.position import Cursor, Position

TENANT = tenant_channel(ACME)
INBOX = (ANN, TENANT, GLOBAL_CHANNEL)


@pytest.fixture
async def rig() -> AsyncIterator[MemoryRig]:
    async with memory_rig(Limits(events=5, seconds=60)) as made:
        yield made


async def here(rig: MemoryRig) -> Cursor:
    return Cursor(await rig.broker.position(ACME), await rig.broker.position(GLOBAL_TENANT))


async def put(rig: MemoryRig, *channels: Channel) -> None:
    for number, channel in enumerate(channels):
        await rig.broker.publish([(channel, event(f'"{number}"'))])


def place(own: int, everyone: int = 0, snapshot: int = 0, epoch: str = "e") -> Place:
    return Place(Cursor(Position(epoch, own), Position("g", everyone)), snapshot)


# Places.


@pytest.mark.parametrize("snapshot", [0, 1, 12])
def test_a_place_survives_the_wire(snapshot: int) -> None:
    """A place is written as its cursor, with the number of the snapshot behind it if there is one."""
    written = str(place(7, 3, snapshot))
    assert written == ("e.7.g.3" if snapshot == 0 else f"e.7.g.3~{snapshot}")
    assert Place.parse(written) == place(7, 3, snapshot)
    assert read_cursor(written) == place(7, 3).cursor


@pytest.mark.parametrize(
    "text",
    ["", "~", "~1", "e.7.g.3~", "e.7.g.3~0", "e.7.g.3~01", "e.7.g.3~1~1", "e.7.g", "e.7.g.3 ", "x" * 70_000],
)
def test_what_is_no_place(text: str) -> None:
    """Nothing else is a place, however long it is."""
    with pytest.raises(ValueError, match="not a"):
        Place.parse(text)
    assert read_cursor(text) is None


@pytest.mark.parametrize(
    ("here", "there", "covers"),
    [
        (place(5), place(5), True),
        (place(6), place(5), True),
        (place(4), place(5), False),
        (place(5, 1), place(5, 0, 2), True),
        (place(5, 0, 1), place(5, 0, 2), False),
        (place(5, 0, 2), place(5, 0, 2), True),
        (place(5), place(5, 0, 1), False),
        (place(6), place(5, 0, 1), True),
        (place(6, epoch="f"), place(5), False),
    ],
)
def test_who_has_received_what(here: Place, there: Place, *, covers: bool) -> None:
    """Behind the cursor everything has been received; at the same cursor it is the snapshot's number that tells."""
    assert here.covers(there) is covers


def test_preceding() -> None:
    """One counter behind is enough; counters that cannot be compared say nothing."""
    assert place(4).precedes(place(5))
    assert place(6, 0).precedes(place(5, 1))
    assert not place(5, 1).precedes(place(5, 1))
    assert not place(4, epoch="f").precedes(place(5))


# Replays.


async def test_a_replay_ends_at_the_seam(rig: MemoryRig) -> None:
    """What comes behind the point at which the session joined is not replayed: it is heard."""
    after = await here(rig)
    await put(rig, ANN, GLOBAL_CHANNEL, TENANT)
    now = await here(rig)
    await put(rig, ANN, GLOBAL_CHANNEL)
    missed = await replay(rig.broker, INBOX, after, now)
    assert missed is not None
    assert [(str(cursor), published.channel) for published, cursor in missed] == [
        ("e1.1.e2.0", ANN),
        ("e1.2.e2.0", TENANT),
        ("e1.2.e2.1", GLOBAL_CHANNEL),
    ]


async def test_a_replay_is_whole_or_none(rig: MemoryRig) -> None:
    """Contract, section 4: "never a partial replay", whichever counter has lost something."""
    for crowded in (TENANT, GLOBAL_CHANNEL):
        after = await here(rig)
        await put(rig, ANN, GLOBAL_CHANNEL, *[crowded] * 6)
        assert await replay(rig.broker, INBOX, after, await here(rig)) is None


async def test_the_latest_event_at_the_seam(rig: MemoryRig) -> None:
    """How a job stood when the session joined, although it has gone on since."""
    assert await latest(rig.broker, JOB, await rig.broker.position(ACME)) is None
    await put(rig, JOB, ANN, JOB, ANN)
    now = await rig.broker.position(ACME)
    at_rest = await latest(rig.broker, JOB, now)
    await put(rig, JOB, JOB)
    busy = await latest(rig.broker, JOB, now)
    assert at_rest is not None
    assert at_rest == busy
    assert at_rest.position.offset == 3


async def test_no_latest_event_at_the_seam(rig: MemoryRig) -> None:
    """What has aged away, and what came only later, is not known."""
    await put(rig, JOB)
    aged = await rig.broker.position(ACME)
    await rig.advance(61)
    await put(rig, JOB)
    assert await latest(rig.broker, JOB, aged) is None
    before = await rig.broker.position(ACME)
    fresh = Channel(ACME, JOB.kind, "fresh")
    await put(rig, fresh)
    assert await latest(rig.broker, fresh, before) is None


# Frames.


def missed(channel: Channel, count: int, size: int = 1) -> tuple[tuple[Published, Cursor], ...]:
    return tuple(
        (
            Published(channel, Position("e", number), number - 1, event(f'"{"x" * size}"'), 0.0),
            place(number).cursor,
        )
        for number in range(1, count + 1)
    )


@pytest.mark.parametrize(("channel", "encoded"), [(TENANT, 3), (GLOBAL_CHANNEL, 3), (ANN, 30), (JOB, 30)])
def test_what_goes_to_many_is_encoded_once(channel: Channel, encoded: int) -> None:
    """A thousand clients that missed the same get the same bytes; one reader's events are kept for nobody."""
    form, frames = Lines(), Frames()
    replays = {b"".join(frames.of(form, missed(channel, 3))) for _ in range(10)}
    assert len(replays) == 1
    assert form.encoded == encoded


def test_frames_are_apart_by_format_channel_and_cursor() -> None:
    """The same cursor can stand behind a tenant's event and behind one of everyone."""
    form, frames = Lines(), Frames()
    for channel in (TENANT, GLOBAL_CHANNEL, tenant_channel(GLOBAL_TENANT)):
        list(frames.of(form, missed(channel, 1, size=len(channel.key))))
    assert form.encoded == 2
    list(frames.of(Lines(), missed(TENANT, 1)))
    assert b'"xx"' not in b"".join(frames.of(form, missed(TENANT, 1)))


def test_what_is_for_one_stands_between_what_is_for_all() -> None:
    """Everybody gets the own events in their places, and nobody another's."""
    shared = missed(TENANT, 9)
    form, frames = Lines(), Frames()
    plain = b"".join(frames.of(form, shared))
    for own in ((3,), (5, 6), (1, 9), ()):
        mixed = [missed(ANN, 9, size=7)[n - 1] if n in own else shared[n - 1] for n in range(1, 10)]
        got = b"".join(frames.of(form, tuple(mixed))).splitlines()
        assert [b"xxxxxxx" in line for line in got] == [n in own for n in range(1, 10)]
        assert all(line in plain for n, line in enumerate(got, 1) if n not in own)


def test_frames_come_in_pieces() -> None:
    """A long replay is several writes, so that the outbox can say when it is full."""
    pieces = list(Frames().of(Lines(), missed(ANN, 100, size=4000)))
    assert b"".join(pieces).count(b"\n") == 100
    assert len(pieces) == 4
    assert max(map(len, pieces)) < 32 * 4100
    assert list(Frames().of(Lines(), ())) == []


def test_memory_for_frames_is_bounded() -> None:
    """What is kept never grows beyond the limit."""
    form, frames = Lines(), Frames(limit=50_000)
    for _ in range(2):
        list(frames.of(form, missed(TENANT, 100, size=1000)))
    assert form.encoded == 200
    assert sum(map(len, frames._known.values())) == frames._size <= 50_000
