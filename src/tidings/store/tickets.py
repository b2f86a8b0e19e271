"""Tickets that several processes share: kept by their digest, held by one node at a time.

A node holds an open ticket for a while and renews the hold, so a node that dies gives it back by doing
nothing. Which path, origin and token a ticket is good for is the rule of ``identity``; here a ticket is only
found, and taken by at most one.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy import insert as insert_into
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.domain.people import TenantId, UserId
from tidings.store.tables import tickets
from tidings.store.tenancy import crosses_tenants


@dataclass(frozen=True, slots=True)
class StoredTicket:
    """``digest`` is the ticket's SHA-256, ``claims`` what its token said, ``expires_at`` the token's end.

    It may be opened until ``deadline``, and not while it is held.
    """

    digest: bytes
    tenant_id: TenantId
    user_id: UserId
    path: str
    origin: str | None
    claims: dict[str, Any]
    expires_at: datetime
    deadline: datetime
    held_until: datetime | None = None


async def insert(tx: AsyncConnection, ticket: StoredTicket) -> None:
    await tx.execute(
        insert_into(tickets).values(
            digest=ticket.digest,
            tenant_id=ticket.tenant_id,
            user_id=ticket.user_id,
            path=ticket.path,
            origin=ticket.origin,
            claims=ticket.claims,
            expires_at=ticket.expires_at,
            deadline=ticket.deadline,
            held_until=ticket.held_until,
        )
    )


@crosses_tenants("a ticket is a credential: it says whose it is, nobody else can")
async def find(tx: AsyncConnection, digest: bytes) -> StoredTicket | None:
    query = select(
        tickets.c.digest,
        tickets.c.tenant_id,
        tickets.c.user_id,
        tickets.c.path,
        tickets.c.origin,
        tickets.c.claims,
        tickets.c.expires_at,
        tickets.c.deadline,
        tickets.c.held_until,
    ).where(tickets.c.digest == digest)
    row = (await tx.execute(query)).one_or_none()
    return None if row is None else StoredTicket(*row)


@dataclass(frozen=True, slots=True)
class Hold:
    """A node's hold on open tickets: it lapses at ``until``, and they may be opened again till ``deadline``."""

    holder: str
    until: datetime
    deadline: datetime


async def take(tx: AsyncConnection, tenant: TenantId, digest: bytes, hold: Hold, now: datetime) -> bool:
    """Whether the ticket could still be opened, and is now held. Of several who try, one succeeds."""
    statement = (
        update(tickets)
        .where(
            tickets.c.digest == digest,
            tickets.c.tenant_id == tenant,
            or_(tickets.c.held_until.is_(None), tickets.c.held_until <= now),
            tickets.c.deadline >= now,
            tickets.c.expires_at > now,
        )
        .values(holder=hold.holder, held_until=hold.until, deadline=hold.deadline)
    )
    return (await tx.execute(statement)).rowcount == 1


@crosses_tenants("a node holds tickets of all tenants and renews them in one statement")
async def renew(tx: AsyncConnection, hold: Hold) -> int:
    """Hold on to whatever the node holds; how many those are."""
    statement = update(tickets).where(tickets.c.holder == hold.holder)
    return (await tx.execute(statement.values(held_until=hold.until, deadline=hold.deadline))).rowcount


@crosses_tenants("a node closes the streams of all tenants, many in one statement")
async def close(tx: AsyncConnection, digests: Collection[bytes], hold: Hold) -> int:
    """Give tickets back (<= 10,000), to be opened again till the hold's deadline; how many were the holder's."""
    statement = (
        update(tickets)
        .where(tickets.c.digest.in_(digests), tickets.c.holder == hold.holder)
        .values(holder=None, held_until=None, deadline=hold.deadline)
    )
    return (await tx.execute(statement)).rowcount


@crosses_tenants("what can never be opened again is nobody's")
async def purge(tx: AsyncConnection, now: datetime, limit: int) -> int:
    """Delete at most ``limit`` that are past their deadline, which a hold always ends before."""
    late = select(tickets.c.digest).where(tickets.c.deadline < now).order_by(tickets.c.deadline).limit(limit)
    return (await tx.execute(delete(tickets).where(tickets.c.digest.in_(late)))).rowcount
