"""The catalogue of rejections."""

import pytest

from tidings.identity.rejection import (
    CredentialConflict,
    CredentialRejected,
    Reason,
    Rejected,
    TicketRejected,
    TokenRejected,
    UserRejected,
)


@pytest.mark.parametrize("kind", [TokenRejected, UserRejected, CredentialRejected, TicketRejected])
def test_every_rejection_is_caught_as_one(kind: type[Rejected]) -> None:
    """Whoever answers needs one except clause, and the log gets the slug."""
    rejection = kind(Reason.EXPIRED)
    assert isinstance(rejection, Rejected)
    assert (rejection.reason, str(rejection)) == (Reason.EXPIRED, "expired")


def test_a_conflict_knows_its_reason() -> None:
    """There is only one way to conflict."""
    assert CredentialConflict().reason is Reason.CONFLICT
