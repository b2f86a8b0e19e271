"""How both databases go about the queries that must not grow with what is stored: by index, never by reading all.

Each case runs for real; the statements it sent are then explained on the same connection.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.support.store_rig import a_job, a_notification, after, migrated, settle
from tidings.domain.audit import Filter, SecurityEventType
from tidings.domain.event import Event, EventClass
from tidings.domain.job import JobStatus, Rate
from tidings.domain.people import Tenant, User
from tidings.store import (
    audit,
    claims,
    family,
    jobs,
    lease,
    notifications,
    orders,
    receipts,
    starts,
    tickets,
    users,
)
from tidings.store.database import Database
from tidings.store.lease import Lease, Outcome
from tidings.store.tables import metadata

STARTED = Event("job:event", b"{}", EventClass.STATE)

Query = Callable[[AsyncConnection, Tenant, User], Awaitable[object]]

WHOLE_TABLE = re.compile(rf"Seq Scan on (\w+)|SCAN ({'|'.join(metadata.tables)})(?! USING)")

READ = text(
    "SELECT sum(pg_stat_get_xact_tuples_returned(indexrelid)) FROM pg_index WHERE indrelid = 'jobs'::regclass"
)
"""How many entries of the jobs' indexes this transaction has read."""

QUERIES: dict[str, Query] = {
    "inbox": lambda tx, t, u: notifications.inbox(tx, t.id, u.id, cursor="MDE", limit=50),
    "unread inbox": lambda tx, t, u: notifications.inbox(tx, t.id, u.id, cursor=None, limit=50, unread=True),
    "unread": lambda tx, t, u: notifications.unread(tx, [(t.id, u.id), (t.id, u.id)]),
    "mark read": lambda tx, t, u: receipts.mark_read(tx, t.id, u.id, ["a", "b"], after(1)),
    "mark all read": lambda tx, t, u: receipts.mark_all_read(tx, t.id, u.id, after(1)),
    "users of a storm": lambda tx, t, u: users.by_ids(tx, [u.id, u.id]),
    "user by address": lambda tx, t, u: users.by_email(tx, t.id, u.email),
    "page of jobs": lambda tx, t, u: jobs.page(tx, t.id, u.id, cursor="MDE", limit=50),
    "page of children": lambda tx, t, u: jobs.page(tx, t.id, u.id, cursor="MDE", limit=50, parent="x"),
    "cancel below": lambda tx, t, u: jobs.cancel_below(tx, t.id, "x", after(1)),
    "claim": lambda tx, t, u: claims.in_turn(tx, "w", ["demo.steps", "report.build"], 5, after(1), 10),
    "claim and tell": lambda tx, t, u: claims.in_turn(tx, "w", ["demo.steps"], 5, after(1), 10, STARTED),
    "claim by name": lambda tx, t, u: claims.named(
        tx, "w", ["x", "y"], ["demo.steps"], after(1), 10, STARTED
    ),
    "count starts": lambda tx, t, u: starts.count(tx, {"demo.steps": Rate(1, 1.0)}, after(1)),
    "renew": lambda tx, t, u: lease.renew(tx, "w", after(1), 10),
    "finish": lambda tx, t, u: lease.finish(tx, "w", [Outcome(Lease("x", 1), JobStatus.FAILED)], after(1)),
    "children": lambda tx, t, u: family.children(tx, ["x", "y"]),
    "children disowned": lambda tx, t, u: family.disown(tx, ["x", "y"]),
    "parents that wait": lambda tx, t, u: family.waiting(tx, ["x", "y"]),
    "progress of parents": lambda tx, t, u: family.means(tx, ["x", "y"]),
    "parents that go on": lambda tx, t, u: family.resume(tx, ["x", "y"]),
    "parents forgotten": lambda tx, t, u: family.forgotten(tx, 10),
    "children forgotten": lambda tx, t, u: family.bereft(tx, 10),
    "expired": lambda tx, t, u: lease.expired(tx, after(1), 10),
    "page of the log": lambda tx, t, u: audit.page(tx, t.id, Filter(), cursor="MDE", limit=50),
    "a tenant's log of an event": lambda tx, t, u: audit.page(
        tx,
        t.id,
        Filter(SecurityEventType.TOKEN_REVOKED, since=after(0), until=after(1)),
        cursor=None,
        limit=50,
    ),
    "a user's log": lambda tx, t, u: audit.page(tx, t.id, Filter(user=u.id), cursor=None, limit=50),
    "whole log": lambda tx, t, u: audit.page_of_all(tx, Filter(), cursor=None, limit=50),
    "renew tickets": lambda tx, t, u: tickets.renew(tx, tickets.Hold("n", after(1), after(2))),
    "orders": lambda tx, t, u: orders.after(tx, 7, 10),
    "last order": lambda tx, t, u: orders.latest(tx),
    "purge orders": lambda tx, t, u: orders.delete_before(tx, after(1), 10),
    "purge notifications": lambda tx, t, u: notifications.purge(tx, after(1), 10),
    "purge jobs": lambda tx, t, u: jobs.purge(tx, after(1), 10),
}


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as database:
        yield database


@pytest.mark.parametrize("name", QUERIES)
async def test_by_index(db: Database, name: str) -> None:
    """No table is read as a whole."""
    tenant, (user,) = await settle(db)
    async with db.write() as tx:
        await notifications.insert(tx, a_notification(user, tenant))
        await jobs.insert(tx, [a_job(user)])
        sent: list[tuple[str, Any]] = []

        def note(_conn: Connection, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
            sent.append((statement, parameters))

        connection = tx.sync_connection
        assert connection is not None
        event.listen(connection, "before_cursor_execute", note)
        await QUERIES[name](tx, tenant, user)
        event.remove(connection, "before_cursor_execute", note)
        assert sent
        for statement, parameters in sent:
            plan = await explained(tx, statement, parameters)
            assert not WHOLE_TABLE.search(plan), plan


async def test_plans_of_a_quiet_hour(postgres_url: str) -> None:
    """A statement's plan may be as old as its connection: what an idle worker's were made for still hold later.

    Of a job that is claimed or ended the row is found by its id, never among all that are queued or held.
    """
    async with migrated(postgres_url) as db:
        _, (user,) = await settle(db)
        made = [a_job(user) for _ in range(400)]

        async def turn() -> tuple[int, int]:
            async with db.write() as tx:
                before = await tx.scalar(READ)
                claimed = await claims.in_turn(tx, "w", ["demo.steps"], 1, after(1), 10, STARTED)
                ended = [Outcome(Lease(one.job.id, 1), JobStatus.SUCCEEDED) for one in claimed]
                await lease.finish(tx, "w", ended or [Outcome(Lease("x", 1), JobStatus.FAILED)], after(1))
                return len(claimed), int(await tx.scalar(READ) - before)

        await turn()
        async with db.write() as tx:
            await jobs.insert(tx, made)
        claimed, read = await turn()
        assert claimed == 1
        assert read < len(made)


async def explained(tx: AsyncConnection, statement: str, parameters: Any) -> str:
    """The plan that is made once for all parameters, where the database makes such."""
    if tx.dialect.name == "sqlite":
        rows = await tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    else:
        nulls = ", ".join(["NULL"] * len({*re.findall(r"\$\d+", statement)}))
        await tx.exec_driver_sql(f"PREPARE planned AS {statement}")
        rows = await tx.exec_driver_sql("EXPLAIN EXECUTE planned" + (f"({nulls})" if nulls else ""))
        await tx.exec_driver_sql("DEALLOCATE planned")
    return "\n".join(str(row[-1]) for row in rows)
