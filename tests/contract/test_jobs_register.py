"""What one process knows of the kinds of others, on both databases: soon, and without asking each time."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import Connection, event

from tests.support.store_rig import after, migrated
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.job import EXTERNAL
from tidings.jobs.kinds import ATTEMPTS_KEYWORD, DEFAULT_ATTEMPTS, Registry
from tidings.jobs.register import FRESH_SECONDS, Register
from tidings.store import kinds
from tidings.store.database import Database

NUMBER = {"type": "object", "required": ["n"]}


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as database:
        yield database


async def known(db: Database, name: str, schema: dict[str, Any]) -> None:
    async with db.write() as tx:
        await kinds.register(tx, {name: schema}, after(0))


async def refused(db: Database, register: Register, name: str) -> ErrorCode | None:
    """What an empty payload for that kind is refused with."""
    async with db.read() as tx:
        try:
            await register.check(tx, name, {})
        except TidingsError as fault:
            return fault.code
    return None


async def test_a_kind_that_is_new(db: Database) -> None:
    """A kind is known as soon as a worker has registered it, with its attempts."""
    register = Register(Registry())
    assert await refused(db, register, "other") is ErrorCode.UNKNOWN_KIND
    await known(db, "other", {ATTEMPTS_KEYWORD: 7})
    assert await refused(db, register, "other") is None
    await known(db, "plain", {})
    async with db.read() as tx:
        assert await register.attempts(tx, "other") == 7
        assert await register.attempts(tx, "plain") == DEFAULT_ATTEMPTS


async def test_a_kind_that_changes(db: Database) -> None:
    """What a payload has to be is the latest worker's to say, after five seconds at most."""
    time = 0.0
    register = Register(Registry(), time=lambda: time)
    await known(db, "other", {})
    assert await refused(db, register, "other") is None
    await known(db, "other", NUMBER)
    assert await refused(db, register, "other") is None
    time = FRESH_SECONDS
    assert await refused(db, register, "other") is ErrorCode.VALIDATION_FAILED


async def test_not_asked_each_time(db: Database) -> None:
    """Payloads of one moment cost one query."""
    register = Register(Registry(), time=lambda: 0.0)
    await known(db, "other", {})
    async with db.read() as tx:
        sent: list[str] = []

        def note(_conn: Connection, _cursor: object, statement: str, *_: object) -> None:
            sent.append(statement)

        connection = tx.sync_connection
        assert connection is not None
        event.listen(connection, "before_cursor_execute", note)
        for _ in range(5):
            await register.check(tx, "other", {})
        event.remove(connection, "before_cursor_execute", note)
        assert len(sent) == 1


async def test_external(db: Database) -> None:
    """Nobody's worker runs an external job, so no payload is one for it."""
    assert await refused(db, Register(Registry()), EXTERNAL) is ErrorCode.UNKNOWN_KIND
