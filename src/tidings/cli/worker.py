"""``tidings worker``: a process that runs jobs and nothing else, beside servers on the same database and Redis."""

from typing import Annotated

import typer

from tidings.cli import configuration, kinds
from tidings.cli.database import opened
from tidings.cli.exits import Exit, Failure
from tidings.cli.serve import keep_files_private, log_to_stdout
from tidings.settings import Settings


def worker(
    app: kinds.App = None,
    concurrency: Annotated[
        int | None, typer.Option(metavar="N", help="Jobs at once; default TIDINGS_JOB_CONCURRENCY.")
    ] = None,
) -> None:
    """Run jobs until Ctrl-C or SIGTERM."""
    settings = configuration.load(app=kinds.named(app), job_concurrency=concurrency, worker=True)
    if settings.embedded_broker:
        raise Failure(
            Exit.CONFIG,
            "TIDINGS_BROKER_URL: on the in-process broker `tidings serve` runs jobs itself; "
            "a worker of its own needs a Redis that it shares with the servers",
        )
    kinds.load(settings.app)
    log_to_stdout(settings)
    keep_files_private()
    # What follows takes long to import, and few commands need it.
    import uvloop

    uvloop.run(_work(settings))


async def _work(settings: Settings) -> None:
    from tidings import log
    from tidings.jobs.kinds import REGISTRY
    from tidings.workplace import Workplace

    async with opened(settings):
        pass  # it has the tables of this version
    try:
        workplace = Workplace(settings)
    except ValueError as fault:
        raise Failure(Exit.CONFIG, f"TIDINGS_BROKER_URL: {fault}") from None
    known = sorted(kind.name for kind in REGISTRY)
    if not known:
        raise Failure(Exit.CONFIG, "TIDINGS_APP: there are no job kinds to run: name your module with --app")

    def ready() -> None:
        log.get("tidings").info("working", kinds=known, concurrency=settings.job_concurrency)

    async with workplace:
        await workplace.work(ready)
    log.get("tidings").info("stopped")
