"""What a job's code holds while it runs: ``JobContext``, and the exceptions it may meet or raise.

The same object serves async kinds on the event loop and plain functions in a process of their own; how its
reports travel is its ``Link``'s business. It imports neither a database nor an event loop, so that a module
with kinds is quick to import.
"""

import mimetypes
import re
from collections.abc import Awaitable, Mapping
from enum import StrEnum
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel

from tidings.artifacts.base import Source
from tidings.domain.job import ARTIFACT_NAME, MEDIA_TYPE
from tidings.jobs.children import NOTHING, Child, Children, Known, Memory, Wish

if TYPE_CHECKING:
    import structlog

MESSAGE_MAX = 1000
"""Code points of a message that are told; the rest is cut."""
STAGE_MAX = 100

_TYPES = mimetypes.MimeTypes()
"""The standard library's own, whatever the machine has besides."""
_ANY_TYPE = "application/octet-stream"
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


class JobStopped(BaseException):
    """The job must not go on here. No ``Exception``, so that ``except Exception`` in a job lets it through."""


class JobCancelled(JobStopped):
    """Its user cancelled it."""


class JobTimedOut(JobStopped):
    """The attempt ran for longer than its kind allows."""


class JobWaits(JobStopped):
    """It waits for its children, and is run again when they are over. Let it through."""

    def __init__(self, wishes: tuple[Wish, ...], until: float) -> None:
        super().__init__("waiting for children")
        self.wishes = wishes
        self.until = until


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


class ChildFailed(JobFailed):
    """A child failed or was cancelled. A parent that lets it through fails with it, for good: it was tried often.

    ``job_id`` is the child's, ``label`` what it is called, ``error_code`` what it failed with.
    """

    def __init__(self, child: Child, known: Known) -> None:
        super().__init__("CHILD_FAILED", f"{child.label}: {known.message or 'cancelled'}", retry=False)
        self.job_id = known.job_id
        self.label = child.label
        self.error_code = known.code


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

    def attach(self, name: str, source: Source, media_type: str) -> Awaitable[None]:
        """Have a file stored. In a process of its own it has been once this returns."""

    def stop(self) -> Stop | None:
        """Why the code should end, once it should."""


class JobContext:
    """Given to each attempt. ``attempt`` counts from 1."""

    def __init__(self, job_id: str, kind: str, attempt: int, link: Link, memory: Memory = NOTHING) -> None:
        self.job_id = job_id
        self.kind = kind
        self.attempt = attempt
        self._link = link
        self._children = Children(memory)
        self._told = memory.progress if memory.resumed else 0.0

    @cached_property
    def log(self) -> "structlog.stdlib.BoundLogger":
        """A logger that names the job in every line."""
        # It takes as long to import as all the rest of a module with kinds, on each start of the command line.
        import structlog

        logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("tidings.jobs")
        return logger.bind(jobId=self.job_id, kind=self.kind, attempt=self.attempt)

    @property
    def cancelled(self) -> bool:
        """Whether the attempt should end, for code that has something to put away first."""
        return self._link.stop() is not None

    def progress(self, fraction: float, message: str | None = None, *, stage: str | None = None) -> None:
        """Tell the job's user how far it is, 0 to 1, and end here if the attempt should.

        Cheap: of more than 50 a second, past the first 1,000, only the newest is told. ``stage`` stays until another is given.
        What was told before a wait is not told again after it.

        Raises:
            ValueError: the fraction is not within 0 and 1.
            JobStopped: the job was cancelled (``JobCancelled``), ran for too long (``JobTimedOut``), or goes
                on elsewhere. Let it through.
        """
        if not 0 <= fraction <= 1:  # NaN is not, either
            raise ValueError("progress is a fraction, 0 to 1")
        self._go_on()
        if fraction < self._told:
            return
        self._told = 0.0
        self._link.report(
            float(fraction),
            None if message is None else shown(message),
            None if stage is None else shown(stage, STAGE_MAX),
        )

    def artifact(
        self, name: str, source: PathLike[str] | bytes, media_type: str | None = None
    ) -> Awaitable[None]:
        """Store a file for the job's user: ``await`` it in async code; a plain function waits by itself.

        Then the file is there and has been told of. One of the same name is replaced, by a newer attempt too.
        Without ``media_type`` it is guessed from the name.

        Raises:
            ValueError: the name or the media type is none.
            FileNotFoundError: there is no such file.
            JobFailed: it is too large, there are too many, or it cannot be stored now.
            JobStopped: as ``progress``.
        """
        if ARTIFACT_NAME.fullmatch(name) is None:
            raise ValueError("an artifact's name is 1 to 100 of A-Z a-z 0-9 . _ -, the first no dot")
        kind = media_type or _TYPES.guess_type(name)[0] or _ANY_TYPE
        if MEDIA_TYPE.fullmatch(kind) is None:
            raise ValueError("no media type")
        if not isinstance(source, bytes):
            source = Path(source).resolve()
            source.stat()
        self._go_on()
        return self._link.attach(name, source, kind)

    def child(
        self,
        kind: str,
        payload: BaseModel | Mapping[str, Any] | None = None,
        *,
        weight: float = 1.0,
        name: str | None = None,
    ) -> Child:
        """Ask for a child job, which begins when this job waits for it in ``gather``.

        When the job goes on after a wait, its code runs from the beginning and asks again: the same ``name``
        (without one: the same place in the order), kind and payload is the same child. ``weight`` is its part
        of this job's progress.

        Raises:
            ValueError: too many, too deep, twice the same name, or asked for otherwise before the wait.
        """
        given = payload.model_dump(mode="json") if isinstance(payload, BaseModel) else dict(payload or {})
        return self._children.ask(kind, given, weight, name)

    def gather(self, *children: Child, until: float = 1.0, failures: bool = False) -> list[Any]:
        """What the children returned, in the order given, once all are over.

        As long as they are not, this raises: the job gives its place to others, and is run again when they
        are. Meanwhile its progress is theirs, from where it stands to ``until``. With ``failures`` a child
        that failed gives its ``ChildFailed`` in place of a result.

        Raises:
            ChildFailed: the first that failed or was cancelled.
            JobStopped: as ``progress``, or the job waits. Let it through.
        """
        if not 0 <= until <= 1:
            raise ValueError("until is a fraction, 0 to 1")
        known = [self._children.known(child) for child in children]
        over = [each for each in known if each is not None and each.over]
        if len(over) < len(children):
            self._go_on()
            raise JobWaits(self._children.wishes, until)
        results = [
            each.result if each.succeeded else ChildFailed(child, each)
            for child, each in zip(children, over, strict=True)
        ]
        failed = next((each for each in results if isinstance(each, ChildFailed)), None)
        if failed is not None and not failures:
            raise failed
        return results

    def _go_on(self) -> None:
        stop = self._link.stop()
        if stop is not None:
            raise stop.exception()


def shown(text: str, limit: int = MESSAGE_MAX) -> str:
    """A text as every database and every client can take it: no NUL, no lone surrogate, not endless."""
    return text[:limit].replace("\0", "�").encode(errors="replace").decode()
