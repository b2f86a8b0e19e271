"""Who may do what: one table, and the functions that read it.

Whether a user or tenant that is named exists is not asked here. Whoever looks it up does so inside the tenant
that is returned, and answers NOT_FOUND for what is not there; so a stranger's id and a made-up one are alike.
"""

from dataclasses import dataclass
from enum import Enum, auto

from tidings.domain.channel import GLOBAL_CHANNEL, Channel, tenant_channel, user_channel
from tidings.domain.errors import ErrorCode, FieldError, TidingsError
from tidings.domain.notification import Audience
from tidings.domain.people import Principal, Role, TenantId, UserId


class Action(Enum):
    """What can be asked for, with whom it is done to."""

    NOTIFY_SELF = auto()
    NOTIFY_USER = auto()
    NOTIFY_TENANT = auto()
    NOTIFY_EVERYONE = auto()
    NAME_TENANT = auto()
    MANAGE_USER = auto()
    MANAGE_SUPER_ADMIN = auto()
    REVOKE_TOKENS = auto()
    READ_SECURITY_EVENTS = auto()
    MANAGE_TENANT = auto()
    READ_NODES = auto()
    MANAGE_NODE = auto()
    READ_METRICS = auto()


class Ruling(Enum):
    ALLOWED = auto()
    """On whatever tenant."""
    OWN_TENANT = auto()
    """On what belongs to the own tenant. The rest is as if it did not exist."""
    FORBIDDEN = auto()
    NOT_FOUND = auto()


_YES, _OWN, _NO, _HIDDEN = Ruling.ALLOWED, Ruling.OWN_TENANT, Ruling.FORBIDDEN, Ruling.NOT_FOUND
_COLUMNS = (Role.USER, Role.ADMIN, Role.SUPER_ADMIN)
_ROWS = {
    #                             USER     ADMIN  SUPER_ADMIN
    Action.NOTIFY_SELF:          (_YES,    _YES,  _YES),
    Action.NOTIFY_USER:          (_HIDDEN, _OWN,  _YES),
    Action.NOTIFY_TENANT:        (_NO,     _OWN,  _YES),
    Action.NOTIFY_EVERYONE:      (_NO,     _NO,   _YES),
    Action.NAME_TENANT:          (_NO,     _OWN,  _YES),
    Action.MANAGE_USER:          (_NO,     _OWN,  _YES),
    Action.MANAGE_SUPER_ADMIN:   (_NO,     _NO,   _YES),
    Action.REVOKE_TOKENS:        (_NO,     _OWN,  _YES),
    Action.READ_SECURITY_EVENTS: (_NO,     _OWN,  _YES),
    Action.MANAGE_TENANT:        (_NO,     _NO,   _YES),
    Action.READ_NODES:           (_NO,     _NO,   _YES),
    Action.MANAGE_NODE:          (_NO,     _NO,   _YES),
    Action.READ_METRICS:         (_NO,     _NO,   _YES),
}  # fmt: skip
TABLE = {
    (role, action): ruling
    for action, row in _ROWS.items()
    for role, ruling in zip(_COLUMNS, row, strict=True)
}


@dataclass(frozen=True, slots=True)
class Address:
    """To whom a notification may go.

    ``user_id`` is set for one user and is to be looked up in ``tenant_id``, or anywhere when that is None.
    For a tenant ``tenant_id`` is set; for everyone neither is.
    """

    audience: Audience
    user_id: UserId | None
    tenant_id: TenantId | None


def permit(principal: Principal, action: Action, tenant_id: TenantId | None = None) -> TenantId | None:
    """The tenant inside which the action is allowed; None stands for all of them.

    ``tenant_id`` is the tenant that was asked for, if one was.

    Raises:
        TidingsError: FORBIDDEN, or NOT_FOUND for what this principal cannot see.
    """
    ruling = TABLE[principal.role, action]
    if ruling is Ruling.ALLOWED:
        return tenant_id
    if ruling is Ruling.OWN_TENANT and tenant_id in (None, principal.tenant_id):
        return principal.tenant_id
    raise TidingsError(ErrorCode.FORBIDDEN if ruling is Ruling.FORBIDDEN else ErrorCode.NOT_FOUND)


def address(
    principal: Principal,
    audience: Audience | None = None,
    user_id: UserId | None = None,
    tenant_id: TenantId | None = None,
) -> Address:
    """To whom ``notification:create`` goes (contract, sections 4 and 11).

    Without an audience a ``user_id`` means that user, a ``tenant_id`` alone that tenant, and nothing oneself.

    Raises:
        TidingsError: VALIDATION_FAILED where the parts contradict each other, FORBIDDEN for an audience one
            may not address, NOT_FOUND for a user or tenant one cannot see.
    """
    if audience is None:
        audience = Audience.TENANT if tenant_id is not None and user_id is None else Audience.USER
    _refuse_contradictions(audience, user_id, tenant_id)
    if tenant_id is not None:
        permit(principal, Action.NAME_TENANT, tenant_id)
    if audience is Audience.GLOBAL:
        permit(principal, Action.NOTIFY_EVERYONE)
        return Address(audience, None, None)
    if audience is Audience.TENANT:
        named = permit(principal, Action.NOTIFY_TENANT, tenant_id)
        return Address(audience, None, named or principal.tenant_id)
    if user_id in (None, principal.user_id):
        own = permit(principal, Action.NOTIFY_SELF, tenant_id)
        return Address(audience, principal.user_id, own or principal.tenant_id)
    return Address(audience, user_id, permit(principal, Action.NOTIFY_USER, tenant_id))


def rooms(principal: Principal) -> tuple[str, ...]:
    """The rooms that a session is told it is in (contract, section 4)."""
    own = (f"user:{principal.user_id}",)
    if principal.role is Role.USER:
        return own
    tenant = (*own, f"tenant:{principal.tenant_id}")
    return (*tenant, "global") if principal.role is Role.SUPER_ADMIN else tenant


def channels(principal: Principal) -> tuple[Channel, ...]:
    """What every session hears. Wider than its rooms: what is for a whole tenant reaches all its users."""
    return (
        user_channel(principal.tenant_id, principal.user_id),
        tenant_channel(principal.tenant_id),
        GLOBAL_CHANNEL,
    )


def _refuse_contradictions(audience: Audience, user_id: UserId | None, tenant_id: TenantId | None) -> None:
    fields = []
    if audience is not Audience.USER and user_id is not None:
        fields.append(FieldError("userId", "only for the audience user"))
    if audience is Audience.GLOBAL and tenant_id is not None:
        fields.append(FieldError("tenantId", "not for the audience global"))
    if fields:
        raise TidingsError(ErrorCode.VALIDATION_FAILED, fields=tuple(fields))
