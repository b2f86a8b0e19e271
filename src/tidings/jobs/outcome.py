"""How one attempt can end (its outcome, wherever it ran), and what that makes of the job (its verdict)."""

import traceback
from dataclasses import dataclass
from typing import Any

import orjson

from tidings.jobs.children import Wish
from tidings.jobs.context import JobFailed, JobStopped, JobWaits

RESULT_MAX_BYTES = 1024 * 1024
"""Of a result as compact JSON: it is kept in the job's row and sent whenever the job is asked for."""

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


def done(result: object) -> Done:
    """What a job returned, as the JSON value it will be read as.

    Raises:
        TypeError: it is no JSON value.
        ValueError: it is too large.
    """
    text = orjson.dumps(result, default=_model)
    if len(text) > RESULT_MAX_BYTES:
        raise ValueError(f"a result of {len(text)} bytes, over {RESULT_MAX_BYTES}")
    return Done(orjson.loads(text))


def fallen(fault: BaseException) -> Failed | Stopped | Waits:
    """What an exception that left a job's code means. Its text is shown only if it was raised to be."""
    if isinstance(fault, JobWaits):
        return Waits(fault.wishes, fault.until)
    if isinstance(fault, JobStopped):
        return Stopped()
    if isinstance(fault, JobFailed):
        return Failed(fault.code, fault.message, fault.retry)
    return Failed(detail="".join(traceback.format_exception(fault))[-_DETAIL_MAX:])


def _model(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"a result holds a {type(value).__name__}, which is no JSON value")
    return dump(mode="json")
