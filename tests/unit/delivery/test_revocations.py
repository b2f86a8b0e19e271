"""Which tokens are revoked, as a process knows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.support import tables
from tests.support.identity_rig import NOW, claims, principal, tenant_id, user_id
from tests.support.store_rig import a_tenant
from tidings.delivery.authenticate import claims_of
from tidings.delivery.revocations import Revocations
from tidings.domain.ids import new_id
from tidings.domain.people import Role, Tenant, TenantId
from tidings.store import revocations, tenants
from tidings.store.database import Database
from tidings.store.revocations import Revocation


@pytest.fixture
async def database(sqlite_url: str) -> Database:
    await tables.lay(sqlite_url)
    made = Database(sqlite_url)
    async with made.write() as tx:
        for number in (1, 2):
            await tenants.insert(tx, _tenant(number))
    return made


def _tenant(number: int) -> Tenant:
    return replace(a_tenant(f"t{number}"), id=tenant_id(number))


async def revoke(
    database: Database,
    tenant: TenantId | None,
    *,
    token_id: str | None = None,
    user: int | None = None,
    before: float = NOW,
) -> Revocations:
    """What a process knows after that."""
    concerned = None if user is None else user_id(user)
    moment = None if user is None else datetime.fromtimestamp(before, UTC)
    until = datetime.now(UTC) + timedelta(hours=1)
    async with database, database.write() as tx:
        await revocations.put(tx, Revocation(new_id(), tenant, token_id, concerned, moment, until))
    known = Revocations(database)
    assert await known.load()
    assert not await known.load()
    return known


async def test_a_super_admins_word_is_everybodys(database: Database) -> None:
    """Whatever tenant and role the token is of; another token is not concerned."""
    known = await revoke(database, None, token_id="jti-1")
    for role in Role:
        assert known.ends(replace(principal(role), token_id="jti-1"))
    assert known.revoked(claims(1))
    assert not known.revoked(claims(2))
    assert not known.revoked(replace(claims(1), token_id=None))


async def test_an_admins_word_ends_at_the_tenant(database: Database) -> None:
    """Contract, section 11: "An ADMIN acts on the [...] tokens [...] of the own tenant"."""
    known = await revoke(database, tenant_id(1), token_id="jti-1")
    user = replace(principal(Role.USER), token_id="jti-1")
    assert known.ends(user)
    assert known.revoked(claims_of(user))
    other = replace(user, tenant_id=tenant_id(2))
    assert not known.ends(other)
    assert not known.revoked(claims_of(other))


async def test_a_promotion_brings_no_token_back(database: Database) -> None:
    """What an ADMIN has revoked stays so, whatever its user becomes: a SUPER_ADMIN even."""
    known = await revoke(database, tenant_id(1), token_id="jti-1")
    for role in Role:
        user = replace(principal(role), token_id="jti-1")
        assert known.ends(user)
        assert known.revoked(claims_of(user))


async def test_the_news_are_learnt_and_the_rest_is_kept(database: Database) -> None:
    """What has gone from the table is known until all is read again."""
    known = await revoke(database, None, token_id="jti-1")
    later = Revocation(new_id(), tenant_id(1), "jti-2", None, None, datetime.now(UTC) + timedelta(seconds=60))
    async with database, database.write() as tx:
        assert await revocations.purge(tx, datetime.now(UTC) + timedelta(days=1), 10) == 1
        await revocations.put(tx, later)
    assert await known.load()
    assert known.revoked(claims(1))
    assert known.ends(replace(principal(Role.USER), token_id="jti-2"))
    assert await known.load(whole=True)
    assert not known.revoked(claims(1))
    assert known.ends(replace(principal(Role.USER), token_id="jti-2"))


async def test_all_are_read_however_many(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page at a time."""
    monkeypatch.setattr(revocations.live, "__kwdefaults__", {"after": "", "limit": 2})
    for number in range(1, 6):
        known = await revoke(database, None, token_id=f"jti-{number}")
    assert all(known.revoked(claims(number)) for number in range(1, 6))


async def test_one_tenants_word_does_not_take_the_place_of_anothers(database: Database) -> None:
    """Both have revoked a token of the same name."""
    await revoke(database, tenant_id(1), token_id="jti-1")
    known = await revoke(database, tenant_id(2), token_id="jti-1")
    user = replace(principal(Role.USER), token_id="jti-1")
    assert known.ends(user)
    assert known.ends(replace(user, tenant_id=tenant_id(2)))


async def test_a_users_tokens_up_to_a_moment(database: Database) -> None:
    """Those issued before it, and those that do not say when; the latest moment counts."""
    await revoke(database, tenant_id(1), user=1, before=NOW + 2)
    known = await revoke(database, tenant_id(1), user=1, before=NOW + 1)
    assert known.revoked(claims(1))
    assert known.revoked(replace(claims(1), issued_at=NOW + 1.5))
    assert known.revoked(replace(claims(1), issued_at=None))
    assert not known.revoked(replace(claims(1), issued_at=NOW + 2))
    assert not known.revoked(claims(2))
