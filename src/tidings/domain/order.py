"""Orders: what every node has to do at once, because something was decided about a user, a tenant or a node."""

from dataclasses import dataclass
from enum import StrEnum

from tidings.domain.people import TenantId, UserId


class OrderKind(StrEnum):
    DISCONNECT = "disconnect"
    """The user's sockets and streams end; they may come back."""
    PERSON = "person"
    """The user is another than before: in role, active or not, of another tenant, or new."""
    TENANT = "tenant"
    """The tenant is suspended, or active again."""
    TOKENS = "tokens"
    """Tokens were revoked."""
    DRAIN = "drain"
    """The node releases its clients and ends."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done, and to whom: ``user_id`` for DISCONNECT and PERSON, ``tenant_id`` for TENANT,
    ``node_id`` for DRAIN; TOKENS concerns whomever the revocations say.
    """

    kind: OrderKind
    tenant_id: TenantId | None = None
    user_id: UserId | None = None
    node_id: str | None = None
