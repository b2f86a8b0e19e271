"""``SystemExit`` and ``KeyboardInterrupt`` of a job's tasks, which would end the event loop and with it the server.

asyncio lets the two through whatever awaits the task, so they are caught below it: a task that a job's code
makes (in a ``TaskGroup``, by ``gather`` or ``create_task``) fails with ``Escaped`` in their place. Tasks of
everybody else's are left as they are, and so are callbacks that a job hands to the loop itself.
"""

import asyncio
from collections.abc import Coroutine, Generator
from contextvars import ContextVar
from typing import Any

_within = ContextVar("_within", default=False)
"""Whether the code that runs is a job's: tasks inherit it from those that make them."""


class Escaped(BaseException):
    """A task of a job's raised what ends programs."""


def contain(loop: asyncio.AbstractEventLoop) -> None:
    """Have the loop's tasks contained, unless somebody else makes its tasks."""
    if loop.get_task_factory() is None:
        loop.set_task_factory(_make)


def enter() -> None:
    """From here on this task, and whatever tasks it makes, are a job's."""
    _within.set(True)


def _make(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    **options: Any,
) -> asyncio.Task[Any]:
    if _within.get() and isinstance(work, Coroutine):
        work = _Contained(work)
    return asyncio.Task(work, loop=loop, **options)


class _Contained(Coroutine[Any, Any, Any]):
    """A coroutine that raises ``Escaped`` where the one within raises what ends programs."""

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self._work = work
        self.__qualname__ = getattr(work, "__qualname__", type(work).__qualname__)  # how a task is printed

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._work.__await__()

    def send(self, value: Any) -> Any:
        try:
            return self._work.send(value)
        except (SystemExit, KeyboardInterrupt) as fault:
            raise Escaped(type(fault).__name__) from fault

    def throw(self, *fault: Any) -> Any:
        try:
            return self._work.throw(*fault)
        except (SystemExit, KeyboardInterrupt) as escaping:
            raise Escaped(type(escaping).__name__) from escaping

    def close(self) -> None:
        self._work.close()
