"""What ``LocalRecords`` adds to the contract of records: bounds, ageing, and how little a connection costs."""

import tracemalloc

from tests.support.broker_rig import FakeClock
from tidings.delivery.records import LocalRecords, Record
from tidings.delivery.resume import Place
from tidings.domain.ids import new_id, new_secret
from tidings.domain.people import Role, TenantId, UserId
from tidings.domain.position import Cursor, Position

DAY = 86_400.0
BYTES = 600
"""What a connection may weigh more for being remembered."""


def a_record(user: str = "ann") -> Record:
    place = Place(Cursor(Position("0123456789abcdef", 12345), Position("fedcba9876543210", 123)))
    return Record(UserId(user), TenantId(new_id()), Role.USER, place, place)


async def test_forgotten_after_a_day() -> None:
    """A session that went is forgotten a day later, and what it took is freed when another one goes."""
    clock = FakeClock()
    records = LocalRecords(clock)
    for pid in ("gone", "lives"):
        await records.keep(pid, a_record())
    records.leave("gone")
    clock.now += DAY + 1
    assert await records.find("gone") is None
    assert await records.find("lives") is not None
    records.leave("lives")
    assert len(records) == 1


async def test_bounded() -> None:
    """Of more sessions than it is made for those that went first go first; those that live stay."""
    records = LocalRecords(FakeClock(), capacity=10)
    await records.keep("lives", a_record())
    for number in range(50):
        await records.keep(str(number), a_record())
        records.leave(str(number))
    assert len(records) == 11
    assert [number for number in range(50) if await records.find(str(number))] == list(range(40, 50))
    assert await records.find("lives") is not None


async def test_a_session_that_came_back_lives() -> None:
    """It is not forgotten with those that went when it did."""
    records = LocalRecords(FakeClock(), capacity=1)
    await records.keep("pid", a_record())
    records.leave("pid")
    await records.keep("pid", a_record("ann again"))
    for other in ("a", "b"):
        await records.keep(other, a_record())
        records.leave(other)
    found = await records.find("pid")
    assert found is not None
    assert found.user_id == "ann again"


async def test_few_bytes_a_connection() -> None:
    """Ten thousand live sessions with ids as they are, and what they weigh altogether."""
    count = 10_000
    records = LocalRecords()
    user, tenant = UserId(new_id()), TenantId(new_id())
    tracemalloc.start()
    try:
        for number in range(count):
            place = Place(Cursor(Position("0123456789abcdef", number), Position("fedcba9876543210", 123)))
            await records.keep(new_secret(), Record(user, tenant, Role.USER, place, place))
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used / count < BYTES
