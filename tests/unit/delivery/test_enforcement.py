"""What orders do at one node: on a real database and hub, with wires that write down how they are ended."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from tests.support.sessions import Sessions
from tests.support.store_rig import migrated, settle
from tidings.delivery.audit import SecurityLog
from tidings.delivery.authenticate import Authenticator, claims_of
from tidings.delivery.enforcement import Enforcement, Unattended
from tidings.delivery.revocations import Revocations
from tidings.domain.audit import Peer, SecurityEvent
from tidings.domain.clock import milliseconds
from tidings.domain.errors import CloseReason, ErrorCode, TidingsError
from tidings.domain.ids import new_id
from tidings.domain.order import Order, OrderKind
from tidings.domain.people import Principal, Role, Tenant, TenantStatus, User, UserId
from tidings.identity.directory import Directory
from tidings.identity.keys import SecretKeySource
from tidings.identity.tokens import TokenVerifier
from tidings.jobs.queue import utc_now
from tidings.store import revocations, tenants, users
from tidings.store.database import Database
from tidings.store.revocations import Revocation

NODE = "node-1"
ISSUED, EXPIRES = 1000.0, 4_000_000_000.0


@dataclass
class House:
    """One node, and two users of one tenant."""

    database: Database
    acme: Tenant
    ann: User
    bob: User
    sessions: Sessions = field(default_factory=Sessions)
    events: list[SecurityEvent] = field(default_factory=list)
    drained: int = 0

    def __post_init__(self) -> None:
        self.directory = Directory(self._load)
        known = Revocations(self.database)
        self.audit = SecurityLog(NODE, self._store, sink=lambda _: None)
        keys = SecretKeySource("no token is verified here, only looked at")
        verifier = TokenVerifier(keys, algorithm="HS256", revoked=known.revoked)
        self.authenticator = Authenticator(verifier, self.directory, self.audit)
        self.enforcement = Enforcement(
            NODE, self.database, self.sessions.hub, self.directory, known, self.audit, self._drain
        )

    async def order(self, *given: Order) -> None:
        await self.enforcement.carry_out(given)

    async def change(self, user: User) -> None:
        async with self.database.write() as tx:
            assert await users.change(tx, self.acme.id, user)

    async def suspend(self) -> None:
        async with self.database.write() as tx:
            await tenants.change(tx, self.acme.id, status=TenantStatus.SUSPENDED)

    async def revoke(self, user: User) -> None:
        now = milliseconds(utc_now())
        async with self.database.write() as tx:
            await revocations.put(
                tx, Revocation(new_id(), user.tenant_id, None, user.id, now, now + timedelta(days=1))
            )

    async def _load(self, ids: Collection[UserId]) -> Mapping[UserId, tuple[User, Tenant]]:
        async with self.database.read() as tx:
            return await users.by_ids(tx, ids)

    async def _store(self, events: Sequence[SecurityEvent]) -> None:
        self.events.extend(events)

    def _drain(self) -> None:
        self.drained += 1


def principal(user: User) -> Principal:
    return Principal(user.id, user.tenant_id, user.role, user.email, user.name, EXPIRES, ISSUED, "jti")


def person(user: User) -> Order:
    return Order(OrderKind.PERSON, user.tenant_id, user.id)


@pytest.fixture
async def house(sqlite_url: str) -> AsyncIterator[House]:
    async with migrated(sqlite_url) as database:
        acme, (ann, bob) = await settle(database, "acme", "ann", "bob")
        made = House(database, acme, ann, bob)
        yield made
        await made.directory.close()


async def test_disconnect(house: House) -> None:
    """ "``disconnect`` ends sockets and streams", all of that user's and nobody else's."""
    _, one = await house.sessions.join(principal(house.ann))
    _, two = await house.sessions.join(principal(house.ann))
    _, other = await house.sessions.join(principal(house.bob))
    await house.order(Order(OrderKind.DISCONNECT, house.acme.id, house.ann.id))
    assert one.closed == two.closed == [CloseReason.DISCONNECTED]
    assert other.closed == []


async def test_change_of_role(house: House) -> None:
    """ "A change of role re-derives the rooms of live connections within 1 s; they live on"."""
    session, wire = await house.sessions.join(principal(house.ann))
    await house.change(replace(house.ann, role=Role.ADMIN, name="Ann the Admin"))
    await house.order(person(house.ann))
    assert wire.closed == []
    assert session.principal == replace(principal(house.ann), role=Role.ADMIN, name="Ann the Admin")
    await house.audit.flush()
    assert [(line.event, line.user_id, line.reason) for line in house.events] == [
        ("ROOM_JOIN", house.ann.id, f"user:{house.ann.id} tenant:{house.acme.id}")
    ]


async def test_deactivation(house: House) -> None:
    """ "Deactivation ... end live connections"; and who comes again is refused, whatever was known before."""
    _, wire = await house.sessions.join(principal(house.ann))
    claims = claims_of(principal(house.ann))
    await house.directory.principal(claims)
    await house.change(replace(house.ann, active=False))
    await house.order(person(house.ann))
    assert wire.closed == [CloseReason.ACCOUNT_CLOSED]
    with pytest.raises(Exception, match="inactive_user"):
        await house.directory.principal(claims)


async def test_move_to_another_tenant(house: House) -> None:
    """Who is of another tenant now has to come in anew: all channels are others."""
    _, wire = await house.sessions.join(principal(house.ann))
    other, _ = await settle(house.database, "globex", "eve")
    await house.change(replace(house.ann, tenant_id=other.id))
    await house.order(person(house.ann))
    assert wire.closed == [CloseReason.ACCOUNT_CLOSED]


async def test_suspension(house: House) -> None:
    """ "Tenant suspension end live connections", of all its users and of nobody else."""
    globex, (eve,) = await settle(house.database, "globex", "eve")
    _, stranger = await house.sessions.join(principal(eve))
    wires = [(await house.sessions.join(principal(user)))[1] for user in (house.ann, house.bob)]
    await house.suspend()
    await house.order(Order(OrderKind.TENANT, tenant_id=house.acme.id), Order(OrderKind.TENANT, globex.id))
    assert [wire.closed for wire in wires] == [[CloseReason.ACCOUNT_CLOSED]] * 2
    assert stranger.closed == []


async def test_revocation(house: House) -> None:
    """ "Revocation ... end live connections": those that live by such a token."""
    _, wire = await house.sessions.join(principal(house.ann))
    _, newer = await house.sessions.join(replace(principal(house.ann), issued_at=EXPIRES - 1))
    await house.revoke(house.ann)
    await house.order(Order(OrderKind.TOKENS))
    assert wire.closed == [CloseReason.REVOKED]
    assert newer.closed == []


async def test_drain(house: House) -> None:
    """A node drains when it is named, and no other."""
    await house.order(Order(OrderKind.DRAIN, node_id="node-2"))
    assert house.drained == 0
    await house.order(Order(OrderKind.DRAIN, node_id=NODE), Order(OrderKind.DRAIN, node_id="node-2"))
    assert house.drained == 1


async def test_drain_where_nobody_is_served() -> None:
    """A process that runs jobs and nothing else drains when it is named; nothing else concerns it."""
    drained: list[str] = []
    orders = Unattended(NODE, lambda: drained.append(NODE))
    await orders.carry_out([Order(OrderKind.DRAIN, node_id="node-2"), Order(OrderKind.TOKENS)])
    await orders.review()
    assert drained == []
    await orders.carry_out([Order(OrderKind.TOKENS), Order(OrderKind.DRAIN, node_id=NODE)])
    assert drained == [NODE]


async def test_review(house: House) -> None:
    """After a time in which orders may have been missed, everything is as if none had been."""
    session, _ = await house.sessions.join(principal(house.ann))
    _, gone = await house.sessions.join(principal(house.bob))
    await house.directory.principal(claims_of(principal(house.bob)))
    await house.change(replace(house.ann, role=Role.ADMIN))
    await house.change(replace(house.bob, active=False))
    await house.enforcement.review()
    assert session.principal.role is Role.ADMIN
    assert gone.closed == [CloseReason.ACCOUNT_CLOSED]
    with pytest.raises(Exception, match="inactive_user"):
        await house.directory.principal(claims_of(principal(house.bob)))


@pytest.mark.parametrize("what", ["deactivated", "suspended", "revoked"])
async def test_what_is_ordered_between_authentication_and_join(house: House, what: str) -> None:
    """Who is authenticated before the order and joins after it is not found by it, and asks again."""
    entering = await house.directory.principal(claims_of(principal(house.ann)))
    if what == "deactivated":
        await house.change(replace(house.ann, active=False))
    elif what == "suspended":
        await house.suspend()
    else:
        await house.revoke(house.ann)
    await house.order(person(house.ann), Order(OrderKind.TENANT, house.acme.id), Order(OrderKind.TOKENS))
    _, wire = await house.sessions.join(entering)
    assert wire.closed == []
    with pytest.raises(TidingsError) as refused:
        await house.authenticator.confirm(entering, Peer())
    assert refused.value.code is ErrorCode.UNAUTHENTICATED


async def test_a_role_that_changes_between_authentication_and_join(house: House) -> None:
    """Likewise the role; and nobody is asked when nothing has been ordered."""
    entering = await house.directory.principal(claims_of(principal(house.ann)))
    await house.change(replace(house.ann, role=Role.ADMIN))
    assert await house.authenticator.confirm(entering, Peer()) == entering
    await house.order(person(house.ann))
    now = await house.authenticator.confirm(entering, Peer())
    assert now == replace(entering, role=Role.ADMIN)
