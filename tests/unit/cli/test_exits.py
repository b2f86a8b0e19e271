"""The catalogue of exit codes."""

import os

import pytest

from tidings.cli.exits import Exit, by_status, of_error
from tidings.domain.errors import ErrorCode, TidingsError


def test_codes_differ() -> None:
    """A script can tell every end from every other."""
    numbers = [end.number for end in Exit]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize(
    ("end", "number"),
    [
        (Exit.REFUSED, os.EX_DATAERR),
        (Exit.NOT_FOUND, os.EX_NOINPUT),
        (Exit.NO_USER, os.EX_NOUSER),
        (Exit.UNAVAILABLE, os.EX_UNAVAILABLE),
        (Exit.SYSTEM, os.EX_OSERR),
        (Exit.CONFLICT, os.EX_CANTCREAT),
        (Exit.TRY_LATER, os.EX_TEMPFAIL),
        (Exit.PROTOCOL, os.EX_PROTOCOL),
        (Exit.NOT_ALLOWED, os.EX_NOPERM),
        (Exit.CONFIG, os.EX_CONFIG),
    ],
)
def test_codes_of_sysexits(end: Exit, number: int) -> None:
    """Codes 64 to 78 mean what ``sysexits.h`` says."""
    assert end.number == number


def test_every_error_has_an_end() -> None:
    """Whatever a server answers, the range tells whose fault it is: 4xx the caller's, 5xx the server's."""
    for code in ErrorCode:
        at_fault = by_status(code.status) in {Exit.PROTOCOL, Exit.UNAVAILABLE}
        assert at_fault == (code.status >= 500), code


def test_detail_is_shown_to_the_operator() -> None:
    """At the operator's own terminal the reason is what helps."""
    failure = of_error(TidingsError(ErrorCode.UNAVAILABLE, detail="Connect call failed"))
    assert str(failure) == "Service unavailable: Connect call failed"
    assert failure.end is Exit.UNAVAILABLE
