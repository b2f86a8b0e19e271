"""The ``tidings`` command: every command by its name, and failures told in one line with an exit code.

A command's file imports what starts slowly (the server, the HTTP client, the progress bar) where it is used.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperGroup

from tidings.cli import jobs, migrate, notify, output, serve, tokens, users, worker
from tidings.cli.exits import Exit, Failure, of_error
from tidings.domain.errors import TidingsError


class Commands(TyperGroup):
    """The group of all commands, where what they raise becomes a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Typer's own name for the context's type is not public."""
        with told():
            return super().invoke(ctx)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Say what a command raises in one line, and end it.

    Raises:
        typer.Exit: with one of the exit codes of ``exits``.
    """
    try:
        yield
    except Failure as failure:
        raise _ended(failure) from None
    except TidingsError as error:
        raise _ended(of_error(error)) from None
    except BrokenPipeError:
        # Whoever read our output has seen enough; Typer ends quietly.
        raise
    except OSError as error:
        parts = ": ".join(part for part in (error.filename, error.strerror) if part)
        raise _ended(Failure(Exit.SYSTEM, parts or str(error))) from None


def _ended(failure: Failure) -> typer.Exit:
    output.aside(f"tidings: {failure}")
    return typer.Exit(failure.end.number)


app = typer.Typer(
    name="tidings",
    cls=Commands,
    help="Notifications and live job progress for multi-tenant applications.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(serve.serve)
app.command()(worker.worker)
app.command()(migrate.migrate)
app.command()(tokens.token)
app.add_typer(users.app, name="users")
app.command()(notify.notify)
app.add_typer(jobs.app, name="jobs")


def main() -> None:
    """Run the command line, and leave with one of the exit codes of ``exits``."""
    app(prog_name="tidings")
