"""Following a job to its end, through as many streams as it takes.

A stream that breaks is opened again with ``Last-Event-ID``, later and later, so that a restart of the server is
hardly noticed. It shows nothing and decides nothing about what it passes on.
"""

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

from tidings.cli.events import Parser
from tidings.cli.exits import Exit, Failure
from tidings.cli.remote import Remote, segment
from tidings.domain import strictjson
from tidings.domain.job import TERMINAL_TYPE

Line = dict[str, Any]
"""One event as the server wrote it (contract, section 5)."""
Say = Callable[[str], None]
"""Tells the person at the terminal something."""
Follow = Callable[[Say], Iterator[Line]]
"""``follow`` of one job."""

TERMINAL = frozenset(kind.value for kind in TERMINAL_TYPE.values())
MOST_FAILURES = 60
"""So many attempts to connect in a row, some four minutes of them, and the server counts as gone."""

_PASSING = frozenset({Exit.UNAVAILABLE, Exit.TRY_LATER, Exit.PROTOCOL})
_FIRST_WAIT = 0.25
_LONGEST_WAIT = 5.0
_NO_CONTENT = 204


def follow(
    remote: Remote, job_id: str, say: Say, *, pause: Callable[[float], None] = time.sleep
) -> Iterator[Line]:
    """The job's events, each once, the terminal one last. ``pause`` waits for that many seconds.

    ``say`` is told when the server does not answer, and when it does again.

    Raises:
        Failure: as the server refuses. What may pass is borne with once there has been an event.
    """
    last_id, failures, retry, away = "", 0, _FIRST_WAIT, False
    while True:
        parser = Parser()
        try:
            with remote.stream(f"/jobs/{segment(job_id)}/events", last_id) as answer:
                if answer.status_code == _NO_CONTENT:
                    # All was seen before: without a place to resume at, the server tells how it ended.
                    last_id = ""
                for chunk in answer.iter_bytes():
                    for event in parser.feed(chunk):
                        last_id, failures = event.id or last_id, 0
                        if away:
                            away = False
                            say("The server answers again.")
                        line = _line(event.data)
                        yield line
                        if line.get("type") in TERMINAL:
                            return
        except Failure as fault:
            if not last_id or fault.end not in _PASSING or failures >= MOST_FAILURES:
                raise
            if not away:
                away = True
                say("The server does not answer: trying again.")
        failures += 1
        retry = retry if parser.retry is None else parser.retry / 1000
        pause(wait(failures, retry))


def wait(failures: int, retry: float) -> float:
    """Seconds until the next attempt: doubling from ``retry``, up to a limit, with jitter against herds."""
    return min(_LONGEST_WAIT, retry * 2.0 ** min(failures - 1, 10)) * random.uniform(0.5, 1)  # noqa: S311  no secret


def _line(data: str) -> Line:
    try:
        line = strictjson.loads(data)
    except strictjson.MalformedJson:
        line = None
    if not isinstance(line, dict):
        raise Failure(Exit.PROTOCOL, "the stream's events are not those of a Tidings server")
    return line
