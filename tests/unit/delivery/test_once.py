"""Doing a thing once, also when it is asked for twice at the same time."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support import tables
from tests.support.store_rig import a_tenant, a_user
from tidings.delivery.once import Asked, Statements, once
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.people import Principal
from tidings.store import tenants, users
from tidings.store.database import Database


class Desk:
    def __init__(self, database: Database, principal: Principal) -> None:
        self.database = database
        self.principal = principal
        self.done = 0

    async def act(self, tx: Statements) -> tuple[int, bytes]:
        self.done += 1
        return 201, b"answer %d" % self.done

    async def ask(self, key: str | None, body: bytes = b"{}", route: str = "/x") -> tuple[int, bytes]:
        return await once(self.database, Asked(self.principal, route, key, body), self.act)


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    await tables.lay(database_url)
    async with Database(database_url) as database:
        tenant = a_tenant()
        user = a_user(tenant)
        async with database.write() as tx:
            await tenants.insert(tx, tenant)
            await users.insert(tx, user)
        yield Desk(database, Principal(user.id, tenant.id, user.role, user.email, None, 0.0))


async def test_the_same_key_and_body_answers_the_first_result_again(desk: Desk) -> None:
    """Contract, section 6: "the same key and body answers the first result again"."""
    assert await desk.ask("k") == await desk.ask("k") == (201, b"answer 1")
    assert desk.done == 1


async def test_another_body_is_a_conflict(desk: Desk) -> None:
    """Contract, section 6: "the same key with another body 409"."""
    await desk.ask("k")
    with pytest.raises(TidingsError) as caught:
        await desk.ask("k", b'{"a":1}')
    assert caught.value.code is ErrorCode.CONFLICT


async def test_keys_are_scoped_to_the_route(desk: Desk) -> None:
    """Contract, section 11: "Idempotency keys are scoped to user and route"."""
    assert await desk.ask("k", route="/x") != await desk.ask("k", route="/y")


async def test_without_a_key_everything_is_done(desk: Desk) -> None:
    """Nobody asked for anything else."""
    await desk.ask(None)
    await desk.ask(None)
    assert desk.done == 2


async def test_at_the_same_time_all_get_the_one_answer(desk: Desk) -> None:
    """Whoever loses the race rolls back and is answered with what the winner did."""
    answers = await asyncio.gather(*(desk.ask("k") for _ in range(8)))
    assert len(set(answers)) == 1


async def test_what_failed_is_not_remembered(desk: Desk) -> None:
    """A repeated request after an error is a new attempt."""

    async def fail(tx: Statements) -> tuple[int, bytes]:
        raise TidingsError(ErrorCode.NOT_FOUND)

    with pytest.raises(TidingsError):
        await once(desk.database, Asked(desk.principal, "/x", "k", b"{}"), fail)
    assert (await desk.ask("k"))[0] == 201
