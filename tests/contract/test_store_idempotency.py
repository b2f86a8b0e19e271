"""Idempotency keys, on both databases: "the same key and body answers the first result again ... kept 24 h"."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.support.store_rig import after, migrated, settle
from tidings.store import idempotency
from tidings.store.database import Database
from tidings.store.idempotency import Answer, Scope

ANSWER = Answer("hash", 201, b'{"id":"1"}\0\xff', after(60))


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as database:
        yield database


async def test_first_answer(db: Database) -> None:
    """The first answer is the one that stays, to the byte, until it expires."""
    acme, (ann,) = await settle(db)
    scope = Scope(acme.id, ann.id, "POST /jobs", "k")
    async with db.write() as tx:
        assert await idempotency.find(tx, scope, after(0)) is None
        assert await idempotency.remember(tx, scope, ANSWER, after(0))
        assert not await idempotency.remember(tx, scope, replace(ANSWER, status=202), after(1))
        assert await idempotency.find(tx, scope, after(59.999)) == ANSWER
        assert await idempotency.find(tx, scope, after(60)) is None
        second = replace(ANSWER, body_hash="other", expires_at=after(120))
        assert await idempotency.remember(tx, scope, second, after(60))
        assert await idempotency.find(tx, scope, after(61)) == second


async def test_scope(db: Database) -> None:
    """ "Idempotency keys are scoped to user and route"."""
    acme, (ann, bob) = await settle(db, "acme", "ann", "bob")
    globex, (eve,) = await settle(db, "globex", "eve")
    scope = Scope(acme.id, ann.id, "POST /jobs", "k")
    others = [
        replace(scope, user=bob.id),
        replace(scope, tenant=globex.id, user=eve.id),
        replace(scope, tenant=globex.id),
        replace(scope, route="POST /notifications"),
        replace(scope, key="K"),
    ]
    async with db.write() as tx:
        assert await idempotency.remember(tx, scope, ANSWER, after(0))
        assert [await idempotency.find(tx, other, after(1)) for other in others] == [None] * len(others)
        assert await idempotency.remember(tx, others[0], ANSWER, after(1))


async def test_at_once(db: Database) -> None:
    """Of requests with one key at the same time, one is the first."""
    acme, (ann,) = await settle(db)
    scope = Scope(acme.id, ann.id, "POST /jobs", "k")

    async def request(number: int) -> bool:
        async with db.write() as tx:
            return await idempotency.remember(tx, scope, replace(ANSWER, body_hash=str(number)), after(0))

    first = await asyncio.gather(*(request(number) for number in range(8)))
    assert sum(first) == 1
    async with db.read() as tx:
        kept = await idempotency.find(tx, scope, after(1))
    assert kept is not None
    assert kept.body_hash == str(first.index(True))
