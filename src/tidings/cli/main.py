"""The ``tidings`` command: every command by its name, and failures told in one line with an exit code.

A command's file is imported when the command is asked for, and imports in its turn what starts slowly (the
server, the HTTP client, the progress bar) where it is used.
"""

import contextlib
import gc
from collections.abc import Iterator, Mapping
from importlib import import_module, metadata
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from tidings.cli import output
from tidings.cli.exits import Exit, Failure, of_error
from tidings.domain.errors import TidingsError

_HOMES = {
    "serve": "serve:serve",
    "worker": "worker:worker",
    "migrate": "migrate:migrate",
    "token": "tokens:token",
    "users": "users:app",
    "notify": "notify:notify",
    "jobs": "jobs:app",
}
"""Each command, in the order of the help: its file here, and in it a function or a ``Typer`` of several."""


class _Shelf(Mapping[str, Any]):
    """The commands by name, each imported when it is taken."""

    def __getitem__(self, name: str) -> Any:
        file, _, member = _HOMES[name].partition(":")
        found = getattr(import_module(f"tidings.cli.{file}"), member)
        alone = typer.Typer(rich_markup_mode=None)
        if isinstance(found, typer.Typer):
            alone.add_typer(found, name=name)
        else:
            alone.command(name)(found)
        return typer.main.get_group(alone).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_HOMES)

    def __len__(self) -> int:
        return len(_HOMES)


class Commands(TyperGroup):
    """The group of all commands, where what they raise becomes a message and an exit code."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = cast("dict[str, Any]", _Shelf())  # nothing is ever put onto it

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


def _tell_version(wanted: bool) -> None:  # noqa: FBT001  as Typer calls it
    if wanted:
        output.result(f"tidings {metadata.version('tidings')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What can be asked without a command."""


def main() -> None:
    """Run the command line, and leave with one of the exit codes of ``exits``."""
    # What is imported stays: with CPython's defaults a tenth of a start goes into looking through it for garbage.
    gc.set_threshold(50_000, 20, 50)
    app(prog_name="tidings")
