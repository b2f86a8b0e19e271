"""How people and tenants may be called, and how they are shown."""

from datetime import UTC, datetime

import pytest

from tidings.domain.people import (
    Role,
    Tenant,
    TenantId,
    TenantStatus,
    User,
    UserId,
    is_email,
    is_name,
    is_slug,
)

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["a@b", "Ann.Lee+x@Example.ORG", "é@ü.example"])
def test_addresses(text: str) -> None:
    """Whatever has one ``@`` in it and nothing that breaks a line."""
    assert is_email(text)


@pytest.mark.parametrize("text", ["", "a", "@b", "a@", "a@b@c", "a b@c", "a@b\n", "a@b\x00", f"{'a' * 65}@b"])
def test_no_addresses(text: str) -> None:
    """Without a part, with white space, or too long."""
    assert not is_email(text)


@pytest.mark.parametrize("text", ["acme", "a.b_c-D9", "a", "a" * 64])
def test_slugs(text: str) -> None:
    """Letters, digits and . _ - within."""
    assert is_slug(text)


@pytest.mark.parametrize("text", ["", "-a", "a-", "a b", "é", "a/b", "a" * 65, "a\n"])
def test_no_slugs(text: str) -> None:
    """Nothing that would have to be escaped anywhere."""
    assert not is_slug(text)


@pytest.mark.parametrize("text", ["Ann", "日本", " ", "x" * 200])
def test_names(text: str) -> None:
    """1 to 200 printable characters."""
    assert is_name(text)


@pytest.mark.parametrize("text", ["", "x" * 201, "a\x07", "a\nb"])
def test_no_names(text: str) -> None:
    """None, too many, or what would break a line."""
    assert not is_name(text)


def test_shapes() -> None:
    """camelCase, with null for what is not there."""
    tenant = Tenant(TenantId("t"), "acme", "Acme", TenantStatus.ACTIVE, NOON)
    user = User(UserId("u"), tenant.id, "a@b", None, Role.ADMIN, active=True, created_at=NOON)
    at = "2026-01-31T12:00:00.000Z"
    assert tenant.to_json() == {
        "id": "t",
        "slug": "acme",
        "name": "Acme",
        "status": "active",
        "createdAt": at,
    }
    assert user.to_json() == {
        "id": "u",
        "tenantId": "t",
        "email": "a@b",
        "name": None,
        "role": "ADMIN",
        "active": True,
        "createdAt": at,
    }
