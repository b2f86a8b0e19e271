"""Finding who is meant at a terminal."""

from dataclasses import replace

import pytest

from tests.support.store_rig import migrated, settle
from tidings.cli.exits import Exit, Failure
from tidings.cli.people import find_tenant, find_user
from tidings.store import users


async def test_by_address_and_by_id(sqlite_url: str) -> None:
    """A user is found by id and by address, whatever its case."""
    async with migrated(sqlite_url) as database:
        _, (ann, _) = await settle(database, "acme", "ann", "bob")
        async with database.read() as tx:
            assert await find_user(tx, ann.email.upper(), None) == ann
            assert await find_user(tx, ann.id, None) == ann
            assert await find_user(tx, ann.id, "acme") == ann


async def test_unknown(sqlite_url: str) -> None:
    """Nobody, somebody of another tenant, and a tenant that is not there."""
    async with migrated(sqlite_url) as database:
        _, (ann,) = await settle(database, "acme")
        await settle(database, "other", "bob")
        async with database.read() as tx:
            for who, tenant in [
                ("x@y.example", None),
                ("no-id", None),
                (ann.id, "other"),
                (ann.email, "other"),
            ]:
                with pytest.raises(Failure) as caught:
                    await find_user(tx, who, tenant)
                assert caught.value.end is Exit.NO_USER
            with pytest.raises(Failure) as missing:
                await find_tenant(tx, "nowhere")
            assert missing.value.end is Exit.NOT_FOUND


async def test_an_address_of_several_tenants(sqlite_url: str) -> None:
    """An address that several tenants have asks for the tenant."""
    async with migrated(sqlite_url) as database:
        _, (ann,) = await settle(database, "acme")
        other, (bob,) = await settle(database, "other", "bob")
        async with database.write() as tx:
            assert await users.change(tx, other.id, replace(bob, email=ann.email))
        async with database.read() as tx:
            with pytest.raises(Failure, match="is a user of acme, other: name the tenant") as caught:
                await find_user(tx, ann.email, None)
            assert caught.value.end is Exit.NO_USER
            assert (await find_user(tx, ann.email, other.id)).id == bob.id
