"""Kinds that have children or make artifacts, for the tests. Processes of the pool import this module too."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tests.support.job_kinds import KINDS, Nothing
from tidings.jobs.context import ChildFailed, JobContext, JobFailed

NOTES = b"notes\n" * 10


class Files(BaseModel):
    """Artifacts to make, by name and size."""

    model_config = ConfigDict(extra="forbid")

    files: dict[str, int]
    fail: bool = False


class Sum(BaseModel):
    """Numbers to add up, a child for each."""

    numbers: list[int]
    plain: bool = False
    deeper: int = 0


class Number(BaseModel):
    value: int
    deeper: int = 0


class Where(BaseModel):
    path: Path


class Brood(BaseModel):
    """Children to have, each a kind."""

    kinds: list[str]
    failures: bool = False


@KINDS.job("test.files", attempts=2)
async def files(ctx: JobContext, payload: Files) -> None:
    """Makes artifacts out of bytes."""
    for name, size in payload.files.items():
        await ctx.artifact(name, bytes([ctx.attempt]) * size)
    if payload.fail and ctx.attempt == 1:
        raise JobFailed("AGAIN", "Again")


@KINDS.job("test.files-plain")
def files_plain(ctx: JobContext, payload: Where) -> None:
    """Makes one out of a file and one out of bytes, in a process."""
    payload.path.write_bytes(NOTES)
    ctx.artifact("from-file.txt", payload.path)
    payload.path.unlink()
    ctx.artifact("from-bytes", NOTES, "text/x-notes; charset=utf-8")


@KINDS.job("test.same-file")
async def same_file(ctx: JobContext, payload: Nothing) -> None:
    """Makes the same one twice."""
    for _ in range(2):
        await ctx.artifact("same.txt", NOTES)


@KINDS.job("test.too-large-plain")
def too_large_plain(ctx: JobContext, payload: Nothing) -> str:
    """Asks for too much, in a process, and takes no for an answer."""
    try:
        ctx.artifact("large.bin", bytes(100_001))
    except JobFailed as refused:
        return refused.code
    return "taken"


@KINDS.job("test.square")
async def square(ctx: JobContext, payload: Number) -> int:
    """A child, with children of its own down to a depth."""
    ctx.progress(0.5, "half")
    if payload.deeper:
        (value,) = ctx.gather(
            ctx.child("test.square", Number(value=payload.value, deeper=payload.deeper - 1))
        )
        return int(value)
    return payload.value**2


@KINDS.job("test.square-plain")
def square_plain(ctx: JobContext, payload: Number) -> int:
    return payload.value**2


@KINDS.job("test.sum")
async def sum_(ctx: JobContext, payload: Sum) -> dict[str, Any]:
    """Adds up what its children return, and then once more."""
    ctx.progress(0.2, "begun", stage="asking")
    kind = "test.square-plain" if payload.plain else "test.square"
    children = [
        ctx.child(kind, Number(value=number, deeper=payload.deeper), name=f"square {number}")
        for number in payload.numbers
    ]
    total = sum(ctx.gather(*children, until=0.6))
    ctx.progress(0.6, "added")
    (again,) = ctx.gather(ctx.child(kind, {"value": total}, weight=2))
    return {"total": total, "again": again, "attempt": ctx.attempt}


@KINDS.job("test.sum-plain")
def sum_plain(ctx: JobContext, payload: Sum) -> int:
    """The same, but once, in a process."""
    return sum(ctx.gather(*(ctx.child("test.square-plain", {"value": each}) for each in payload.numbers)))


@KINDS.job("test.brood")
async def brood(ctx: JobContext, payload: Brood) -> list[str]:
    """Has children, and says how they ended."""
    children = [ctx.child(kind, {"count": 3} if kind == "test.fail" else {}) for kind in payload.kinds]
    ended = ctx.gather(*children, failures=payload.failures)
    return [each.error_code or "CANCELLED" if isinstance(each, ChildFailed) else "done" for each in ended]


@KINDS.job("test.fickle")
async def fickle(ctx: JobContext, payload: Nothing) -> None:
    """Asks for another child whenever it runs."""
    WHIMS.append(1)
    ctx.gather(ctx.child("test.square", {"value": len(WHIMS)}))


WHIMS: list[int] = []


@KINDS.job("test.picky", attempts=2)
async def picky(ctx: JobContext, payload: Where) -> int:
    """Fails once behind its children: the second attempt is given those that succeeded."""
    kept = ctx.child("test.mark", payload, name="kept")
    tried = ctx.child("test.once", payload, name="tried")
    _, second = ctx.gather(kept, tried, failures=True)
    if isinstance(second, ChildFailed):
        raise JobFailed("AGAIN", "Again")
    return ctx.attempt


@KINDS.job("test.mark")
async def mark(ctx: JobContext, payload: Where) -> None:
    """Leaves a byte whenever it runs."""
    with payload.path.open("ab") as file:
        file.write(b".")


@KINDS.job("test.once", attempts=1)
async def once(ctx: JobContext, payload: Where) -> None:
    """Fails the first time, whichever job it is."""
    flag = payload.path.with_suffix(".flag")
    if not flag.exists():
        flag.touch()
        raise JobFailed("FIRST", "The first one fails")


@KINDS.job("test.die-waiting")
def die_waiting(ctx: JobContext, payload: Where) -> str:
    """Is killed in its first run after the wait."""
    ctx.gather(ctx.child("test.noop"))
    if not payload.path.exists():
        payload.path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


@KINDS.job("test.nap", attempts=100)
async def nap(ctx: JobContext, payload: Number) -> int:
    """Takes a moment, and then makes an artifact."""
    await asyncio.sleep(0.05)
    await ctx.artifact("value.txt", str(payload.value).encode())
    return payload.value


@KINDS.job("test.tribe", attempts=100)
async def tribe(ctx: JobContext, payload: Number) -> int:
    """Children, and then grandchildren, which all take a moment."""
    total = int(sum(ctx.gather(*(ctx.child("test.nap", Number(value=n)) for n in range(payload.value)))))
    if not payload.deeper:
        return total
    deeper = Number(value=payload.value, deeper=payload.deeper - 1)
    (below,) = ctx.gather(ctx.child("test.tribe", deeper, name="below"))
    return total + int(below)
