"""Doing one thing to many: a question before it, patience with the server's rate limit, and an end for all."""

import sys
import time
from collections.abc import Callable, Iterable

import typer

from tidings.cli import output
from tidings.cli.exits import Exit, Failure

_OF_ONE = frozenset({Exit.NOT_FOUND, Exit.CONFLICT})
"""What concerns the one and not the next."""
_LONGEST_WAIT = 60.0


def each(
    names: Iterable[str], act: Callable[[str], None], *, pause: Callable[[float], None] = time.sleep
) -> None:
    """Do it to each, those after a refused one too; then end as the first refusal asks.

    ``pause`` waits for that many seconds, where the server says that it is too much at once.

    Raises:
        Failure: what would meet the next one as well.
        typer.Exit: some were refused, and it has been said of each.
    """
    first: Failure | None = None
    for name in names:
        try:
            _patiently(name, act, pause)
        except Failure as refusal:
            if refusal.end not in _OF_ONE:
                raise
            output.aside(f"tidings: {output.plain(name)}: {refusal}")
            first = first or refusal
    if first is not None:
        raise typer.Exit(first.end.number)


def sure(question: str) -> bool:
    """Ask whoever is at the terminal; everything but yes is no.

    Raises:
        Failure: USAGE, nobody is there to answer.
    """
    typer.echo(f"{question} [y/N] ", err=True, nl=False)
    answer = sys.stdin.readline()
    if not answer:
        raise Failure(Exit.USAGE, "nobody answers: say --yes")
    return answer.strip().lower() in {"y", "yes"}


def _patiently(name: str, act: Callable[[str], None], pause: Callable[[float], None]) -> None:
    while True:
        try:
            act(name)
        except Failure as refusal:
            if refusal.end is not Exit.TRY_LATER or refusal.retry_after is None:
                raise
            seconds = min(refusal.retry_after, _LONGEST_WAIT)
            output.aside(f"The server asks for a pause of {seconds:.0f} s.")
            pause(seconds)
        else:
            return
