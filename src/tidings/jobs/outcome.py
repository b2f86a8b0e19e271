"""How one attempt can end (its outcome, wherever it ran), and what that makes of the job (its verdict)."""

import traceback
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from tidings.domain import strictjson
from tidings.domain.strictjson import MalformedJson
from tidings.jobs.children import Wish
from tidings.jobs.context import JobFailed, JobStopped, JobWaits, shown

RESULT_MAX_BYTES = 1024 * 1024
"""Of a result as compact JSON: it is kept in the job's row and sent whenever the job is asked for."""

RESULT_MAX_DEPTH = strictjson.MAX_DEPTH
"""What a client may send is also the most that it is sent: a result can be the next job's payload."""

RESULT_REFUSED = "RESULT_REFUSED"
FAILED = "JOB_FAILED"
FAILED_MESSAGE = "The job failed"
_DETAIL_MAX = 16_000


@dataclass(frozen=True, slots=True)
class Done:
    """``result`` is a JSON value."""

    result: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """``code`` and ``message`` are for the job's user, ``detail`` for the log alone."""

    code: str = FAILED
    message: str = FAILED_MESSAGE
    retry: bool = True
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Stopped:
    """It ended because it was asked to."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Its process died under it. ``detail`` is for the log."""

    detail: str


@dataclass(frozen=True, slots=True)
class Waits:
    """It goes on when its children are over. ``wishes`` are those that are still to be made.

    While they run, progress goes from where it is to ``until``.
    """

    wishes: tuple[Wish, ...] = ()
    until: float = 1.0


Outcome = Done | Failed | Stopped | Lost | Waits


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Its user wanted no more of it."""


@dataclass(frozen=True, slots=True)
class HandedBack:
    """Its worker is going away; another one is to begin it anew."""


Verdict = Done | Failed | Cancelled | HandedBack | Waits

TIMED_OUT = Failed("TIMEOUT", "The job ran for too long")
WORKER_LOST = Failed("WORKER_LOST", "The worker that ran the job was lost")


def done(result: object) -> Done | Failed:
    """What a job returned, as the JSON value it will be read as. What is none fails for good: so would the next."""
    try:
        text = orjson.dumps(result, default=_model)
    except TypeError as fault:
        return _refused("The job's result is no JSON value", _trace(fault))
    if len(text) > RESULT_MAX_BYTES:
        return _refused(f"The job's result is over {RESULT_MAX_BYTES} bytes")
    try:
        strictjson.check_depth(text.decode(), RESULT_MAX_DEPTH)
    except MalformedJson:
        return _refused(f"The job's result is nested deeper than {RESULT_MAX_DEPTH} levels")
    return Done(orjson.loads(text))


def fallen(fault: BaseException) -> Failed | Stopped | Waits:
    """What an exception that left a job's code means. Its text is shown only if it was raised to be.

    Of a group, as a ``TaskGroup`` raises it, the plainest word counts: that the job waits or stops, then why it
    fails on purpose. The last wait to be raised knows of all children that were asked for.
    """
    single = tuple(_singles(fault))
    waits = [each for each in single if isinstance(each, JobWaits)]
    if waits:
        last = max(waits, key=lambda each: len(each.wishes))
        return Waits(last.wishes, last.until)
    if any(isinstance(each, JobStopped) for each in single):
        return Stopped()
    failed = next((each for each in single if isinstance(each, JobFailed)), None)
    if failed is not None:
        return Failed(failed.code, failed.message, failed.retry)
    return Failed(detail=_trace(fault))


def _singles(fault: BaseException) -> Iterator[BaseException]:
    """The exceptions that a group consists of, however deep, in order; of a single one itself."""
    left = deque([fault])
    while left:
        each = left.popleft()
        if isinstance(each, BaseExceptionGroup):
            left.extendleft(reversed(each.exceptions))
        else:
            yield each


def _refused(message: str, detail: str | None = None) -> Failed:
    return Failed(RESULT_REFUSED, message, retry=False, detail=detail)


def _trace(fault: BaseException) -> str:
    return shown("".join(traceback.format_exception(fault))[-_DETAIL_MAX:], _DETAIL_MAX)


def _model(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"a result holds a {type(value).__name__}, which is no JSON value")
    return dump(mode="json")
