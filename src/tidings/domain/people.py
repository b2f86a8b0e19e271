"""Who there is: tenants, users, and the principal a checked credential stands for."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

TenantId = NewType("TenantId", str)
UserId = NewType("UserId", str)


class Role(StrEnum):
    """What a user is, from least to most."""

    USER = "USER"
    ADMIN = "ADMIN"
    SUPER_ADMIN = "SUPER_ADMIN"


class TenantStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class Tenant:
    id: TenantId
    slug: str
    name: str
    status: TenantStatus
    created_at: datetime


@dataclass(frozen=True, slots=True)
class User:
    id: UserId
    tenant_id: TenantId
    email: str
    name: str | None
    role: Role
    active: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Principal:
    """One authenticated user, as every surface sees them.

    ``expires_at`` and ``issued_at`` are Unix seconds of the token; ``token_id`` is its ``jti``.
    """

    user_id: UserId
    tenant_id: TenantId
    role: Role
    email: str
    name: str | None
    expires_at: float
    issued_at: float | None = None
    token_id: str | None = None
