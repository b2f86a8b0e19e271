"""``tidings jobs``: hand jobs to a running server, look at them, steer them, and watch one to its end."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from tidings.cli import output
from tidings.cli.bulk import each, sure
from tidings.cli.exits import Exit, Failure
from tidings.cli.follow import Follow, Line, follow
from tidings.cli.remote import Remote, at_server, segment
from tidings.domain import strictjson
from tidings.domain.job import JobEventType, JobPriority, JobStatus

_ENDS = {
    JobEventType.COMPLETED: Exit.OK,
    JobEventType.FAILED: Exit.JOB_FAILED,
    JobEventType.CANCELLED: Exit.JOB_CANCELLED,
}
_SHOWN = 50
_MOST_SHOWN = 100_000

JobId = Annotated[str, typer.Argument(metavar="JOB_ID", help="The job, which has to be one's own.")]
JobIds = Annotated[list[str], typer.Argument(metavar="JOB_ID...", help="The jobs.")]
NoneOrJobIds = Annotated[list[str] | None, typer.Argument(metavar="[JOB_ID...]", help="The jobs.")]
OfKind = Annotated[str | None, typer.Option(help="Only jobs of this kind.")]

app = typer.Typer(help="Jobs of a running server.", no_args_is_help=True)


@app.command()
@at_server
def run(
    remote: Remote,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="What kind of job, such as demo.steps.")],
    payload: Annotated[str, typer.Option(metavar="JSON|@FILE|-", help="Its input; - reads stdin.")] = "{}",
    priority: Annotated[JobPriority, typer.Option(help="pro goes first.")] = JobPriority.STANDARD,
    delay: Annotated[float | None, typer.Option(metavar="SECONDS", help="Not before so long.")] = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and show its progress to the end.")] = False,
    json: output.Json = False,
) -> None:
    """Hand in a job."""
    body = {"kind": kind, "payload": _payload(payload), "priority": priority}
    if delay is not None:
        body["delaySeconds"] = delay
    job = remote.post("/jobs", body)
    if json:
        output.result_json(job)
    else:
        output.result(str(job["id"]))
        if "reporterToken" in job:
            output.aside(f"Its reporter's token, which is not shown again: {job['reporterToken']}")
    if watch:
        _watch(remote, str(job["id"]), json=json)


@app.command("list")
@at_server
def list_jobs(
    remote: Remote,
    status: Annotated[JobStatus | None, typer.Option(help="Only jobs that stand like this.")] = None,
    kind: OfKind = None,
    limit: Annotated[int, typer.Option(help="So many at most.", min=1, max=_MOST_SHOWN)] = _SHOWN,
    *,
    json: output.Json = False,
) -> None:
    """List one's jobs, the newest first."""
    for job in remote.items("/jobs", limit, status=status, kind=kind):
        if json:
            output.result_json(job)
        else:
            output.result(_line(job))


@app.command()
@at_server
def show(remote: Remote, job_id: JobId, *, json: output.Json = False) -> None:
    """Show all there is to know of a job."""
    job = remote.get(f"/jobs/{segment(job_id)}")
    if json:
        output.result_json(job)
        return
    for name, value in job.items():
        if value not in (None, []):
            output.result(f"{name:<12} {_text_of(value)}")


@app.command("watch")
@at_server
def watch_job(remote: Remote, job_id: JobId, *, json: output.Json = False) -> None:
    """Show a job's progress until it ends. A restart of the server in between does no harm."""
    _watch(remote, job_id, json=json)


@app.command()
@at_server
def cancel(remote: Remote, job_ids: JobIds, *, json: output.Json = False) -> None:
    """Cancel jobs. One that runs is ended at its next progress report, or by force after a while."""
    each(job_ids, lambda job_id: _said(remote.post(f"/jobs/{segment(job_id)}/cancel", {}), json=json))


@app.command()
@at_server
def retry(
    remote: Remote,
    job_ids: NoneOrJobIds = None,
    kind: OfKind = None,
    *,
    all_failed: Annotated[
        bool, typer.Option("--all-failed", help="Every job that failed and is nobody's child.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
    json: output.Json = False,
) -> None:
    """Run failed or cancelled jobs again."""
    if bool(job_ids) is all_failed:
        raise Failure(Exit.USAGE, "name jobs, or say --all-failed")
    if kind is not None and not all_failed:
        raise Failure(Exit.USAGE, "--kind is for --all-failed")
    chosen = job_ids or _failed(remote, kind)
    if not chosen:
        output.aside("No job has failed.")
        return
    if all_failed and not yes and not sure(f"Run {len(chosen)} failed jobs again?"):
        output.aside("Nothing was done.")
        return
    each(chosen, lambda job_id: _said(remote.post(f"/jobs/{segment(job_id)}/retry", {}), json=json))


def _failed(remote: Remote, kind: str | None) -> list[str]:
    """A failed child is its parent's, which begins it anew."""
    found = remote.items("/jobs", _MOST_SHOWN, status=JobStatus.FAILED, kind=kind)
    return [str(job["id"]) for job in found if job.get("parentId") is None]


def _said(job: dict[str, Any], *, json: bool) -> None:
    if json:
        output.result_json(job)
    else:
        output.result(_line(job))


def _line(job: dict[str, Any]) -> str:
    """A job in one line."""
    progress = f"{float(job.get('progress') or 0.0):.0%}"
    line = f"{job['id']}  {job['status']:<9}  {progress:>4}  {job.get('createdAt', '')}  {job['kind']}"
    error = job.get("error")
    return output.plain(f"{line}  {error['code']}: {error['message']}" if error else line)


def _text_of(value: object) -> str:
    """A field of a job as text; whatever has parts as JSON."""
    return output.plain(value if isinstance(value, str) else strictjson.dumps(value).decode())


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
    lines = partial(follow, remote, job_id)
    try:
        last = _print(lines(output.aside)) if json else _draw(lines)
    except KeyboardInterrupt:
        output.aside(f"The job goes on. To see the rest: tidings jobs watch {job_id}")
        raise typer.Exit(Exit.INTERRUPTED.number) from None
    raise typer.Exit(_ENDS[JobEventType(last["type"])].number)


def _print(lines: Iterator[Line]) -> Line:
    last: Line = {}
    for last in lines:
        output.result_json(last)
    return last


def _draw(lines: Follow) -> Line:
    # Rich takes long to import, and JSON lines do without it.
    from tidings.cli.progress import draw

    last = draw(lines)
    message = output.plain(str(last.get("message") or ""))
    output.result(f"{last['status']}: {message}" if message else str(last["status"]))
    return last
