"""What a pool and its child processes say to each other: messages, and their form on the wire.

A message is a JSON array of its name and its fields, after its length as four bytes. No pickle: neither side
can make the other run anything but a named function with a JSON payload. No I/O here.
"""

import struct
from dataclasses import dataclass
from typing import Any

import orjson

from tidings.jobs.children import Wish
from tidings.jobs.context import Stop
from tidings.jobs.outcome import Done, Failed, Stopped, Waits

_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Setup:
    """To a new child: where to find modules, which to import before the first job, what is worth a line, and
    a directory for files that are handed over.
    """

    path: list[str]
    log_level: int
    modules: list[str]
    scratch: str


@dataclass(frozen=True, slots=True)
class Run:
    """To an idle child: one attempt of ``target``, which is ``module:name``. ``memory`` is ``Memory`` as JSON."""

    job_id: str
    kind: str
    attempt: int
    target: str
    payload: dict[str, Any]
    memory: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StopNow:
    """To a busy child: what it runs should end. To one that has just finished: nothing."""

    why: Stop


@dataclass(frozen=True, slots=True)
class Ready:
    """From a child: it has done its set-up."""


@dataclass(frozen=True, slots=True)
class Report:
    """From a child: how far the attempt is."""

    fraction: float
    message: str | None
    stage: str | None


@dataclass(frozen=True, slots=True)
class Attach:
    """From a child, which waits for ``Attached``: the file at ``path`` is an artifact of the job."""

    name: str
    path: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Attached:
    """To a waiting child: the artifact is stored; or not, and then ``code`` says why, or ``stopped``."""

    code: str | None = None
    message: str = ""
    retry: bool = True
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """From a child: a line for the log, which the parent writes. ``level`` is the standard library's number."""

    level: int
    logger: str
    event: str
    fields: dict[str, Any]


Message = Setup | Run | StopNow | Attached | Ready | Report | Attach | Line | Done | Failed | Stopped | Waits
_TYPES: dict[str, type[Message]] = {
    each.__name__: each
    for each in (Setup, Run, StopNow, Attached, Ready, Report, Attach, Line, Done, Failed, Stopped, Waits)
}


def encode(message: Message) -> bytes:
    """The message's frame. What JSON does not know (in a log line) is written as its ``repr``."""
    body = orjson.dumps([type(message).__name__, message], default=repr, option=orjson.OPT_NON_STR_KEYS)
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Messages out of a stream of bytes that comes in pieces of any size."""

    def __init__(self) -> None:
        self._unread = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Take what came; give the messages that it completes."""
        self._unread += data
        messages: list[Message] = []
        while len(self._unread) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._unread)
            end = _LENGTH.size + length
            if len(self._unread) < end:
                break
            name, fields = orjson.loads(self._unread[_LENGTH.size : end])
            del self._unread[:end]
            messages.append(_message(name, fields))
        return messages


def _message(name: str, fields: dict[str, Any]) -> Message:
    if name == Waits.__name__:
        return Waits(tuple(Wish(**wish) for wish in fields["wishes"]), fields["until"])
    return _TYPES[name](**fields)
