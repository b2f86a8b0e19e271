"""From claims to principals: who is let in, how many loads it costs, and what is never served stale."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest

from tests.support.identity_rig import NOW, HandClock, account, claims, tenant_id, user_id
from tidings.domain.people import Principal, Role, Tenant, TenantStatus, User, UserId
from tidings.identity import directory as directory_file
from tidings.identity.directory import Directory
from tidings.identity.rejection import Reason, UserRejected
from tidings.identity.tokens import Claims


class People:
    """A database of people: its loads are counted, and may be held up."""

    def __init__(self, *accounts: tuple[User, Tenant]) -> None:
        self.accounts = {person[0].id: person for person in accounts}
        self.loads: list[list[UserId]] = []
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self, ids: Collection[UserId]) -> Mapping[UserId, tuple[User, Tenant]]:
        self.loads.append(list(ids))
        read = {id_: self.accounts[id_] for id_ in ids if id_ in self.accounts}
        self.begun.set()
        await self.gate.wait()
        return read

    def put(self, person: tuple[User, Tenant]) -> None:
        self.accounts[person[0].id] = person


async def rejection(directory: Directory, said: Claims) -> Reason:
    with pytest.raises(UserRejected) as caught:
        await directory.principal(said)
    return caught.value.reason


async def test_tenant_and_role_come_from_the_database() -> None:
    """Contract: "tenant and role come from there, never from the token"."""
    directory = Directory(People(account(1)).load)
    principal = await directory.principal(claims(1, tenant="other", role="SUPER_ADMIN"))
    assert principal == Principal(
        user_id(1), tenant_id(1), Role.USER, "u1@example.com", None, NOW + 3600, NOW, "jti-1"
    )


@pytest.mark.parametrize(
    ("person", "reason"),
    [
        (account(2), Reason.UNKNOWN_USER),
        (account(1, active=False), Reason.INACTIVE_USER),
        (account(1, status=TenantStatus.SUSPENDED), Reason.TENANT_SUSPENDED),
    ],
)
async def test_who_may_not_come_in(person: tuple[User, Tenant], reason: Reason) -> None:
    """Contract: "the user must exist and be active in the database"; "A suspended tenant's users are 401"."""
    assert await rejection(Directory(People(person).load), claims(1)) is reason


@pytest.mark.parametrize("subject", ["x", "1", "", "01890000-0000-4000-8000-000000000001", "' or 1=1"])
async def test_a_subject_that_is_no_id_costs_no_load(subject: str) -> None:
    """``sub`` is the user's id, so anything else is nobody."""
    people = People()
    assert await rejection(Directory(people.load), Claims(UserId(subject), NOW)) is Reason.MALFORMED_SUBJECT
    assert people.loads == []


async def test_a_handshake_storm_costs_a_handful_of_loads() -> None:
    """1,000 users at once: a load for those who came first, then batches of at most 500."""
    people = People(*(account(number) for number in range(1000)))
    directory = Directory(people.load)
    principals = await asyncio.gather(*(directory.principal(claims(number)) for number in range(1000)))
    assert [principal.user_id for principal in principals] == [user_id(number) for number in range(1000)]
    assert [len(load) for load in people.loads] == [500, 500]


async def test_a_user_is_known_for_a_short_time() -> None:
    """Within the ttl nothing is loaded again, after it everything is."""
    clock, people = HandClock(), People(account(1))
    directory = Directory(people.load, ttl=5, clock=clock)
    await directory.principal(claims(1))
    clock.now += 4.9
    await directory.principal(claims(1))
    assert len(people.loads) == 1
    clock.now += 0.1
    await directory.principal(claims(1))
    assert len(people.loads) == 2


async def test_a_load_that_outlasts_the_ttl_is_still_an_answer() -> None:
    """A slow database does not make the directory ask for ever."""
    people = People(account(1))
    directory = Directory(people.load, ttl=0)
    await directory.principal(claims(1))
    assert len(people.loads) == 1


async def test_an_unknown_user_is_asked_about_each_time() -> None:
    """Who is made a moment later may come in at once."""
    people = People()
    directory = Directory(people.load)
    assert await rejection(directory, claims(1)) is Reason.UNKNOWN_USER
    people.put(account(1))
    assert (await directory.principal(claims(1))).user_id == user_id(1)


async def test_forgetting_a_user_or_tenant_is_seen_at_once() -> None:
    """Deactivation and "tenant suspension" are in force with the next look-up."""
    people = People(account(1), account(2))
    directory = Directory(people.load)
    await asyncio.gather(directory.principal(claims(1)), directory.principal(claims(2)))
    people.put(account(1, active=False))
    directory.forget(user_id(1))
    assert await rejection(directory, claims(1)) is Reason.INACTIVE_USER
    people.put(account(2, status=TenantStatus.SUSPENDED))
    assert (await directory.principal(claims(2))).user_id == user_id(2)
    directory.forget_tenant(tenant_id(1))
    assert await rejection(directory, claims(2)) is Reason.TENANT_SUSPENDED


@pytest.mark.parametrize("by_tenant", [True, False])
async def test_what_changes_during_a_load_is_loaded_again(*, by_tenant: bool) -> None:
    """A user who is deactivated between the read and its answer does not slip in."""
    people = People(account(1))
    people.gate.clear()
    directory = Directory(people.load)
    entering = asyncio.create_task(directory.principal(claims(1)))
    await people.begun.wait()
    people.put(account(1, active=False))
    if by_tenant:
        directory.forget_tenant(tenant_id(1))
    else:
        directory.forget(user_id(1))
    people.gate.set()
    with pytest.raises(UserRejected, match="inactive_user"):
        await entering


async def test_forgetting_others_costs_nothing() -> None:
    """A change of somebody else is no reason to load again."""
    people = People(account(1))
    directory = Directory(people.load)
    await directory.principal(claims(1))
    directory.forget(user_id(2))
    directory.forget_tenant(tenant_id(2))
    await directory.principal(claims(1))
    assert len(people.loads) == 1


async def test_too_much_forgetting_forgets_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The notes of what was forgotten are bounded; throwing them away never brings back a stale answer."""
    monkeypatch.setattr(directory_file, "REMEMBERED_USERS", 3)
    people = People(account(1))
    directory = Directory(people.load)
    await directory.principal(claims(1))
    people.put(account(1, active=False))
    for number in (1, 2, 3, 4):
        directory.forget(user_id(number))
    assert await rejection(directory, claims(1)) is Reason.INACTIVE_USER
    assert len(directory._forgotten) <= 3


async def test_a_failing_load_says_nothing_about_the_user() -> None:
    """An outage is not a rejection, and is not remembered."""
    people = People(account(1))
    outage = [OSError("gone")]

    async def load(ids: Collection[UserId]) -> Mapping[UserId, tuple[User, Tenant]]:
        if outage:
            raise outage.pop()
        return await people.load(ids)

    directory = Directory(load)
    with pytest.raises(OSError, match="gone"):
        await directory.principal(claims(1))
    assert (await directory.principal(claims(1))).user_id == user_id(1)


class Issuer:
    """Provisions whoever is claimed, into the first tenant, with the role claimed."""

    def __init__(self) -> None:
        self.seen: list[Claims] = []
        self.person = account(1)

    async def provision(self, said: Claims) -> tuple[User, Tenant]:
        self.seen.append(said)
        user, tenant = self.person
        return replace(user, id=said.subject, role=Role(said.role or Role.USER)), tenant


async def nobody(ids: Collection[UserId]) -> Mapping[UserId, tuple[User, Tenant]]:
    pytest.fail(f"loaded {len(ids)} users although the token tells")


async def test_a_trusted_issuers_claims_are_used() -> None:
    """Contract: "a trusted issuer's `tenant` and `role` claims are used", and once is enough for a while."""
    issuer = Issuer()
    directory = Directory(nobody, provision=issuer.provision)
    said = claims(1, tenant="acme", role="ADMIN")
    assert (await directory.principal(said)).role is Role.ADMIN
    assert (await directory.principal(said)).role is Role.ADMIN
    assert issuer.seen == [said]


async def test_other_claims_of_the_same_user_are_provisioned_anew() -> None:
    """A changed role counts from the first token that says so; none at all is the least."""
    issuer = Issuer()
    directory = Directory(nobody, provision=issuer.provision)
    for role, expected in (("ADMIN", Role.ADMIN), (None, Role.USER), ("SUPER_ADMIN", Role.SUPER_ADMIN)):
        assert (await directory.principal(claims(1, tenant="acme", role=role))).role is expected
    assert len(issuer.seen) == 3


@pytest.mark.parametrize(
    ("subject", "tenant", "role", "reason"),
    [
        ("u", None, "USER", Reason.BAD_TENANT),
        ("u", "", "USER", Reason.BAD_TENANT),
        ("u", "a/b", "USER", Reason.BAD_TENANT),
        ("u", "-a", "USER", Reason.BAD_TENANT),
        ("u", "a" * 65, "USER", Reason.BAD_TENANT),
        ("u", '["acme"]', "USER", Reason.BAD_TENANT),
        ("u", "acme", "user", Reason.BAD_ROLE),
        ("u", "acme", "", Reason.BAD_ROLE),
        ("u", "acme", "ROOT", Reason.BAD_ROLE),
        ("u", "acme", '["ADMIN"]', Reason.BAD_ROLE),
        ("a b", "acme", "USER", Reason.MALFORMED_SUBJECT),
        ("a/b", "acme", "USER", Reason.MALFORMED_SUBJECT),
        ("u" * 129, "acme", "USER", Reason.MALFORMED_SUBJECT),
        ("ü", "acme", "USER", Reason.MALFORMED_SUBJECT),
    ],
)
async def test_claims_that_make_no_sense_are_refused(
    subject: str, tenant: str | None, role: str | None, reason: Reason
) -> None:
    """Even a trusted issuer names a tenant, a role there is, and a subject that fits a key."""
    issuer = Issuer()
    directory = Directory(nobody, provision=issuer.provision)
    said = Claims(UserId(subject), NOW, tenant=tenant, role=role)
    assert await rejection(directory, said) is reason
    assert issuer.seen == []


@pytest.mark.parametrize("subject", ["auth0|5f7c", "42", "someone@example.com", user_id(1)])
async def test_an_issuer_names_its_users_as_it_likes(subject: str) -> None:
    """A foreign issuer's ``sub`` is no UUIDv7."""
    directory = Directory(nobody, provision=Issuer().provision)
    assert (await directory.principal(Claims(UserId(subject), NOW, tenant="acme"))).user_id == subject


async def test_a_provisioned_user_may_still_be_shut_out() -> None:
    """Deactivation and suspension hold in both modes."""
    issuer = Issuer()
    issuer.person = account(1, active=False)
    directory = Directory(nobody, provision=issuer.provision)
    assert await rejection(directory, claims(1, tenant="acme")) is Reason.INACTIVE_USER
    issuer.person = account(1, status=TenantStatus.SUSPENDED)
    directory.forget(user_id(1))
    assert await rejection(directory, claims(1, tenant="acme")) is Reason.TENANT_SUSPENDED


async def test_closing_gives_up_what_is_under_way() -> None:
    """Nobody is left waiting for a load that was given up."""
    people = People(account(1))
    people.gate.clear()
    directory = Directory(people.load)
    entering = asyncio.create_task(directory.principal(claims(1)))
    await people.begun.wait()
    await directory.close()
    with pytest.raises(Exception, match="given up"):
        await entering


async def test_confirming_costs_nothing_when_nothing_was_forgotten() -> None:
    """Every connection asks again when it has joined."""
    people = People(account(1))
    directory = Directory(people.load)
    principal = await directory.principal(claims(1))
    assert await directory.confirm(principal) == principal
    assert len(people.loads) == 1


@pytest.mark.parametrize(
    ("person", "reason"),
    [
        (None, Reason.UNKNOWN_USER),
        (account(1, active=False), Reason.INACTIVE_USER),
        (account(1, status=TenantStatus.SUSPENDED), Reason.TENANT_SUSPENDED),
        ((account(1)[0], replace(account(1)[1], id=tenant_id(2))), Reason.MOVED_TENANT),
    ],
)
async def test_who_may_not_stay(person: tuple[User, Tenant] | None, reason: Reason) -> None:
    """What was changed between the authentication and the join counts."""
    people = People(account(1))
    directory = Directory(people.load)
    principal = await directory.principal(claims(1))
    people.accounts.clear()
    if person is not None:
        people.put(person)
    directory.forget(user_id(1))
    with pytest.raises(UserRejected) as caught:
        await directory.confirm(principal)
    assert caught.value.reason is reason


async def test_confirming_is_never_older_than_what_was_forgotten_meanwhile() -> None:
    """A change that comes while the user is looked up is seen, as when one is authenticated."""
    people = People(account(1))
    directory = Directory(people.load)
    principal = await directory.principal(claims(1))
    directory.forget_all()
    people.begun.clear()
    people.gate.clear()
    confirming = asyncio.create_task(directory.confirm(principal))
    await people.begun.wait()
    people.put(account(1, role=Role.ADMIN))
    directory.forget(user_id(1))
    people.gate.set()
    assert (await confirming).role is Role.ADMIN


async def test_forgetting_all() -> None:
    """Everybody is looked up anew, once."""
    people = People(account(1), account(2))
    directory = Directory(people.load)
    for _ in range(2):
        for number in (1, 2):
            await directory.principal(claims(number))
    directory.forget_all()
    for number in (1, 2, 1, 2):
        await directory.principal(claims(number))
    assert [len(load) for load in people.loads] == [1, 1, 1, 1]
