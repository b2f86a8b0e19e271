"""One authenticated client of this node: who it is, what it hears, and the wire it is on.

A session knows no protocol. It is made by a transport, which gives it a wire format and a way to be closed.
"""

from typing import Protocol

from tidings.domain.channel import Channel
from tidings.domain.errors import CloseReason
from tidings.domain.event import Published
from tidings.domain.people import Principal, TenantId
from tidings.hub.outbox import Outbox


class Format(Protocol):
    """How one kind of client is written to. One object per kind, shared by all its sessions."""

    def encode(self, published: Published, cursor: str) -> bytes:
        """The event in its final bytes; ``cursor`` is where a client stands that has received it."""


class Wire(Protocol):
    """What a session's connection can be asked to do. Neither call may raise or block."""

    def close(self, reason: CloseReason) -> None:
        """End the connection. The session leaves the hub by it."""

    def finished(self, channel: Channel) -> None:
        """The channel is over; its last event has been handed to the outbox."""

    def tell(self, event: str, data: bytes) -> None:
        """Send an event that belongs to no channel and moves no position."""


class Session:
    """Joined to channels by the hub, closed through its wire."""

    __slots__ = ("channels", "format", "group", "id", "outbox", "principal", "wire")

    def __init__(
        self, session_id: str, principal: Principal, wire: Wire, outbox: Outbox, wire_format: Format
    ) -> None:
        self.id = session_id
        self.principal = principal
        self.wire = wire
        self.outbox = outbox
        self.format = wire_format
        self.group: tuple[Format, TenantId] = (wire_format, principal.tenant_id)
        # A list, because nearly every session hears three, and a set of three is three times as large.
        self.channels: list[Channel] = []
