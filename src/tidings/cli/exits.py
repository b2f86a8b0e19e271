"""How a command ends: the catalogue of exit codes, and the exception that ends a command with one of them.

Codes 64 to 78 are those of BSD's ``sysexits.h``, so that scripts and supervisors know most of them already.
``docs/cli.md`` shows the same table, which a test compares with this one.
"""

from enum import Enum
from typing import NamedTuple

from tidings.domain.errors import TidingsError


class _Row(NamedTuple):
    number: int
    meaning: str


class Exit(Enum):
    """Every exit code, with what it means to whoever reads it in a script."""

    OK = _Row(0, "done; a watched job succeeded")
    FAULT = _Row(1, "a fault in Tidings itself; the traceback says where")
    USAGE = _Row(2, "the command line is wrong; the message says what is expected")
    JOB_FAILED = _Row(3, "the watched job failed for good")
    JOB_CANCELLED = _Row(4, "the watched job was cancelled")
    REFUSED = _Row(65, "the input was refused: not JSON, too long, an unknown job kind")
    NOT_FOUND = _Row(66, "what was named is not there: a job, a notification, a tenant, a file")
    NO_USER = _Row(67, "no such user, or an address that several tenants have")
    UNAVAILABLE = _Row(69, "the server or the database cannot be reached")
    SYSTEM = _Row(71, "the operating system refused: the port is in use, a file cannot be written")
    CONFLICT = _Row(73, "it is there already, or its state forbids it")
    TRY_LATER = _Row(75, "too much, too soon; try again after a while")
    PROTOCOL = _Row(76, "the server had a fault, or is no Tidings server")
    NOT_ALLOWED = _Row(77, "the token is not accepted, or its user may not do this")
    CONFIG = _Row(78, "the settings are wrong; each fault is a line with the setting's name")
    OUT_OF_DATE = _Row(79, "the database has to be migrated first")
    INTERRUPTED = _Row(130, "interrupted with Ctrl-C; a watched job goes on")

    @property
    def number(self) -> int:
        return self.value.number

    @property
    def meaning(self) -> str:
        return self.value.meaning


class Failure(Exception):
    """A command that cannot do what it was asked: a message for people and an exit code for scripts.

    ``retry_after`` is in seconds, where the server said when it is worth another try.
    """

    def __init__(self, end: Exit, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.end = end
        self.retry_after = retry_after


_BY_STATUS = {
    401: Exit.NOT_ALLOWED,
    403: Exit.NOT_ALLOWED,
    404: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    429: Exit.TRY_LATER,
    503: Exit.UNAVAILABLE,
}
_SERVER_ERROR = 500


def by_status(status: int) -> Exit:
    """The exit code of an error with this HTTP status (RFC 9110, section 15)."""
    return _BY_STATUS.get(status, Exit.PROTOCOL if status >= _SERVER_ERROR else Exit.REFUSED)


def of_error(error: TidingsError) -> Failure:
    """An error of the catalogue as the end of a command. Its detail is the operator's own business."""
    message = f"{error.message}: {error.detail}" if error.detail else error.message
    return Failure(by_status(error.code.status), message)
