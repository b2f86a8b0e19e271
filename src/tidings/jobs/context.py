"""What a job's code holds while it runs: ``JobContext``, and the exceptions it may meet or raise.

The same object serves async kinds on the event loop and plain functions in a process of their own; how its
reports travel is its ``Link``'s business. It imports neither a database nor an event loop, so that a module
with kinds is quick to import.
"""

import re
from enum import StrEnum
from typing import Protocol

import structlog

MESSAGE_MAX = 1000
"""Code points of a message that are told; the rest is cut."""
STAGE_MAX = 100

_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


class JobStopped(BaseException):
    """The job must not go on here. No ``Exception``, so that ``except Exception`` in a job lets it through."""


class JobCancelled(JobStopped):
    """Its user cancelled it."""


class JobTimedOut(JobStopped):
    """The attempt ran for longer than its kind allows."""


class JobFailed(Exception):
    """Raised by a job on purpose: ``code`` (``UPPER_CASE``) and ``message`` are shown to its user as they are.

    With ``retry=False`` the job fails for good, whatever attempts are left.

    Raises:
        ValueError: the code is no such word.
    """

    def __init__(self, code: str, message: str, *, retry: bool = True) -> None:
        if _CODE.fullmatch(code) is None:
            raise ValueError("an error code is UPPER_CASE, at most 64 characters")
        super().__init__(message)
        self.code = code
        self.message = shown(message)
        self.retry = retry


class Stop(StrEnum):
    """Why running code is asked to end."""

    CANCELLED = "cancelled"
    TIMED_OUT = "timed out"
    HANDED_BACK = "handed back"
    """The worker is going away: another one will run the job."""
    LOST = "lost"
    """The worker's lease ran out: another one may be running the job."""

    def exception(self) -> JobStopped:
        return _EXCEPTIONS.get(self, JobStopped)(self.value)


_EXCEPTIONS = {Stop.CANCELLED: JobCancelled, Stop.TIMED_OUT: JobTimedOut}


class Link(Protocol):
    """Between running code and its worker."""

    def report(self, fraction: float, message: str | None, stage: str | None) -> None:
        """Tell the worker how far it is."""

    def stop(self) -> Stop | None:
        """Why the code should end, once it should."""


class JobContext:
    """Given to each attempt. ``attempt`` counts from 1."""

    def __init__(self, job_id: str, kind: str, attempt: int, link: Link) -> None:
        self.job_id = job_id
        self.kind = kind
        self.attempt = attempt
        self.log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("tidings.jobs").bind(
            jobId=job_id, kind=kind, attempt=attempt
        )
        self._link = link

    @property
    def cancelled(self) -> bool:
        """Whether the attempt should end, for code that has something to put away first."""
        return self._link.stop() is not None

    def progress(self, fraction: float, message: str | None = None, *, stage: str | None = None) -> None:
        """Tell the job's user how far it is, 0 to 1, and end here if the attempt should.

        Cheap: of reports in quick succession only the newest is told. ``stage`` stays until another is given.

        Raises:
            ValueError: the fraction is not within 0 and 1.
            JobStopped: the job was cancelled (``JobCancelled``), ran for too long (``JobTimedOut``), or goes
                on elsewhere. Let it through.
        """
        if not 0 <= fraction <= 1:  # NaN is not, either
            raise ValueError("progress is a fraction, 0 to 1")
        stop = self._link.stop()
        if stop is not None:
            raise stop.exception()
        self._link.report(
            float(fraction),
            None if message is None else shown(message),
            None if stage is None else shown(stage, STAGE_MAX),
        )


def shown(text: str, limit: int = MESSAGE_MAX) -> str:
    """A text as every database and every client can take it: no NUL, no lone surrogate, not endless."""
    return text[:limit].replace("\0", "�").encode(errors="replace").decode()
