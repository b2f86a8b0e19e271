"""Tickets: what opens an event stream for a browser's ``EventSource``, which cannot send headers.

The rule (contract, sections 2 and 11) is pure: ``open_`` over a frozen record. Where the records are kept is
``delivery/tickets``' matter. Whether the token behind a ticket was revoked and its user may still come in is
asked by whoever opens the stream, with the claims of the ticket that comes back.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Protocol

from tidings.domain.people import TenantId
from tidings.identity.rejection import Reason
from tidings.identity.tokens import Claims

FIRST_USE_SECONDS = 30
REOPEN_SECONDS = 60


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


def open_(
    ticket: Ticket, path: str, origin: str | None, now: float, own_origins: Collection[str]
) -> Ticket | Reason:
    """The ticket in use, or why it stays shut. ``own_origins`` are the server's; its pages may send none."""
    if path != ticket.path:
        return Reason.TICKET_PATH
    from_own_page = origin is None and ticket.origin in own_origins
    if ticket.origin is not None and origin != ticket.origin and not from_own_page:
        return Reason.TICKET_ORIGIN
    if ticket.in_use:
        return Reason.TICKET_IN_USE
    if now >= ticket.claims.expires_at:
        return Reason.EXPIRED
    if now > ticket.deadline:
        return Reason.TICKET_LATE
    return replace(ticket, in_use=True)


def digest(value: str) -> bytes:
    """Under what a ticket is kept: whoever reads the table learns no ticket."""
    return sha256(value.encode("utf-8", "surrogatepass")).digest()


class Tickets(Protocol):
    """Where tickets are kept. Only their digests are."""

    async def issue(
        self, tenant: TenantId, claims: Claims, path: str, origin: str | None
    ) -> tuple[str, float]:
        """A new ticket, and the Unix second until which it may first be used.

        Raises:
            TidingsError: UNAVAILABLE.
        """

    async def open(self, value: str, path: str, origin: str | None) -> Ticket:
        """Take the ticket into use. Whoever opens it closes it, whatever becomes of the stream.

        Raises:
            TicketRejected: it does not open this stream now.
            TidingsError: UNAVAILABLE.
        """

    async def close(self, value: str) -> None:
        """The stream has ended."""
