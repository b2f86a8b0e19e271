"""``tidings jobs``: hand a job to a running server, and watch one to its end."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from tidings.cli import output
from tidings.cli.exits import Exit, Failure
from tidings.cli.follow import Line, follow
from tidings.cli.remote import Remote, at_server
from tidings.domain import strictjson
from tidings.domain.job import JobEventType, JobPriority

_ENDS = {
    JobEventType.COMPLETED: Exit.OK,
    JobEventType.FAILED: Exit.JOB_FAILED,
    JobEventType.CANCELLED: Exit.JOB_CANCELLED,
}

app = typer.Typer(help="Jobs of a running server.", no_args_is_help=True)


@app.command()
@at_server
def run(
    remote: Remote,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="What kind of job, such as demo.steps.")],
    payload: Annotated[str, typer.Option(metavar="JSON|@FILE|-", help="Its input; - reads stdin.")] = "{}",
    priority: Annotated[JobPriority, typer.Option(help="pro goes first.")] = JobPriority.STANDARD,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and show its progress to the end.")] = False,
    json: output.Json = False,
) -> None:
    """Hand in a job."""
    job = remote.post("/jobs", {"kind": kind, "payload": _payload(payload), "priority": priority})
    if json:
        output.result_json(job)
    else:
        output.result(str(job["id"]))
    if watch:
        _watch(remote, str(job["id"]), json=json)


@app.command("watch")
@at_server
def watch_job(
    remote: Remote,
    job_id: Annotated[str, typer.Argument(metavar="JOB_ID", help="The job, which has to be one's own.")],
    *,
    json: output.Json = False,
) -> None:
    """Show a job's progress until it ends. A restart of the server in between does no harm."""
    _watch(remote, job_id, json=json)


def _payload(given: str) -> Any:
    """The JSON that the option names.

    Raises:
        Failure: NOT_FOUND, there is no such file; REFUSED, it is no JSON.
    """
    try:
        return strictjson.loads(_text(given))
    except strictjson.MalformedJson as fault:
        raise Failure(Exit.REFUSED, f"--payload: {fault}") from None


def _text(given: str) -> bytes | str:
    if given == "-":
        return sys.stdin.buffer.read()
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_bytes()
    except OSError as fault:
        raise Failure(Exit.NOT_FOUND, f"--payload: {given[1:]}: {fault.strerror}") from None


def _watch(remote: Remote, job_id: str, *, json: bool) -> None:
    """Show the events, then end as the job did."""
    try:
        last = _print(follow(remote, job_id)) if json else _draw(follow(remote, job_id))
    except KeyboardInterrupt:
        output.aside(f"The job goes on. To see the rest: tidings jobs watch {job_id}")
        raise typer.Exit(Exit.INTERRUPTED.number) from None
    raise typer.Exit(_ENDS[JobEventType(last["type"])].number)


def _print(lines: Iterator[Line]) -> Line:
    last: Line = {}
    for last in lines:
        output.result_json(last)
    return last


def _draw(lines: Iterator[Line]) -> Line:
    # Rich takes long to import, and JSON lines do without it.
    from tidings.cli.progress import draw

    last = draw(lines)
    message = output.plain(str(last.get("message") or ""))
    output.result(f"{last['status']}: {message}" if message else str(last["status"]))
    return last
