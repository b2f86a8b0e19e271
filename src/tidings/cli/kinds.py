"""Loading the job kinds of the user's own modules, and telling plainly what is wrong with one.

A kind becomes known when its module is imported, so importing is all there is to it.
"""

import importlib
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

import tidings
from tidings.cli import output
from tidings.cli.exits import Exit, Failure

App = Annotated[
    list[str] | None,
    typer.Option(
        "--app", metavar="MODULE", help="A module with job kinds; may be repeated. Also TIDINGS_APP."
    ),
]

_OURS = str(Path(tidings.__file__).parent)


def named(modules: Sequence[str] | None) -> str | None:
    """What was given as ``App``, as the setting has it."""
    return ",".join(modules) if modules else None


def load(modules: Sequence[str]) -> None:
    """Import the modules, from the current directory too.

    Raises:
        Failure: CONFIG, one cannot be imported; the message says where and why.
    """
    here = str(Path.cwd())
    if modules and here not in sys.path:
        # Last: what happens to lie here takes no library's place.
        sys.path.append(here)
    for module in modules:
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as fault:  # noqa: BLE001 - whatever the user's code raises
            raise Failure(Exit.CONFIG, f"--app {module}: {_told(module, fault)}") from None


def _told(module: str, fault: BaseException) -> str:
    if isinstance(fault, ModuleNotFoundError) and _is_part(fault.name or "", module):
        return (
            f"there is no module {fault.name}, neither in {Path.cwd()} nor where Python finds its libraries"
        )
    reason = output.plain("".join(traceback.format_exception_only(fault)).strip().splitlines()[-1])
    where = _where(fault)
    return f"{where}: {reason}" if where else reason


def _is_part(name: str, module: str) -> bool:
    """Whether it is the module itself, or a package that it should be in."""
    return module == name or module.startswith(f"{name}.")


def _where(fault: BaseException) -> str:
    """The last line of the user's code before it went wrong."""
    if isinstance(fault, SyntaxError):
        return f"{fault.filename}, line {fault.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(fault.__traceback__)
        if not frame.filename.startswith((_OURS, "<frozen")) and "importlib" not in frame.filename
    ]
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else ""
