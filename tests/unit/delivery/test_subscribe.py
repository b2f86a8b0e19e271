"""Joining while things happen: what came before goes first, and whoever cannot join is where it was."""

from itertools import pairwise

import pytest

from tests.support.recovery_rig import Client, House, Said, inbox
from tests.support.recovery_rig import jobs as job_of
from tidings.broker.base import BrokerUnavailable
from tidings.delivery.resume import Place
from tidings.domain.channel import GLOBAL_CHANNEL, Channel
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.event import EventClass


@pytest.fixture
async def house() -> House:
    made = await House().open()
    made.job("j")
    await made.report("j")
    return made


@pytest.fixture
async def ann(house: House) -> Client:
    client = Client(house)
    await client.connect()
    client.read()
    return client


def drive(house: House, *steps: Channel | None) -> None:
    """Let one step happen each time that something is waited for: an event, of the job too, or nothing."""
    left = list(steps)

    def happen() -> None:
        channel = left.pop(0) if left else None
        if channel is not None:
            coroutine = house.report("j") if channel == job_of("j") else house.publish(channel, {"n": 0})
            for _ in coroutine.__await__():
                raise AssertionError("publishing in memory suspended")

    house.meanwhile = happen


def kinds(told: list[Said]) -> list[str]:
    return [said.data.get("type", "new") for said in told]


@pytest.mark.parametrize("moment", range(9))
async def test_no_position_overtakes_another(house: House, ann: Client, moment: int) -> None:
    """Whenever others' events come while a job is joined: in order, with the snapshot at its place among them."""
    drive(house, *[None] * moment, inbox(), job_of("j"), GLOBAL_CHANNEL, inbox(), job_of("j"))
    await ann.subscribe("j")
    house.meanwhile = lambda: None
    await house.report("j")
    told = ann.read()
    places = [Place.parse(said.position) for said in told]
    assert not any(later.precedes(earlier) for earlier, later in pairwise(places))
    events = [said.data["attempt"] for said in told if said.name == "job:event"]
    assert kinds(told).count("snapshot") == 1
    assert events == list(range(events[0], house.jobs["j"].attempt + 1))


def break_broker(house: House, calls: int) -> None:
    """Have the broker be away from that call on."""
    left = calls

    def happen() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise BrokerUnavailable

    house.broker.meanwhile = happen


@pytest.mark.parametrize("calls", range(6))
async def test_a_job_that_cannot_be_joined(house: House, ann: Client, calls: int) -> None:
    """A session whose subscription fails is not deaf: it hears all that it heard before, and nothing else."""
    break_broker(house, calls)
    with pytest.raises(TidingsError) as refusal:
        await ann.subscribe("j")
    assert refusal.value.code is ErrorCode.UNAVAILABLE
    house.broker.meanwhile = lambda: None
    await house.publish(inbox(), {"n": 1})
    await house.report("j")
    assert kinds(ann.read()) == ["new"]
    assert job_of("j") not in ann.session.channels
    await ann.subscribe("j")
    assert kinds(ann.read()) == ["snapshot"]


@pytest.mark.parametrize("calls", range(3))
async def test_an_inbox_that_cannot_be_joined(house: House, calls: int) -> None:
    """UNAVAILABLE leaves nothing behind."""
    break_broker(house, calls)
    with pytest.raises(TidingsError) as refusal:
        await Client(house).connect()
    assert refusal.value.code is ErrorCode.UNAVAILABLE
    assert len(house.hub) == 0


async def test_a_resume_that_cannot_be_read(house: House, ann: Client) -> None:
    """A client that the broker cannot answer now is refused, and recovers once it can."""
    await ann.drop()
    await house.publish(inbox(), {"n": 1})
    break_broker(house, 5)
    with pytest.raises(TidingsError) as refusal:
        await ann.back()
    assert refusal.value.code is ErrorCode.UNAVAILABLE
    assert len(house.hub) == 0
    house.broker.meanwhile = lambda: None
    assert await ann.back()
    assert kinds(ann.read()) == ["new", "new"]


async def test_a_snapshot_is_not_about_a_file(house: House, ann: Client) -> None:
    """After an `artifact` event a snapshot tells how the job stands, with neither the file nor its name."""
    told = {"jobId": "j", "type": "artifact", "attempt": 2, "message": "a.txt", "artifact": {"name": "a.txt"}}
    await house.publish(job_of("j"), told, EventClass.STATE)
    await ann.subscribe("j")
    [said] = ann.read()
    assert said.data == {"jobId": "j", "type": "snapshot", "attempt": 2, "message": None}
