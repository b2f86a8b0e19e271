"""What the tests of identity share: a clock that is set by hand, claims, and people to look up."""

from datetime import UTC, datetime

from tidings.domain.people import Principal, Role, Tenant, TenantId, TenantStatus, User, UserId
from tidings.identity.tokens import Claims

NOW = 1_800_000_000.0
_LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


class HandClock:
    """Seconds, which pass when a test says so."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def user_id(number: int) -> UserId:
    """An id of the right shape."""
    return UserId(f"01890000-0000-7000-8000-{number:012x}")


def tenant_id(number: int) -> TenantId:
    """An id of the right shape, no user's."""
    return TenantId(f"01890000-0000-7000-9000-{number:012x}")


def account(
    number: int,
    *,
    role: Role = Role.USER,
    active: bool = True,
    status: TenantStatus = TenantStatus.ACTIVE,
) -> tuple[User, Tenant]:
    """A user of the first tenant."""
    tenant = Tenant(tenant_id(1), "acme", "Acme", status, _LONG_AGO)
    user = User(user_id(number), tenant.id, f"u{number}@example.com", None, role, active, _LONG_AGO)
    return user, tenant


def claims(number: int, *, tenant: str | None = None, role: str | None = None) -> Claims:
    """What a good token of that user says."""
    return Claims(
        user_id(number), NOW + 3600, issued_at=NOW, token_id=f"jti-{number}", tenant=tenant, role=role
    )


def principal(role: Role, number: int = 1) -> Principal:
    """A user of the first tenant who has come in."""
    return Principal(user_id(number), tenant_id(1), role, f"u{number}@example.com", None, NOW + 3600)
