"""``tidings serve --workers N``, as the supervisor: the port and the directory of the workers, and their command."""

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tidings.crew.listeners import bind
from tidings.crew.metrics import summed
from tidings.crew.port import on_port
from tidings.crew.supervisor import Supervisor
from tidings.domain.crew import Crew
from tidings.settings import Settings

_MARGIN_SECONDS = 12.0
_LONGEST_SECONDS = 28.0
"""The whole has to end within 30 s of SIGTERM (contract, section 9)."""


def stop_seconds(settings: Settings) -> float:
    """How long a worker may take to end, drain included, before it is killed."""
    return min(settings.drain_seconds + _MARGIN_SECONDS, _LONGEST_SECONDS)


def supervise(settings: Settings, given: Mapping[str, object], ready: Callable[[int], None]) -> int:
    """Serve with several processes until a signal comes, and return the exit code; ``ready`` is told the port.

    ``given`` are settings from the command line: the workers read them where the rest comes from, in the
    environment.

    Raises:
        OSError: the port, the metrics' port or the directory cannot be had, or no process can be started.
    """
    os.environ |= {
        f"TIDINGS_{name.upper()}": str(value) for name, value in given.items() if value is not None
    }
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="tidings-", ignore_cleanup_errors=True))
        )
        listeners = [
            stack.enter_context(listener) for listener in bind(settings.host, settings.port, settings.workers)
        ]
        if settings.metrics_port is not None:
            registry = summed(Crew(0, settings.workers, folder))
            stack.enter_context(
                on_port(settings.host, settings.metrics_port, registry, settings.metrics_token)
            )
        supervisor = Supervisor(_command(folder, listeners), listeners, stop_seconds(settings))
        port = listeners[0].getsockname()[1]
        return asyncio.run(supervisor.run(lambda: ready(port)))


def _command(folder: Path, listeners: Sequence[socket.socket]) -> Callable[[int, int], Sequence[str]]:
    """The command of a worker. ``-P``: as for the installed command, modules of the directory we are in do not count."""
    inherited = [str(listener.fileno()) for listener in listeners]
    program = [sys.executable, "-P", "-m", "tidings.cli.member"]
    return lambda number, lifeline: [*program, str(number), str(folder), str(lifeline), *inherited]
