"""What administrators send, field by field."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tidings.api.admin_forms import ListSecurityEvents, PutTenant, PutUser, RevokeTokens
from tidings.delivery.forms import Form, fill
from tidings.domain.audit import Filter, SecurityEventType
from tidings.domain.clock import rfc3339
from tidings.domain.errors import TidingsError

USER = {"email": "ann@acme.example", "tenantId": "t", "role": "USER", "active": True}


def faults(form: type[Form], data: dict[str, Any]) -> list[str]:
    """The fields that are wrong."""
    with pytest.raises(TidingsError) as caught:
        fill(form, data)
    return [fault.field for fault in caught.value.fields]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": "ann"}, "email"),
        ({"email": "a b@c"}, "email"),
        ({"email": f"{'a' * 65}@b"}, "email"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"role": "ROOT"}, "role"),
        ({"role": "user"}, "role"),
        ({"active": 1}, "active"),
        ({"tenantId": None}, "tenantId"),
        ({"tenantId": "\x00"}, "tenantId"),
        ({"id": "x"}, "id"),
    ],
)
def test_a_user_is_checked(change: dict[str, Any], field: str) -> None:
    """Each fault names its field."""
    assert faults(PutUser, USER | change) == [field]


@pytest.mark.parametrize("missing", USER)
def test_a_user_is_whole(missing: str) -> None:
    """``PUT`` replaces: only ``name`` may be left out, which is to have none."""
    assert faults(PutUser, {name: value for name, value in USER.items() if name != missing}) == [missing]
    assert fill(PutUser, USER).name is None


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ({"name": "Acme"}, ["status"]),
        ({"name": "Acme", "status": "gone"}, ["status"]),
        ({"name": " " * 201, "status": "active"}, ["name"]),
        ({"name": "Acme", "status": "active", "slug": "x"}, ["slug"]),
    ],
)
def test_a_tenant_is_checked(data: dict[str, Any], fields: list[str]) -> None:
    """``{name, status: "active" | "suspended"}`` and nothing else."""
    assert faults(PutTenant, data) == fields


def test_what_is_revoked_is_said_in_one_way() -> None:
    """``{jti}`` or ``{userId, issuedBefore?}``."""
    moment = "2026-01-31T12:00:00.123Z"
    assert fill(RevokeTokens, {"jti": "x"}).jti == "x"
    form = fill(RevokeTokens, {"userId": "u", "issuedBefore": moment})
    assert form.issued_before is not None
    assert rfc3339(form.issued_before) == moment
    for data in ({}, {"jti": "x", "userId": "u"}, {"jti": "x", "issuedBefore": moment}):
        assert faults(RevokeTokens, data) == [""]
    assert faults(RevokeTokens, {"jti": ""}) == ["jti"]


@pytest.mark.parametrize("moment", ["now", 1, "2026-01-31", "2026-01-31T12:00:00", "1969-01-01T00:00:00Z"])
def test_a_moment_is_one(moment: object) -> None:
    """RFC 3339 with its zone, from 1970 on."""
    assert faults(RevokeTokens, {"userId": "u", "issuedBefore": moment}) == ["issuedBefore"]


def test_revoking_is_no_way_to_lock_out() -> None:
    """A moment ahead is refused but for what clocks may differ."""
    soon, later = (rfc3339(datetime.now(UTC) + timedelta(seconds=ahead)) for ahead in (10, 60))
    assert fill(RevokeTokens, {"userId": "u", "issuedBefore": soon}).issued_before is not None
    assert faults(RevokeTokens, {"userId": "u", "issuedBefore": later}) == ["issuedBefore"]


def test_what_is_looked_for() -> None:
    """Every filter is optional."""
    nothing = fill(ListSecurityEvents, {})
    assert (nothing.filter(), nothing.tenant(), nothing.limit) == (Filter(), None, 50)
    data = {"event": "TOKEN_REVOKED", "userId": "u", "tenantId": "t", "since": "2026-01-31T12:00:00Z"}
    form = fill(ListSecurityEvents, data)
    since = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert form.filter() == Filter(SecurityEventType.TOKEN_REVOKED, form.filter().user, since)
    assert (form.filter().user, form.tenant()) == ("u", "t")
    assert faults(ListSecurityEvents, {"event": "NOTHING", "limit": 101}) == ["limit", "event"]
