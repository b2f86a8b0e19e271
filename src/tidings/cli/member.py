"""The program of one worker of ``tidings serve --workers N``. Its supervisor starts it; people never do.

Its words are those that ``supervise`` writes. Settings come from the environment, as the supervisor's did.
"""

import signal
import socket
import sys
from pathlib import Path

import structlog
import typer
import uvloop

from tidings.cli import configuration, serve
from tidings.cli.main import told
from tidings.crew.lifeline import Lifeline
from tidings.domain.crew import Crew
from tidings.settings import Settings
from tidings.transports.last_resort import LastResort
from tidings.transports.server import STOP_SECONDS, Berth


def main() -> None:
    """Serve to the end, and leave with one of the exit codes of ``exits``."""
    # A closed terminal is the supervisor's business.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    number, directory, lifeline, *listeners = sys.argv[1:]
    crew = Crew(int(number), len(listeners), Path(directory))
    inherited = [socket.socket(fileno=int(descriptor)) for descriptor in listeners]
    for sock in inherited:
        sock.set_inheritable(False)
    try:
        with told():
            settings = configuration.load()
            serve.log_to_stdout(settings)
            structlog.contextvars.bind_contextvars(worker=crew.number)
            uvloop.run(_serve(settings, crew, inherited, _lifeline(int(lifeline), crew)))
    except typer.Exit as end:
        sys.exit(end.exit_code)


def _lifeline(descriptor: int, crew: Crew) -> Lifeline:
    last_resort = LastResort()
    return Lifeline(socket.socket(fileno=descriptor), crew, lambda: last_resort.within(STOP_SECONDS))


async def _serve(settings: Settings, crew: Crew, listeners: list[socket.socket], lifeline: Lifeline) -> None:
    try:
        async with serve.node(settings, crew) as node:
            berth = Berth(listeners, crew.number, lifeline.steering, lifeline.departing)
            await node.serve(lambda _: lifeline.ready(), berth)
    finally:
        lifeline.tidy()


if __name__ == "__main__":
    main()
