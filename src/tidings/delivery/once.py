"""Doing a thing once: a repeated request with the same ``Idempotency-Key`` is answered and not done again.

The first answer is stored in the transaction that did it, so there is no moment in which one is there without
the other (draft-ietf-httpapi-idempotency-key-header).
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.people import Principal
from tidings.store import idempotency, stroke
from tidings.store.database import Database

KEEP = timedelta(hours=24)
KEY_MAX = 255

Statements = stroke.Statements
Act = Callable[[Statements], Awaitable[tuple[int, bytes]]]


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked for what: ``key`` is the header's value or None, ``body`` the request's body as it came."""

    principal: Principal
    route: str
    key: str | None
    body: bytes


async def once(database: Database, asked: Asked, act: Act) -> tuple[int, bytes]:
    """Run ``act`` in a transaction, unless this key has been answered; returns status and body.

    Raises:
        TidingsError: CONFLICT for the same key with another body; what ``act`` raises, and then nothing is
            remembered.
    """
    if asked.key is None:
        async with database.strokes() as tx:
            return await act(tx)
    return await _with_key(database, asked, asked.key, act)


async def at_a_stroke(database: Database, asked: Asked, act: Act) -> tuple[int, bytes]:
    """As ``once``, for what writes with one statement: without a key that is all that is sent to the database."""
    if asked.key is None:
        async with database.stroke() as tx:
            return await act(tx)
    return await _with_key(database, asked, asked.key, act)


async def _with_key(database: Database, asked: Asked, key: str, act: Act) -> tuple[int, bytes]:
    digest = hashlib.sha256(asked.body).hexdigest()
    scope = idempotency.Scope(asked.principal.tenant_id, asked.principal.user_id, asked.route, key)
    while True:
        try:
            return await _once(database, scope, digest, act)
        except _AnsweredMeanwhile:
            continue


class _AnsweredMeanwhile(Exception):
    """Another request with this key has committed: what this one did is rolled back, and it is answered again."""


async def _once(database: Database, scope: idempotency.Scope, digest: str, act: Act) -> tuple[int, bytes]:
    async with database.write() as tx:
        now = datetime.now(UTC)
        first = await idempotency.find(tx, scope, now)
        if first is not None:
            return _again(first, digest)
        status, response = await act(tx)
        answer = idempotency.Answer(digest, status, response, now + KEEP)
        if not await idempotency.remember(tx, scope, answer, now):
            raise _AnsweredMeanwhile
        return status, response


def _again(first: idempotency.Answer, digest: str) -> tuple[int, bytes]:
    if first.body_hash != digest:
        raise TidingsError(ErrorCode.CONFLICT, "This Idempotency-Key was used with another body")
    return first.status, first.response
