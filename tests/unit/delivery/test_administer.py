"""The verbs of administrators: who may, what is stored, and what is ordered with it."""

from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.support import tables
from tests.support.store_rig import START, a_tenant, a_user, after
from tidings.delivery import administer
from tidings.delivery.administer import Administration, OutOfSight
from tidings.domain.audit import Filter, SecurityEvent, SecurityEventType
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.ids import new_id
from tidings.domain.order import Order, OrderKind
from tidings.domain.people import Principal, Role, Tenant, TenantId, TenantStatus, User, UserId
from tidings.store import audit, revocations, tenants, users
from tidings.store.database import Database


@dataclass
class Given:
    """Orders as they are given; ``told`` counts how often nodes were told to look."""

    orders: list[Order] = field(default_factory=list)
    told: int = 0

    async def give(self, tx: AsyncConnection, *given: Order) -> None:
        self.orders += given

    def committed(self) -> None:
        self.told += 1

    def kinds(self) -> list[OrderKind]:
        return [order.kind for order in self.orders]


@dataclass
class House:
    """Tenant ``acme`` with ann (USER), amy (ADMIN) and sue (SUPER_ADMIN); tenant ``other`` with eve (USER)."""

    database: Database
    given: Given
    verbs: Administration
    acme: Tenant
    other: Tenant
    people: dict[str, User]

    def as_(self, name: str) -> Principal:
        user = self.people[name]
        return Principal(user.id, user.tenant_id, user.role, user.email, user.name, 2e9)

    async def stored(self, user_id: UserId) -> User:
        async with self.database.read() as tx:
            return (await users.by_ids(tx, [user_id]))[user_id][0]


@pytest.fixture
async def house(sqlite_url: str) -> AsyncIterator[House]:
    await tables.lay(sqlite_url)
    acme, other = a_tenant("acme"), a_tenant("other")
    people = {
        "ann": a_user(acme, "ann"),
        "amy": a_user(acme, "amy", Role.ADMIN),
        "sue": a_user(acme, "sue", Role.SUPER_ADMIN),
        "eve": a_user(other, "eve"),
    }
    async with Database(sqlite_url) as database:
        async with database.write() as tx:
            for tenant in (acme, other):
                await tenants.insert(tx, tenant)
            for user in people.values():
                assert await users.insert(tx, user)
        given = Given()
        yield House(database, given, Administration(database, given), acme, other, people)


async def test_a_new_tenant_is_called_what_it_was_asked_for_by(house: House) -> None:
    """By a slug, or by an id, which is then both; a tenant that was not suspended needs no order."""
    made, new = await house.verbs.put_tenant(house.as_("sue"), "globex", "Globex", TenantStatus.ACTIVE)
    assert (made.slug, made.name, made.status, new) == ("globex", "Globex", TenantStatus.ACTIVE, True)
    name = new_id()
    by_id, new = await house.verbs.put_tenant(house.as_("sue"), name, "Initech", TenantStatus.ACTIVE)
    assert (by_id.id, by_id.slug, new) == (name, name, True)
    assert house.given.orders == []


@pytest.mark.parametrize("by", ["id", "slug"])
async def test_a_tenant_is_suspended_and_active_again(house: House, by: str) -> None:
    """Each change of the status is ordered, a change of the name is not."""
    word, sue = getattr(house.acme, by), house.as_("sue")
    for status, new in ((TenantStatus.SUSPENDED, False), (TenantStatus.ACTIVE, False)):
        assert await house.verbs.put_tenant(sue, word, "Acme", status) == (
            replace(house.acme, status=status),
            new,
        )
    await house.verbs.put_tenant(sue, word, "Acme Ltd", TenantStatus.ACTIVE)
    assert house.given.orders == [Order(OrderKind.TENANT, tenant_id=house.acme.id)] * 2
    async with house.database.read() as tx:
        assert await tenants.get(tx, house.acme.id) == replace(house.acme, name="Acme Ltd")


@pytest.mark.parametrize("word", ["", "-", "a b", "x" * 65, "\x00", "é"])
async def test_what_no_tenant_can_be_called_is_not_found(house: House, word: str) -> None:
    """No tenant is made of it."""
    await refused(
        ErrorCode.NOT_FOUND, house.verbs.put_tenant(house.as_("sue"), word, "X", TenantStatus.ACTIVE)
    )


@pytest.mark.parametrize("name", ["ann", "amy"])
async def test_tenants_are_the_super_admins(house: House, name: str) -> None:
    """Contract, section 11: "tenants, nodes and metrics are the SUPER_ADMIN's"."""
    verb = house.verbs.put_tenant(house.as_(name), "acme", "Mine", TenantStatus.SUSPENDED)
    await refused(ErrorCode.FORBIDDEN, verb)


async def test_a_user_is_made_under_the_callers_id(house: House) -> None:
    """An ADMIN makes users and ADMINs of the own tenant; all nodes hear of it once it is committed."""
    for name, role in (("bob", Role.USER), ("boss", Role.ADMIN)):
        bob = a_user(house.acme, name, role)
        assert await house.verbs.put_user(house.as_("amy"), bob) == (bob, True)
        assert await house.stored(bob.id) == bob
        assert house.given.orders[-1] == Order(OrderKind.PERSON, house.acme.id, bob.id)
    assert house.given.told == 2


async def test_a_user_is_changed_but_for_when_they_came(house: House) -> None:
    """Everything is replaced, ``name`` left out included."""
    ann = house.people["ann"]
    wanted = replace(ann, email="a@b.example", name=None, role=Role.ADMIN, active=False, created_at=after(9))
    user, new = await house.verbs.put_user(house.as_("amy"), wanted)
    assert (user, new) == (replace(wanted, created_at=START), False)
    assert await house.stored(ann.id) == user


async def test_a_user_moves(house: House) -> None:
    """From one tenant to another, which only a SUPER_ADMIN can see both of."""
    moved = replace(house.people["ann"], tenant_id=house.other.id)
    with pytest.raises(OutOfSight):
        await house.verbs.put_user(house.as_("amy"), moved)
    assert (await house.verbs.put_user(house.as_("sue"), moved))[0] == moved
    assert house.given.kinds() == [OrderKind.TOKENS, OrderKind.PERSON]
    assert house.given.orders[-1] == Order(OrderKind.PERSON, house.other.id, moved.id)


async def test_who_moves_leaves_all_tokens_behind(house: House) -> None:
    """Or one that an ADMIN of the old tenant has revoked would be good in the new one; not who only rises."""
    ann, sue = house.people["ann"], house.as_("sue")
    await house.verbs.put_user(sue, replace(ann, role=Role.ADMIN))
    assert OrderKind.TOKENS not in house.given.kinds()
    await house.verbs.put_user(sue, replace(ann, tenant_id=house.other.id))
    async with house.database.read() as tx:
        (revoked,) = await revocations.live(tx, datetime.now(UTC))
    assert (revoked.user_id, revoked.token_id) == (ann.id, None)
    assert revoked.issued_before is not None
    assert revoked.issued_before > datetime.now(UTC) - timedelta(minutes=1)


async def test_a_tenant_has_a_quota_of_revoked_tokens(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it RATE_LIMITED; not for one that is there already, for another tenant or for a SUPER_ADMIN."""
    monkeypatch.setattr(administer, "_MAX_TOKENS", 2)
    amy, sue = house.as_("amy"), house.as_("sue")
    for token_id in ("one", "two", "two"):
        await house.verbs.revoke_token(amy, token_id)
    with pytest.raises(TidingsError) as caught:
        await house.verbs.revoke_token(amy, "three")
    assert (caught.value.code, caught.value.retry_after) == (ErrorCode.RATE_LIMITED, 3600)
    await house.verbs.revoke_token(amy, "one")
    await house.verbs.revoke_token(replace(amy, tenant_id=house.other.id), "three")
    await house.verbs.revoke_token(sue, "three")


async def test_an_address_is_one_users(house: House) -> None:
    """CONFLICT for another user of the tenant, whatever the case; not in another tenant, nor for the user."""
    ann, amy = house.people["ann"], house.as_("amy")
    twin = replace(a_user(house.acme, "twin"), email=ann.email.upper())
    await refused(ErrorCode.CONFLICT, house.verbs.put_user(amy, twin))
    await refused(
        ErrorCode.CONFLICT, house.verbs.put_user(amy, replace(ann, email=house.people["amy"].email))
    )
    await house.verbs.put_user(amy, replace(ann, email=ann.email.upper()))
    await house.verbs.put_user(house.as_("sue"), replace(twin, tenant_id=house.other.id))
    assert len(house.given.orders) == 2


@pytest.mark.parametrize("id_", ["x", "auth0|bob", "0189-", "\x00", "\ud800", "a" * 300])
async def test_no_user_is_made_under_another_kind_of_id(house: House, id_: str) -> None:
    """What could not be an id of ours is as what does not exist, for every verb."""
    sue, user_id = house.as_("sue"), UserId(id_)
    await refused(
        ErrorCode.NOT_FOUND, house.verbs.put_user(sue, replace(a_user(house.acme, "bob"), id=user_id))
    )
    await refused(ErrorCode.NOT_FOUND, house.verbs.deactivate(sue, user_id))
    await refused(ErrorCode.NOT_FOUND, house.verbs.disconnect(sue, user_id))
    await refused(ErrorCode.NOT_FOUND, house.verbs.revoke_tokens_of(sue, user_id, None))


async def test_a_user_is_of_a_tenant_that_exists(house: House) -> None:
    """NOT_FOUND, and no user is made."""
    homeless = replace(a_user(house.acme, "bob"), tenant_id=TenantId(new_id()))
    await refused(ErrorCode.NOT_FOUND, house.verbs.put_user(house.as_("sue"), homeless))


async def test_no_admin_touches_a_super_admin(house: House) -> None:
    """Contract, section 11: "can't make or touch a SUPER_ADMIN"."""
    amy, sue, ann = house.as_("amy"), house.people["sue"], house.people["ann"]
    for verb in (
        house.verbs.put_user(amy, replace(sue, role=Role.USER)),
        house.verbs.put_user(amy, replace(ann, role=Role.SUPER_ADMIN)),
        house.verbs.put_user(amy, a_user(house.acme, "new", Role.SUPER_ADMIN)),
        house.verbs.deactivate(amy, sue.id),
        house.verbs.disconnect(amy, sue.id),
        house.verbs.revoke_tokens_of(amy, sue.id, None),
    ):
        await refused(ErrorCode.FORBIDDEN, verb)
    assert (house.given.orders, house.given.told) == ([], 0)
    assert await house.stored(sue.id) == sue


async def test_another_tenants_user_is_out_of_sight(house: House) -> None:
    """ "A user or tenant one can't see is 404"; that there is one is for the log alone."""
    amy, eve = house.as_("amy"), house.people["eve"]
    for verb in (
        house.verbs.put_user(amy, replace(eve, tenant_id=house.acme.id)),
        house.verbs.deactivate(amy, eve.id),
        house.verbs.disconnect(amy, eve.id),
        house.verbs.revoke_tokens_of(amy, eve.id, None),
    ):
        with pytest.raises(OutOfSight) as caught:
            await verb
        assert (caught.value.code, caught.value.message) == (ErrorCode.NOT_FOUND, "Not found")
    assert await house.stored(eve.id) == eve
    await house.verbs.deactivate(house.as_("sue"), eve.id)


async def test_a_user_may_nothing(house: House) -> None:
    """FORBIDDEN everywhere, whomever it concerns."""
    ann, own = house.as_("ann"), house.people["ann"]
    for verb in (
        house.verbs.put_user(ann, own),
        house.verbs.deactivate(ann, own.id),
        house.verbs.disconnect(ann, UserId(new_id())),
        house.verbs.revoke_token(ann, "jti"),
        house.verbs.revoke_tokens_of(ann, own.id, None),
        house.verbs.security_events(ann, Filter(), None, cursor=None, limit=1),
    ):
        await refused(ErrorCode.FORBIDDEN, verb)


async def test_deactivated_once(house: House) -> None:
    """Another time changes nothing and orders nothing."""
    ann = house.people["ann"]
    for _ in range(2):
        assert await house.verbs.deactivate(house.as_("amy"), ann.id) == replace(ann, active=False)
    assert not (await house.stored(ann.id)).active
    assert house.given.orders == [Order(OrderKind.PERSON, house.acme.id, ann.id)]


async def test_disconnected_every_time(house: House) -> None:
    """Each one is ordered, since the user may have come back."""
    for _ in range(2):
        await house.verbs.disconnect(house.as_("amy"), house.people["ann"].id)
    assert house.given.kinds() == [OrderKind.DISCONNECT] * 2


async def test_nodes_are_drained_by_super_admins(house: House) -> None:
    """ "tenants, nodes and metrics are the SUPER_ADMIN's"; each one is ordered, and told of at once."""
    for name in ("ann", "amy"):
        await refused(ErrorCode.FORBIDDEN, house.verbs.drain_node(house.as_(name), "node-1"))
    assert house.given.orders == []
    for _ in range(2):
        await house.verbs.drain_node(house.as_("sue"), "node-1")
    assert house.given.orders == [Order(OrderKind.DRAIN, node_id="node-1")] * 2
    assert house.given.told == 2


async def test_a_token_is_revoked_within_sight(house: House) -> None:
    """Of an ADMIN for the own tenant, of a SUPER_ADMIN for all."""
    await house.verbs.revoke_token(house.as_("amy"), "one")
    await house.verbs.revoke_token(house.as_("sue"), "two")
    async with house.database.read() as tx:
        live = await revocations.live(tx, datetime.now(UTC))
    assert [(each.token_id, each.tenant_id) for each in live] == [("one", house.acme.id), ("two", None)]
    assert house.given.kinds() == [OrderKind.TOKENS] * 2


async def test_all_tokens_of_a_user_up_to_now(house: House) -> None:
    """``iat`` is in whole seconds: one that was issued this very second is revoked too."""
    before = datetime.now(UTC)
    await house.verbs.revoke_tokens_of(house.as_("amy"), house.people["ann"].id, None)
    await house.verbs.revoke_tokens_of(house.as_("amy"), house.people["amy"].id, after(5))
    async with house.database.read() as tx:
        now, given = await revocations.live(tx, datetime.now(UTC))
    assert now.issued_before is not None
    assert now.issued_before.timestamp() > int(before.timestamp())
    assert (given.issued_before, given.user_id) == (after(5), house.people["amy"].id)


async def test_the_log_within_sight(house: House) -> None:
    """Contract, section 11: "An ADMIN acts on the users, tokens and security events of the own tenant"."""
    kinds = (house.acme.id, house.other.id, None)
    kept = [
        SecurityEvent(SecurityEventType.ORIGIN_REJECTED, START, "r", "n", tenant_id=tenant_id)
        for tenant_id in kinds
    ]
    async with house.database.write() as tx:
        await audit.insert(tx, kept)

    async def read(name: str, tenant_id: TenantId | None = None) -> list[SecurityEvent]:
        page = await house.verbs.security_events(house.as_(name), Filter(), tenant_id, cursor=None, limit=10)
        return list(page.items)

    assert await read("amy") == await read("amy", house.acme.id) == kept[:1]
    assert await read("sue") == kept[::-1]
    assert await read("sue", house.other.id) == kept[1:2]
    with pytest.raises(TidingsError) as caught:
        await read("amy", house.other.id)
    assert caught.value.code is ErrorCode.NOT_FOUND


async def refused(code: ErrorCode, verb: Awaitable[object]) -> None:
    with pytest.raises(TidingsError) as caught:
        await verb
    assert caught.value.code is code
