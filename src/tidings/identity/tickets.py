"""Tickets: what opens an event stream for a browser's ``EventSource``, which cannot send headers.

The rule (contract, sections 2 and 11) is pure: ``open_`` and ``closed`` over a frozen record. ``TicketBook``
keeps the records of one process. Whether the token behind a ticket was revoked and its user may still come in
is asked by whoever opens the stream, with the claims of the ticket that comes back.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Protocol

from tidings.domain.errors import ErrorCode, TidingsError
from tidings.identity.rejection import Reason, TicketRejected
from tidings.identity.tokens import Claims

FIRST_USE_SECONDS = 30
REOPEN_SECONDS = 60
_RANDOM_BYTES = 32
_SWEEP_PER_ISSUE = 4


@dataclass(frozen=True, slots=True)
class Ticket:
    """Opens ``path`` for whoever ``claims`` stands for, and for pages of ``origin`` if one asked for it.

    ``deadline`` is the last moment (Unix seconds) at which it may be opened, unless it is ``in_use``.
    """

    path: str
    claims: Claims
    origin: str | None
    deadline: float
    in_use: bool = False


def fresh(claims: Claims, path: str, origin: str | None, now: float) -> Ticket:
    """A ticket that may be opened within 30 s."""
    return Ticket(path, claims, origin, now + FIRST_USE_SECONDS)


def open_(ticket: Ticket, path: str, origin: str | None, now: float, own_origin: str) -> Ticket | Reason:
    """The ticket in use, or why it stays shut. ``own_origin`` is the server's; its pages may send none."""
    if path != ticket.path:
        return Reason.TICKET_PATH
    from_own_page = origin is None and ticket.origin == own_origin
    if ticket.origin is not None and origin != ticket.origin and not from_own_page:
        return Reason.TICKET_ORIGIN
    if ticket.in_use:
        return Reason.TICKET_IN_USE
    if now >= ticket.claims.expires_at:
        return Reason.EXPIRED
    if now > ticket.deadline:
        return Reason.TICKET_LATE
    return replace(ticket, in_use=True)


def closed(ticket: Ticket, now: float) -> Ticket:
    """The ticket after its stream has ended: it may be opened again within 60 s."""
    return replace(ticket, in_use=False, deadline=now + REOPEN_SECONDS) if ticket.in_use else ticket


def spent(ticket: Ticket, now: float) -> bool:
    """Whether it can never be opened again."""
    return not ticket.in_use and (now > ticket.deadline or now >= ticket.claims.expires_at)


def digest(value: str) -> bytes:
    """Under what a ticket is kept: whoever reads the book learns no ticket."""
    return sha256(value.encode("utf-8", "surrogatepass")).digest()


class Tickets(Protocol):
    """Where tickets are kept. Only their digests are."""

    async def issue(self, claims: Claims, path: str, origin: str | None) -> tuple[str, float]:
        """A new ticket, and the Unix second until which it may first be used.

        Raises:
            TidingsError: UNAVAILABLE, too many are out.
        """

    async def open(self, value: str, path: str, origin: str | None) -> Ticket:
        """Take the ticket into use. Whoever opens it closes it, whatever becomes of the stream.

        Raises:
            TicketRejected: it does not open this stream now.
        """

    async def close(self, value: str) -> None:
        """The stream has ended."""


class TicketBook:
    """The tickets of one process, at most ``limit``; those that are spent are swept as new ones come."""

    def __init__(
        self, own_origin: str, *, clock: Callable[[], float] = time.time, limit: int = 100_000
    ) -> None:
        self._own_origin = own_origin
        self._clock = clock
        self._limit = limit
        # Waiting tickets stand in the order in which they began to wait, so that the spent ones are in front.
        self._waiting: dict[bytes, Ticket] = {}
        self._in_use: dict[bytes, Ticket] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._in_use)

    async def issue(self, claims: Claims, path: str, origin: str | None) -> tuple[str, float]:
        now = self._clock()
        self._sweep(now)
        if len(self) >= self._limit:
            raise TidingsError(
                ErrorCode.UNAVAILABLE, retry_after=FIRST_USE_SECONDS, detail="ticket book full"
            )
        value = secrets.token_urlsafe(_RANDOM_BYTES)
        ticket = fresh(claims, path, origin, now)
        self._waiting[digest(value)] = ticket
        return value, ticket.deadline

    async def open(self, value: str, path: str, origin: str | None) -> Ticket:
        key = digest(value)
        ticket = self._waiting.get(key) or self._in_use.get(key)
        if ticket is None:
            raise TicketRejected(Reason.UNKNOWN_TICKET)
        opened = open_(ticket, path, origin, self._clock(), self._own_origin)
        if isinstance(opened, Reason):
            raise TicketRejected(opened)
        del self._waiting[key]
        self._in_use[key] = opened
        return opened

    async def close(self, value: str) -> None:
        ticket = self._in_use.pop(digest(value), None)
        if ticket is not None:
            self._waiting[digest(value)] = closed(ticket, self._clock())

    def _sweep(self, now: float) -> None:
        for _ in range(_SWEEP_PER_ISSUE):
            key = next(iter(self._waiting), None)
            if key is None or not spent(self._waiting[key], now):
                return
            del self._waiting[key]
