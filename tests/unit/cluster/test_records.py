"""What ``RedisRecords`` does while Redis is away: nothing that would recover a part later."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

import pytest
from structlog.testing import capture_logs

from tests.support.cluster_rig import Client, cluster
from tests.support.redis import RedisServer, serving
from tidings.cluster.records import RedisRecords
from tidings.delivery.records import Record
from tidings.delivery.resume import Place
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.people import Role, TenantId, UserId
from tidings.domain.position import Cursor, Position

BEGAN = Place(Cursor(Position("e", 5), Position("g", 0)))
LATER = Place(Cursor(Position("e", 9), Position("g", 2)))
RECORD = Record(UserId("ann"), TenantId("acme"), Role.USER, BEGAN, BEGAN)


@dataclass
class Node:
    client: Client
    records: RedisRecords


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with serving() as started:
        yield started


@pytest.fixture
async def node(server: RedisServer) -> AsyncIterator[Node]:
    async with cluster(server) as nodes:
        client = nodes.client()
        yield Node(client, RedisRecords(client))


async def test_a_session_that_begins_goes_unrecorded(node: Node) -> None:
    """Its connect does not fail; it is counted, and said once for each outage."""
    node.client.cut = True
    with capture_logs() as said:
        for number in range(3):
            await node.records.keep(f"pid{number}", RECORD)
    assert [line["event"] for line in said] == ["cluster_records_away"]
    assert node.records.unrecorded == 3
    node.client.cut = False
    assert await node.records.find("pid0") is None
    node.client.cut = True
    with capture_logs() as said:
        await node.records.keep("pid3", RECORD)
    assert len(said) == 1


@pytest.mark.parametrize(
    "changed",
    [
        replace(RECORD, start=LATER),
        replace(RECORD, floor=LATER),
        replace(RECORD, snapshots=1),
        replace(RECORD, jobs={"j": BEGAN}),
    ],
)
async def test_what_is_more_than_a_beginning_is_refused(node: Node, changed: Record) -> None:
    """Contract, section 4: "Never a partial replay", which a record that is out of date would give."""
    node.client.cut = True
    with pytest.raises(TidingsError) as refusal:
        await node.records.keep("pid", changed)
    assert refusal.value.code is ErrorCode.UNAVAILABLE
    assert node.records.unrecorded == 0


@pytest.mark.parametrize("recorded", [True, False])
async def test_a_session_that_lives_here_changes_nothing_unwritten(node: Node, *, recorded: bool) -> None:
    """Also what looks like a beginning takes the place of something, or of what may have been written unheard."""
    node.client.cut = not recorded
    await node.records.keep("pid", RECORD)
    node.client.cut = True
    for refused in (node.records.keep("pid", RECORD), node.records.find("pid")):
        with pytest.raises(TidingsError) as refusal:
            await refused
        assert refusal.value.code is ErrorCode.UNAVAILABLE
    node.records.leave("pid")
    assert await node.records.find("pid") is None
    assert len(node.records) == 0


async def test_a_stranger_is_unknown_while_redis_is_away(node: Node) -> None:
    """Whoever comes back then reads the inbox instead, and is not turned away."""
    await RedisRecords(node.client).keep("pid", RECORD)
    node.client.cut = True
    assert await node.records.find("pid") is None
    node.client.cut = False
    assert await node.records.find("pid") == RECORD
