"""``tidings serve``: one node, from its settings to its exit code. What it serves is put together by ``app``.

With several workers this process serves nothing: it is the supervisor of ``supervise``, and each worker is the
program in ``member``.
"""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import typer

from tidings.cli import configuration, demo, kinds
from tidings.cli.database import opened
from tidings.cli.exits import Exit, Failure
from tidings.settings import Algorithm, Settings, jwt_secret

if TYPE_CHECKING:
    from tidings.app import Node
    from tidings.domain.crew import Crew


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; default TIDINGS_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port, 0 for any free one; default TIDINGS_PORT.")] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Server processes; more than one needs a Redis broker.")
    ] = None,
    app: kinds.App = None,
    *,
    worker: Annotated[
        bool | None,
        typer.Option("--with-worker/--no-worker", help="Run jobs in this process; default: without Redis."),
    ] = None,
) -> None:
    """Serve Socket.IO, SSE and REST until Ctrl-C or SIGTERM."""
    given = {"host": host, "port": port, "workers": workers, "worker": worker, "app": kinds.named(app)}
    settings = configuration.load(**given)
    _check_address(settings)
    log_to_stdout(settings)
    keep_files_private()
    # What follows takes long to import, and only this command needs it.
    if settings.workers > 1:
        from tidings.cli.supervise import supervise

        visitors = asyncio.run(_prepare(settings))
        raise typer.Exit(supervise(settings, given, lambda port: _announce(settings, port, visitors)))
    import uvloop

    uvloop.run(_serve(settings))


def keep_files_private() -> None:
    """What is written from now on is for this user alone: the database, artifacts, sockets, the files of jobs."""
    os.umask(0o077)


def log_to_stdout(settings: Settings) -> None:
    """JSON lines, or in colours for who develops at a terminal."""
    from tidings import log

    level = "DEBUG" if settings.debug else settings.log_level
    log.configure(level=level, for_people=sys.stdout.isatty() and not settings.production)


@contextlib.asynccontextmanager
async def node(settings: Settings, crew: "Crew | None" = None) -> AsyncIterator["Node"]:
    """A node that is started, and yet has to listen.

    Raises:
        Failure: CONFIG, these settings make no node or a module of ``--app`` cannot be imported; SYSTEM, the
            address was taken meanwhile.
    """
    from tidings.app import Node

    kinds.load(settings.app)
    try:
        made = Node(settings, crew)
    except (ValueError, OSError) as fault:
        raise Failure(
            Exit.CONFIG, f"TIDINGS_BROKER_URL, TIDINGS_JWT_PUBLIC_KEY, TIDINGS_JWT_SECRET: {fault}"
        ) from None
    try:
        async with made:
            yield made
    except SystemExit:
        # The address was taken since it was looked at; uvicorn has logged how, and left.
        raise Failure(Exit.SYSTEM, f"cannot listen on {configuration.address(settings)}") from None


async def _serve(settings: Settings) -> None:
    from tidings.transports.last_resort import LastResort

    visitors = await _prepare(settings)
    async with node(settings) as started:
        await started.serve(lambda port: _announce(settings, port, visitors), last_resort=LastResort())


async def _prepare(settings: Settings) -> tuple[demo.Visitor, ...]:
    """What several processes must not do at once: migrate SQLite, make the secret and the demo's users."""
    async with opened(settings) as database:
        if settings.jwt_algorithm is Algorithm.HS256:
            jwt_secret(settings)
        return await demo.prepare(database, settings) if demo.wanted(settings) else ()


def _announce(settings: Settings, port: int, visitors: tuple[demo.Visitor, ...]) -> None:
    from tidings import log

    url = configuration.address(settings, port)
    log.get("tidings").info("listening", url=url)
    if visitors:
        typer.echo(demo.banner(visitors, url))


def _check_address(settings: Settings) -> None:
    """Look before anything is started: a second server by mistake must not touch the first one's jobs."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as fault:
        # Python adds the address to the system's words, in brackets; it is said once.
        reason = str(fault.strerror or fault).partition(" (")[0]
        raise Failure(Exit.SYSTEM, f"cannot listen on {configuration.address(settings)}: {reason}") from None
