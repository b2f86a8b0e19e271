"""Who may do what: the table as a whole, and every way to address a notification."""

from itertools import product

import pytest

from tests.support.identity_rig import principal, tenant_id, user_id
from tidings.domain.channel import GLOBAL_CHANNEL, tenant_channel, user_channel
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.notification import Audience
from tidings.domain.people import Role, TenantId, UserId
from tidings.identity.policy import TABLE, Action, Address, address, channels, permit, rooms

USER, ADMIN, SUPER = (principal(role) for role in Role)
ME, OTHER = user_id(1), user_id(2)
OWN, FOREIGN = tenant_id(1), tenant_id(2)
FORBIDDEN, NOT_FOUND, INVALID = ErrorCode.FORBIDDEN, ErrorCode.NOT_FOUND, ErrorCode.VALIDATION_FAILED

U, T, G = Audience.USER, Audience.TENANT, Audience.GLOBAL
SELF = Address(U, ME, OWN)
Outcome = Address | ErrorCode


def test_the_table_has_no_hole() -> None:
    """Every role has an answer for every action."""
    assert TABLE.keys() == set(product(Role, Action))


@pytest.mark.parametrize(
    ("audience", "user", "tenant", "by_user", "by_admin", "by_super"),
    [
        (None, None, None, SELF, SELF, SELF),
        (U, None, None, SELF, SELF, SELF),
        (None, ME, None, SELF, SELF, SELF),
        (U, ME, None, SELF, SELF, SELF),
        (None, OTHER, None, NOT_FOUND, Address(U, OTHER, OWN), Address(U, OTHER, None)),
        (U, OTHER, None, NOT_FOUND, Address(U, OTHER, OWN), Address(U, OTHER, None)),
        (U, OTHER, OWN, FORBIDDEN, Address(U, OTHER, OWN), Address(U, OTHER, OWN)),
        (U, OTHER, FOREIGN, FORBIDDEN, NOT_FOUND, Address(U, OTHER, FOREIGN)),
        (U, None, OWN, FORBIDDEN, SELF, SELF),
        (U, None, FOREIGN, FORBIDDEN, NOT_FOUND, Address(U, ME, FOREIGN)),
        (T, None, None, FORBIDDEN, Address(T, None, OWN), Address(T, None, OWN)),
        (T, None, OWN, FORBIDDEN, Address(T, None, OWN), Address(T, None, OWN)),
        (T, None, FOREIGN, FORBIDDEN, NOT_FOUND, Address(T, None, FOREIGN)),
        (None, None, OWN, FORBIDDEN, Address(T, None, OWN), Address(T, None, OWN)),
        (None, None, FOREIGN, FORBIDDEN, NOT_FOUND, Address(T, None, FOREIGN)),
        (G, None, None, FORBIDDEN, FORBIDDEN, Address(G, None, None)),
        (T, ME, None, INVALID, INVALID, INVALID),
        (T, OTHER, FOREIGN, INVALID, INVALID, INVALID),
        (G, OTHER, None, INVALID, INVALID, INVALID),
        (G, None, OWN, INVALID, INVALID, INVALID),
    ],
)
def test_who_may_address_whom(
    audience: Audience | None,
    user: UserId | None,
    tenant: TenantId | None,
    by_user: Outcome,
    by_admin: Outcome,
    by_super: Outcome,
) -> None:
    """Contract: "USER: for themself; ADMIN: users of the tenant or the tenant; SUPER_ADMIN: anyone".

    "A user or tenant one can't see is 404; an audience one may not address is 403. An ADMIN may send the own
    `tenantId` only; a SUPER_ADMIN's default tenant is the own."
    """
    for who, expected in ((USER, by_user), (ADMIN, by_admin), (SUPER, by_super)):
        outcome: Outcome
        try:
            outcome = address(who, audience, user, tenant)
        except TidingsError as error:
            outcome = error.code
        assert outcome == expected, who.role


def test_a_contradiction_names_its_fields() -> None:
    """A validation error says which field is at fault, and never repeats the input."""
    with pytest.raises(TidingsError) as caught:
        address(SUPER, Audience.GLOBAL, OTHER, FOREIGN)
    assert [field.field for field in caught.value.fields] == ["userId", "tenantId"]
    assert not any(OTHER in field.message or FOREIGN in field.message for field in caught.value.fields)


def test_a_stranger_and_nobody_are_alike() -> None:
    """Contract: "Whatever belongs to someone else answers exactly as if it did not exist"."""
    answers = set()
    for asked in (OTHER, UserId("nobody"), UserId("")):
        with pytest.raises(TidingsError) as caught:
            address(USER, None, asked)
        answers.add((caught.value.code, caught.value.message, caught.value.fields))
    assert len(answers) == 1


@pytest.mark.parametrize("action", [Action.MANAGE_USER, Action.REVOKE_TOKENS, Action.READ_SECURITY_EVENTS])
def test_an_admin_acts_on_the_own_tenant(action: Action) -> None:
    """Contract: "An ADMIN acts on the users, tokens and security events of the own tenant"."""
    assert permit(ADMIN, action) == permit(ADMIN, action, OWN) == OWN
    with pytest.raises(TidingsError) as hidden:
        permit(ADMIN, action, FOREIGN)
    assert hidden.value.code is NOT_FOUND
    assert permit(SUPER, action) is None
    assert permit(SUPER, action, FOREIGN) == FOREIGN
    with pytest.raises(TidingsError) as forbidden:
        permit(USER, action)
    assert forbidden.value.code is FORBIDDEN


@pytest.mark.parametrize(
    "action",
    [
        Action.MANAGE_SUPER_ADMIN,
        Action.MANAGE_TENANT,
        Action.READ_NODES,
        Action.MANAGE_NODE,
        Action.READ_METRICS,
    ],
)
def test_some_things_are_the_super_admins(action: Action) -> None:
    """An ADMIN "can't make or touch a SUPER_ADMIN; tenants, nodes and metrics are the SUPER_ADMIN's"."""
    assert permit(SUPER, action) is None
    for who in (USER, ADMIN):
        with pytest.raises(TidingsError) as caught:
            permit(who, action)
        assert caught.value.code is FORBIDDEN


def test_rooms_follow_the_role() -> None:
    """Contract: "`ADMIN` and `SUPER_ADMIN` also `tenant:{tenantId}`; `SUPER_ADMIN` also `global`"."""
    assert rooms(USER) == (f"user:{ME}",)
    assert rooms(ADMIN) == (f"user:{ME}", f"tenant:{OWN}")
    assert rooms(SUPER) == (f"user:{ME}", f"tenant:{OWN}", "global")


def test_everyone_hears_what_is_for_everyone() -> None:
    """Contract: "Notifications addressed to a whole tenant or to everyone reach all their users"."""
    heard = (user_channel(OWN, ME), tenant_channel(OWN), GLOBAL_CHANNEL)
    assert [channels(who) for who in (USER, ADMIN, SUPER)] == [heard] * 3
