"""What every place for records promises (``delivery/records.py``). Another one joins by one more entry in ``PLACES``."""

from collections.abc import Callable

import pytest

from tests.support.broker_rig import FakeClock
from tidings.delivery.records import LocalRecords, Record, Records
from tidings.delivery.resume import Place
from tidings.domain.people import Principal, Role, TenantId, UserId
from tidings.domain.position import Cursor, Position

HOUR, DAY = 3600.0, 86_400.0
BEGAN = Place(Cursor(Position("e", 5), Position("g", 0)))
LATER = Place(Cursor(Position("e", 9), Position("g", 2)), 3)
RECORD = Record(UserId("ann"), TenantId("acme"), Role.ADMIN, BEGAN, BEGAN)
PLACES: dict[str, Callable[[FakeClock], Records]] = {"local": LocalRecords}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=list(PLACES.values()), ids=list(PLACES))
def records(request: pytest.FixtureRequest, clock: FakeClock) -> Records:
    make: Callable[[FakeClock], Records] = request.param
    return make(clock)


@pytest.mark.parametrize(
    "record",
    [
        RECORD,
        Record(
            UserId('a"b é'), TenantId("acme"), Role.USER, BEGAN, LATER, LATER, 3, {"j": BEGAN, "k": LATER}
        ),
    ],
)
async def test_what_is_kept_is_found(records: Records, record: Record) -> None:
    """Every field comes back, whatever a user's id looks like."""
    await records.keep("pid", record)
    assert await records.find("pid") == record


async def test_the_latest_is_found(records: Records) -> None:
    """A record takes the place of an earlier one, also of a session that had gone."""
    await records.keep("pid", RECORD)
    records.leave("pid")
    changed = Record(RECORD.user_id, RECORD.tenant_id, RECORD.role, BEGAN, LATER)
    await records.keep("pid", changed)
    assert await records.find("pid") == changed


async def test_for_as_long_as_the_session_and_a_day_longer(records: Records, clock: FakeClock) -> None:
    """Contract, section 4: "after a quiet hour"; while the connection lives, however long that is."""
    await records.keep("pid", RECORD)
    clock.now += DAY - HOUR
    assert await records.find("pid") == RECORD
    records.leave("pid")
    clock.now += DAY - HOUR
    assert await records.find("pid") == RECORD


@pytest.mark.parametrize("pid", ["", "other", "x" * 70_000, "\x00", "🦔"])
async def test_a_stranger(records: Records, pid: str) -> None:
    """Whatever a client sends for a ``pid``, an unknown one is nobody's; leaving twice harms nothing."""
    await records.keep("pid", RECORD)
    assert await records.find(pid) is None
    records.leave(pid)
    records.leave("pid")
    records.leave("pid")
    assert await records.find("pid") == RECORD


def test_whose_it_is() -> None:
    """Contract, section 4: "authorisation is checked again": user, tenant and role have to be the same."""

    def principal(user: str, tenant: str, role: Role) -> Principal:
        return Principal(UserId(user), TenantId(tenant), role, "", None, 0.0)

    assert RECORD.is_of(principal("ann", "acme", Role.ADMIN))
    for other in (("bob", "acme", Role.ADMIN), ("ann", "other", Role.ADMIN), ("ann", "acme", Role.USER)):
        assert not RECORD.is_of(principal(*other))
