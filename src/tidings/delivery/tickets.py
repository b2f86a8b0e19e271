"""Tickets in the database, good on every node and over a restart. The rule they follow is ``identity``'s.

A node holds the tickets of its open streams for a few seconds and renews that, all in one statement; so a node
that dies gives them back by doing nothing. Who comes back to another node sooner than that waits a little,
because an ``EventSource`` that is refused once never comes again.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import asdict
from datetime import UTC, datetime

import structlog

from tidings.domain.errors import TidingsError
from tidings.domain.people import TenantId
from tidings.identity.rejection import Reason, TicketRejected
from tidings.identity.tickets import REOPEN_SECONDS, Ticket, digest, fresh, open_
from tidings.identity.tokens import Claims
from tidings.store import tickets
from tidings.store.database import Database
from tidings.store.tickets import Hold, StoredTicket

HOLD_SECONDS = 3.0
RENEW_SECONDS = 1.0
RETRY_SECONDS = 0.1
"""How often one looks whether a ticket that another node holds has become free."""

_RANDOM_BYTES = 32
_AT_ONCE = 1000

_log = structlog.stdlib.get_logger("tidings.tickets")


class StoredTickets:
    """``Tickets`` of all nodes on one database; ``own_origins`` are the server's. ``run`` has to run beside."""

    def __init__(
        self,
        database: Database,
        own_origins: Collection[str],
        *,
        clock: Callable[[], float] = time.time,
        patience: float = HOLD_SECONDS,
    ) -> None:
        """``patience`` is how many seconds one waits for a ticket that another node holds."""
        self._database = database
        self._own_origins = own_origins
        self._clock = clock
        self._patience = patience
        self._node = secrets.token_hex(8)
        self._held: set[bytes] = set()
        self._closed: set[bytes] = set()
        self._wanted = asyncio.Event()

    async def issue(
        self, tenant: TenantId, claims: Claims, path: str, origin: str | None
    ) -> tuple[str, float]:
        """A new ticket, and the Unix second until which it may first be used. Raises UNAVAILABLE."""
        value = secrets.token_urlsafe(_RANDOM_BYTES)
        ticket = fresh(claims, path, origin, self._clock())
        stored = StoredTicket(
            digest=digest(value),
            tenant_id=tenant,
            user_id=claims.subject,
            path=path,
            origin=origin,
            claims=asdict(claims),
            expires_at=_moment(claims.expires_at),
            deadline=_moment(ticket.deadline),
        )
        async with self._database.write() as tx:
            await tickets.insert(tx, stored)
        return value, ticket.deadline

    async def open(self, value: str, path: str, origin: str | None) -> Ticket:
        """Take the ticket into use. Raises ``TicketRejected``; UNAVAILABLE."""
        key = digest(value)
        patient_until = self._clock() + self._patience
        while True:
            now = self._clock()
            opened = await self._open(key, path, origin, now)
            if isinstance(opened, Ticket):
                return opened
            if opened is not Reason.TICKET_IN_USE or key in self._held or now >= patient_until:
                raise TicketRejected(opened)
            await asyncio.sleep(RETRY_SECONDS)

    async def close(self, value: str) -> None:
        """The stream has ended. That is told to the others soon."""
        key = digest(value)
        if key in self._held:
            self._let_go(key)

    async def run(self) -> None:
        """Give back what is closed and hold on to the rest until cancelled, and give back once more then."""
        renew_at = time.monotonic() + RENEW_SECONDS
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RENEW_SECONDS):
                        await self._wanted.wait()
                self._wanted.clear()
                try:
                    await self.give_back()
                    if time.monotonic() >= renew_at:
                        renew_at = time.monotonic() + RENEW_SECONDS
                        await self.renew()
                except TidingsError as fault:
                    _log.warning("tickets wait for the database", reason=str(fault))
        finally:
            with contextlib.suppress(TidingsError):
                await self.give_back()

    async def _open(self, key: bytes, path: str, origin: str | None, now: float) -> Ticket | Reason:
        async with self._database.read() as tx:
            stored = await tickets.find(tx, key)
        if stored is None:
            return Reason.UNKNOWN_TICKET
        opened = open_(_ticket_of(stored, now), path, origin, now, self._own_origins)
        if isinstance(opened, Reason):
            return opened
        if key in self._held or key in self._closed:
            return Reason.TICKET_IN_USE
        self._held.add(key)
        try:
            async with self._database.write() as tx:
                taken = await tickets.take(tx, stored.tenant_id, key, self._hold(now), _moment(now))
        except BaseException:
            # It may have been taken all the same.
            self._let_go(key)
            raise
        if taken:
            return opened
        self._held.remove(key)
        return Reason.TICKET_IN_USE

    def _let_go(self, key: bytes) -> None:
        """No stream of ours uses it any more."""
        self._held.remove(key)
        self._closed.add(key)
        self._wanted.set()

    async def give_back(self) -> None:
        """Tell which streams have ended. Raises UNAVAILABLE, and they are still to be told."""
        while self._closed:
            closing = list(self._closed)[:_AT_ONCE]
            now = self._clock()
            async with self._database.write() as tx:
                await tickets.close(
                    tx, closing, Hold(self._node, _moment(now), _moment(now + REOPEN_SECONDS))
                )
            self._closed.difference_update(closing)

    async def renew(self) -> None:
        """Hold on to the tickets of open streams. Raises UNAVAILABLE."""
        if self._held:
            async with self._database.write() as tx:
                await tickets.renew(tx, self._hold(self._clock()))

    def _hold(self, now: float) -> Hold:
        until = now + HOLD_SECONDS
        return Hold(self._node, _moment(until), _moment(until + REOPEN_SECONDS))


def _ticket_of(stored: StoredTicket, now: float) -> Ticket:
    return Ticket(
        path=stored.path,
        claims=Claims(**stored.claims),
        origin=stored.origin,
        deadline=stored.deadline.timestamp(),
        in_use=stored.held_until is not None and stored.held_until.timestamp() > now,
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
