"""Who there is: tenants, users, and the principal a checked credential stands for; and how they may be called."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NewType

from tidings.domain.clock import rfc3339

TenantId = NewType("TenantId", str)
UserId = NewType("UserId", str)

NAME_MAX = 200

_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,255}")
_SLUG = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


def is_email(text: str) -> bool:
    """Whether this could be an address. Whether anybody reads it only a letter could tell."""
    return _EMAIL.fullmatch(text) is not None


def is_slug(text: str) -> bool:
    """Whether a tenant may be called so where people type it: letters, digits and ``. _ -`` within, at most 64."""
    return _SLUG.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether a user or tenant may be shown under this name: 1 to 200 printable characters."""
    return text.isprintable() and 0 < len(text) <= NAME_MAX


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

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "slug": self.slug,
            "name": self.name,
            "status": self.status.value,
            "createdAt": rfc3339(self.created_at),
        }


@dataclass(frozen=True, slots=True)
class User:
    id: UserId
    tenant_id: TenantId
    email: str
    name: str | None
    role: Role
    active: bool
    created_at: datetime

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "tenantId": self.tenant_id,
            "email": self.email,
            "name": self.name,
            "role": self.role.value,
            "active": self.active,
            "createdAt": rfc3339(self.created_at),
        }


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
