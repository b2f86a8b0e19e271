"""A job's events as a person likes to see them: one bar that fills, with stage, attempt and message."""

from functools import partial
from itertools import chain
from typing import Any

from tidings.cli import output
from tidings.cli.follow import Follow, Line


def draw(follow: Follow) -> Line:
    """Draw each event on standard error as it comes, and above it what is said; the last event.

    Off a terminal only the last is drawn.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.fields[stage]}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%", markup=False),
        TextColumn("{task.fields[attempt]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("{task.fields[message]}", markup=False),
    )
    console = Console(stderr=True)
    # Whether the server answers at all is known with the first event: until then there is nothing to draw.
    lines = follow(partial(console.print, markup=False, highlight=False))
    last = first = next(lines)
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=1.0, **_fields(first))
        for last in chain((first,), lines):
            progress.update(task, completed=float(last.get("progress") or 0.0), **_fields(last))
    return last


def _fields(line: Line) -> dict[str, Any]:
    attempt = line.get("attempt") or 0
    return {
        "stage": output.plain(str(line.get("stage") or line.get("status") or "waiting")),
        "attempt": f"attempt {attempt}" if attempt > 1 else "",
        "message": output.plain(str(line.get("message") or "")),
    }
