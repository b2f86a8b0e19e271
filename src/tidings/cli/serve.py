"""``tidings serve``: one node, from its settings to its exit code. What it serves is put together by ``app``."""

import socket
import sys
from typing import Annotated

import typer

from tidings.cli import configuration, demo
from tidings.cli.database import opened
from tidings.cli.exits import Exit, Failure
from tidings.settings import Settings


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; default TIDINGS_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port, 0 for any free one; default TIDINGS_PORT.")] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Server processes; more than one needs a Redis broker.")
    ] = None,
    *,
    worker: Annotated[
        bool | None,
        typer.Option("--with-worker/--no-worker", help="Run jobs in this process; default: without Redis."),
    ] = None,
) -> None:
    """Serve Socket.IO, SSE and REST until Ctrl-C or SIGTERM."""
    settings = configuration.load(host=host, port=port, workers=workers, worker=worker)
    _check_workers(settings)
    _check_address(settings)
    # What follows takes long to import, and only this command needs it.
    import uvloop

    from tidings import log

    level = "DEBUG" if settings.debug else settings.log_level
    log.configure(level=level, for_people=sys.stdout.isatty() and not settings.production)
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    from tidings import log
    from tidings.app import Node

    async with opened(settings) as database:
        visitors = await demo.prepare(database, settings) if demo.wanted(settings) else ()

    def ready(port: int) -> None:
        url = configuration.address(settings, port)
        log.get("tidings").info("listening", url=url)
        if visitors:
            typer.echo(demo.banner(visitors, url))

    try:
        node = Node(settings)
    except (ValueError, OSError) as fault:
        raise Failure(
            Exit.CONFIG, f"TIDINGS_BROKER_URL, TIDINGS_JWT_PUBLIC_KEY, TIDINGS_JWT_SECRET: {fault}"
        ) from None
    try:
        async with node:
            await node.serve(ready)
    except SystemExit:
        # The address was taken since it was looked at; uvicorn has logged how, and left.
        raise Failure(Exit.SYSTEM, f"cannot listen on {configuration.address(settings)}") from None


def _check_workers(settings: Settings) -> None:
    if settings.workers > 1:
        raise Failure(
            Exit.CONFIG, "TIDINGS_WORKERS: this version serves one process each; start several on one Redis"
        )


def _check_address(settings: Settings) -> None:
    """Look before anything is started: a second server by mistake must not touch the first one's jobs."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as fault:
        # Python adds the address to the system's words, in brackets; it is said once.
        reason = str(fault.strerror or fault).partition(" (")[0]
        raise Failure(Exit.SYSTEM, f"cannot listen on {configuration.address(settings)}: {reason}") from None
