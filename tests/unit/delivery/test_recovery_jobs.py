"""Coming back to jobs: their events, their snapshots, and how many a session may remember (contract, section 4)."""

import pytest

from tests.support.recovery_rig import Client, House, numbers, put, refused, told_of_jobs
from tests.support.recovery_rig import jobs as job_of
from tidings.broker.base import Limits
from tidings.delivery.resume import Outcome, Place
from tidings.domain.channel import ChannelKind
from tidings.domain.errors import ErrorCode, TidingsError


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


async def subscribed(house: House, client: Client, *names: str) -> None:
    for name in names:
        house.job(name)
        await house.report(name)
        await client.subscribe(name)
    client.read()


async def test_the_events_of_a_job(house: House, ann: Client) -> None:
    """Jobs are remembered when they are subscribed to: what they brought is replayed in its place, and is live again."""
    await subscribed(house, ann, "j")
    await ann.drop()
    await house.report("j")
    await put(house, 0)
    await house.report("j")
    assert await ann.back()
    told = ann.read()
    assert [said.name for said in told[1:]] == ["job:event", "notification:new", "job:event"]
    assert told_of_jobs(told) == [("started", 2), ("started", 3)]
    await house.report("j")
    assert told_of_jobs(ann.read()) == [("started", 4)]


async def test_the_end_of_a_job(house: House, ann: Client) -> None:
    """The terminal event is replayed too, until it has arrived; then the job is left and forgotten."""
    await subscribed(house, ann, "j")
    await ann.drop()
    await house.report("j")
    await house.report("j", final=True)
    for expected in (("started", 2), ("completed", 3)):
        assert await ann.back()
        assert told_of_jobs(ann.read(2)) == [expected]
        assert job_of("j") not in ann.session.channels
        await ann.drop()
    assert await ann.back()
    record = await house.records.find(ann.pid or "")
    assert record is not None
    assert dict(record.jobs) == {}


async def test_a_job_that_is_gone(house: House, ann: Client) -> None:
    """Authorisation is checked again: a job that is no longer the user's is dropped, and the rest is recovered."""
    await subscribed(house, ann, "j", "k")
    await ann.drop()
    await house.report("j")
    await put(house, 0)
    await house.report("k")
    del house.jobs["j"]
    assert await ann.back()
    told = ann.read()
    assert [said.data.get("jobId") for said in told if said.name == "job:event"] == ["k"]
    assert numbers(told) == [0]
    assert job_of("j") not in ann.session.channels


async def test_a_job_whose_history_is_gone(house: House, ann: Client) -> None:
    """Never a partial replay: neither of the inbox nor of a job, and none is joined."""
    await subscribed(house, ann, "j")
    await ann.drop()
    for _ in range(6):
        await house.report("j")
    await refused(ann, ann.pid, ann.offset, Outcome.HISTORY)
    assert job_of("j") not in ann.session.channels


async def test_a_job_that_was_left(house: House, ann: Client) -> None:
    """A job that was unsubscribed from is not come back to; leaving another one harms nothing."""
    await subscribed(house, ann, "j")
    await ann.unsubscribe("j")
    await ann.unsubscribe("k")
    await ann.drop()
    await house.report("j")
    assert await ann.back()
    await house.report("j")
    assert told_of_jobs(ann.read()) == []


async def test_a_snapshot_that_was_not_received(house: House, ann: Client) -> None:
    """A subscription of which nothing has arrived begins anew, behind everything else, and counts once it arrived."""
    house.job("j")
    await house.report("j")
    await put(house, 0)
    await ann.subscribe("j")
    assert numbers(ann.read(1)) == [0]
    await ann.drop()
    await put(house, 1)
    await house.report("j")
    assert await ann.back()
    told = ann.read()
    assert numbers(told) == [1]
    assert told_of_jobs(told) == [("snapshot", 2)]
    assert told[-1].name == "job:event"
    await ann.drop()
    await house.report("j")
    assert await ann.back()
    assert told_of_jobs(ann.read()) == [("started", 3)]


async def test_of_two_snapshots_the_one_that_was_not_received(house: House, ann: Client) -> None:
    """Both stand at the same cursor, where the client stood before them; their numbers tell which has arrived."""
    for name in ("j", "k"):
        house.job(name)
        await house.report(name)
    await put(house, 0)
    ann.read()
    places = [Place.parse(await ann.subscribe(name)) for name in ("j", "k")]
    assert [(str(place.cursor), place.snapshot) for place in places] == [(ann.offset, 1), (ann.offset, 2)]
    ann.read(1)
    await ann.drop()
    await house.report("j")
    await house.report("k")
    assert await ann.back()
    told = ann.read()
    assert [(said.data["jobId"], said.data["type"]) for said in told[1:]] == [
        ("j", "started"),
        ("k", "snapshot"),
    ]


async def test_a_snapshot_of_what_has_ended(house: House, ann: Client) -> None:
    """The snapshot of a job that is over is its end; it is sent again until it has arrived."""
    house.job("j")
    await house.report("j", final=True)
    await ann.subscribe("j")
    for arrives in (0, 1, 2):
        await ann.drop()
        assert await ann.back()
        assert told_of_jobs(ann.connected.waiting()) == [("completed", 1)]
        ann.read(arrives)
    await ann.drop()
    assert await ann.back()
    assert told_of_jobs(ann.read()) == []


async def test_events_that_were_asked_for_again(house: House, ann: Client) -> None:
    """``lastEventId`` replays a job's events at their own positions, the last at the session's."""
    await subscribed(house, ann, "j")
    since = ann.offset
    await house.report("j")
    await house.report("j")
    await put(house, 0)
    ann.read()
    assert await ann.subscribe("j", since) == ann.offset
    again = ann.read()
    assert told_of_jobs(again) == [("started", 2), ("started", 3)]
    assert again[-1].position == str(Place.parse(again[-1].position).cursor) != again[0].position
    await ann.drop()
    await put(house, 1)
    assert await ann.back()
    assert numbers(ann.read()) == [1]


async def test_cut_while_events_that_were_asked_for_again_arrive(house: House, ann: Client) -> None:
    """The client's position has gone back behind what others brought: that cannot be told apart, and is said so."""
    await subscribed(house, ann, "j")
    since = ann.offset
    await house.report("j")
    await put(house, 0)
    await house.report("j")
    ann.read()
    await ann.subscribe("j", since)
    assert told_of_jobs(ann.read(1)) == [("started", 2)]
    await ann.drop()
    await refused(ann, ann.pid, ann.offset, Outcome.POSITION)


async def test_subscribed_in_another_epoch(house: House, ann: Client) -> None:
    """What has been received of a job is not guessed across a counter's new beginning."""
    await subscribed(house, ann, "j")
    assert ann.offset is not None
    moved = ann.offset.replace("e1.", "e9.")
    await ann.drop()
    await refused(ann, ann.pid, moved, Outcome.HISTORY)


# Bounds.


async def test_too_many_jobs(house: House, ann: Client) -> None:
    """At most so many unfinished jobs a session; one more is refused, and everything else goes on."""
    house.recovery._jobs = 2
    await subscribed(house, ann, "j", "k")
    house.job("l")
    await house.report("l")
    with pytest.raises(TidingsError) as refusal:
        await ann.subscribe("l")
    assert refusal.value.code is ErrorCode.TOO_MANY_CONNECTIONS
    assert refusal.value.retry_after is not None
    for name in ("l", "k", "j"):
        await house.report(name)
    assert [said.data["jobId"] for said in ann.read()] == ["k", "j"]
    await ann.subscribe("k")
    await ann.unsubscribe("j")
    await ann.subscribe("l")
    assert told_of_jobs(ann.read()) == [("snapshot", 2), ("snapshot", 2)]


async def test_finished_jobs_do_not_count(house: House, ann: Client) -> None:
    """A job that has ended leaves its place to another one, and one that is over needs none."""
    house.recovery._jobs = 1
    await subscribed(house, ann, "j")
    await house.report("j", final=True)
    assert told_of_jobs(ann.read()) == [("completed", 2)]
    await subscribed(house, ann, "k")
    house.job("l")
    await house.report("l", final=True)
    await ann.subscribe("l")
    assert told_of_jobs(ann.read()) == [("completed", 1)]


async def test_memory_for_jobs_is_bounded(house: House, ann: Client) -> None:
    """Finished ones are remembered, the latest; who may not have received the end of another is told so."""
    house.recovery._jobs = 3
    early = ann.offset
    for number in range(10):
        house.job(str(number))
        await house.report(str(number), final=True)
        await ann.subscribe(str(number))
    record = await house.records.find(ann.pid or "")
    assert record is not None
    assert list(record.jobs) == ["7", "8", "9"]
    ann.read()
    await ann.drop()
    assert await ann.back()
    await ann.drop()
    await refused(ann, ann.pid, early, Outcome.POSITION)


async def test_only_its_own_channels_are_left(house: House, ann: Client) -> None:
    """Leaving ends all that a session hears, and its record begins to age."""
    await subscribed(house, ann, "j")
    session = ann.session
    assert {channel.kind for channel in session.channels} == set(ChannelKind) - {ChannelKind.SIGNAL}
    await ann.drop()
    assert session.channels == []
    assert len(house.hub) == 0
