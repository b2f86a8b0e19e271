"""What every place for records promises, in one process and over many nodes. Time passes in Redis, too."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from tests.support.cluster_rig import cluster
from tests.support.identity_rig import HandClock
from tests.support.redis import RedisServer, serving
from tidings.cluster.records import RedisRecords
from tidings.delivery.records import LocalRecords, Record, Records
from tidings.delivery.resume import Place
from tidings.domain.people import Role, TenantId, UserId
from tidings.domain.position import Cursor, Position

HOUR, DAY = 3600.0, 86_400.0
BEGAN = Place(Cursor(Position("e", 5), Position("g", 0)))
LATER = Place(Cursor(Position("e", 9), Position("g", 2)), 3)
RECORD = Record(UserId("ann"), TenantId("acme"), Role.ADMIN, BEGAN, BEGAN)
CHANGED = replace(RECORD, user_id=UserId('a"b é'), start=LATER, floor=LATER, snapshots=3, jobs={"j": BEGAN})


@dataclass
class Rig:
    """The records as two nodes see them, and the passing of time."""

    here: Records
    there: Records
    advance: Callable[[float], None]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with serving() as started:
        yield started


@pytest.fixture(params=["memory", "redis"])
async def rig(request: pytest.FixtureRequest, server: RedisServer) -> AsyncIterator[Rig]:
    if request.param == "memory":
        clock = HandClock()
        records = LocalRecords(clock)

        def advance(seconds: float) -> None:
            clock.now += seconds

        yield Rig(records, records, advance)
    else:
        async with cluster(server) as nodes:
            yield Rig(RedisRecords(nodes.client()), RedisRecords(nodes.client()), nodes.advance)


@pytest.mark.parametrize("record", [RECORD, CHANGED])
async def test_what_is_kept_is_found_on_every_node(rig: Rig, record: Record) -> None:
    """Contract, section 4: "on any node": every field comes back."""
    await rig.here.keep("pid", record)
    assert await rig.here.find("pid") == record
    assert await rig.there.find("pid") == record


async def test_the_latest_is_found(rig: Rig) -> None:
    """A record takes the place of an earlier one, whoever kept that and whether its session has gone."""
    await rig.here.keep("pid", RECORD)
    rig.here.leave("pid")
    await rig.there.keep("pid", CHANGED)
    assert await rig.here.find("pid") == CHANGED


async def test_after_a_nodes_death(rig: Rig) -> None:
    """Contract, section 4: "after a node's death, after a quiet hour": who dies says nothing."""
    await rig.here.keep("pid", RECORD)
    rig.advance(HOUR)
    assert await rig.there.find("pid") == RECORD


async def test_for_as_long_as_the_session_and_a_day_longer(rig: Rig) -> None:
    """Contract, section 10: "connection lifetime 24 h"; whoever went may come back for a day."""
    await rig.here.keep("pid", RECORD)
    rig.advance(DAY - 1)
    assert await rig.there.find("pid") == RECORD
    rig.here.leave("pid")
    rig.advance(DAY - 1)
    assert await rig.there.find("pid") == RECORD
    rig.advance(DAY)
    assert await rig.there.find("pid") is None


@pytest.mark.parametrize("pid", ["", "other", "x" * 70_000, "\x00", "🦔", "\ud800"])
async def test_a_stranger(rig: Rig, pid: str) -> None:
    """Whatever a client sends for a ``pid``, an unknown one is nobody's; leaving twice harms nothing."""
    await rig.here.keep("pid", RECORD)
    assert await rig.here.find(pid) is None
    rig.here.leave(pid)
    rig.here.leave("pid")
    rig.here.leave("pid")
    assert await rig.there.find("pid") == RECORD


async def test_redis_learns_no_pid(server: RedisServer) -> None:
    """A ``pid`` is a secret: whoever lists the keys of Redis can recover nobody's session."""
    async with cluster(server) as nodes:
        await RedisRecords(nodes.client()).keep("a-secret", RECORD)
        known = nodes.keys()
        assert "tidings:1:record:" in known
        assert "a-secret" not in known
