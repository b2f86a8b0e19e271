"""The register of job kinds: which there are, and what each wants as its payload.

A job's kind is a foreign key into it, so a job that nobody could ever run cannot be stored.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.store.dialect import insert_into
from tidings.store.stroke import Statements
from tidings.store.tables import kinds
from tidings.store.tenancy import crosses_tenants

_SCHEMAS: Final = select(kinds.c.kind, kinds.c.schema)


@crosses_tenants("kinds are the installation's, the same for every tenant")
async def register(tx: AsyncConnection, schemas: Mapping[str, dict[str, Any]], at: datetime) -> None:
    """Note each kind with the JSON Schema of its payload; a kind that is known gets the new schema."""
    rows = [
        {"kind": kind, "schema": schemas[kind], "registered_at": at}
        # Sorted, so that workers that start together never wait for each other in a ring.
        for kind in sorted(schemas)
    ]
    if rows:
        statement = insert_into(tx, kinds)
        replaced = {"schema": statement.excluded.schema, "registered_at": statement.excluded.registered_at}
        await tx.execute(statement.on_conflict_do_update(index_elements=["kind"], set_=replaced), rows)


@crosses_tenants("kinds are the installation's, the same for every tenant")
async def schemas(tx: Statements) -> dict[str, dict[str, Any]]:
    """Every kind that was ever registered, with its payload's JSON Schema."""
    return {row.kind: row.schema for row in await tx.execute(_SCHEMAS)}
