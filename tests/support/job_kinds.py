"""Kinds for the jobs' tests: well-behaved ones and otherwise. Processes of the pool import this module too."""

import asyncio
import logging
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tidings.jobs.context import JobContext, JobFailed, JobStopped
from tidings.jobs.kinds import Registry

KINDS = Registry()


class Nothing(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Mark(BaseModel):
    """A file that tells the test what a process of the pool has come to."""

    path: Path


class Times(BaseModel):
    count: int


@KINDS.job("test.noop")
async def noop(ctx: JobContext, payload: Nothing) -> dict[str, int]:
    """Does nothing, on the event loop."""
    return {"attempt": ctx.attempt}


@KINDS.job("test.plain")
def plain(ctx: JobContext, payload: Nothing) -> dict[str, int]:
    """Does nothing, in a process."""
    return {"pid": os.getpid()}


@KINDS.job("test.count")
async def count(ctx: JobContext, payload: Times) -> None:
    """Reports each of so many steps."""
    for step in range(1, payload.count + 1):
        ctx.progress(step / payload.count, f"step {step}", stage="counting")
        await asyncio.sleep(0)


@KINDS.job("test.fail")
async def fail(ctx: JobContext, payload: Times) -> str:
    """Fails in the first ``count`` attempts."""
    if ctx.attempt <= payload.count:
        raise JobFailed("NOT_YET", f"attempt {ctx.attempt} was one too early")
    return "done"


@KINDS.job("test.crash", attempts=1)
async def crash(ctx: JobContext, payload: Nothing) -> None:
    """Fails with an exception that was not meant for users."""
    raise RuntimeError("password=hunter2")


@KINDS.job("test.refuse")
def refuse(ctx: JobContext, payload: Nothing) -> None:
    """Fails for good."""
    raise JobFailed("REFUSED", "Not with me", retry=False)


@KINDS.job("test.listen")
async def listen(ctx: JobContext, payload: Nothing) -> None:
    """Reports until it is told to end, and never ends by itself."""
    while True:
        ctx.progress(0.5, "listening")
        await asyncio.sleep(0.01)


@KINDS.job("test.sleep")
async def sleep(ctx: JobContext, payload: Nothing) -> None:
    """Waits for ever, where it can be killed."""
    ctx.progress(0.1, "asleep")
    await asyncio.Event().wait()


@KINDS.job("test.wait")
async def wait(ctx: JobContext, payload: Nothing) -> None:
    """Ends once ``RELEASE`` is set."""
    await asyncio.to_thread(RELEASE.wait)


@KINDS.job("test.fail-later")
async def fail_later(ctx: JobContext, payload: Nothing) -> None:
    """Fails once ``RELEASE`` is set."""
    await asyncio.to_thread(RELEASE.wait)
    raise JobFailed("LATE", "At last")


@KINDS.job("test.stubborn")
async def stubborn(ctx: JobContext, payload: Nothing) -> None:
    """Waits for ever and takes no cancellation; ends when ``RELEASE`` is set."""
    ctx.progress(0.1, "stubborn")
    while not RELEASE.is_set():
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.01)


RELEASE = threading.Event()


@KINDS.job("test.listen-plain")
def listen_plain(ctx: JobContext, payload: Nothing) -> None:
    """The same in a process."""
    while True:
        ctx.progress(0.5, "listening")
        time.sleep(0.01)


@KINDS.job("test.tidy-plain")
def tidy_plain(ctx: JobContext, payload: Mark) -> str:
    """Looks whether it should end, puts something away and then returns as if nothing was."""
    ctx.progress(0.5, "working")
    while not ctx.cancelled:
        time.sleep(0.01)
    payload.path.write_text("tidy")
    return "done"


@KINDS.job("test.deaf-plain")
def deaf_plain(ctx: JobContext, payload: Nothing) -> None:
    """Says where it runs, and then looks neither right nor left."""
    ctx.progress(0.5, str(os.getpid()))
    while True:
        time.sleep(1)


@KINDS.job("test.limited", timeout=0.2, attempts=1)
async def limited(ctx: JobContext, payload: Nothing) -> None:
    """Takes longer than it may."""
    while True:
        ctx.progress(0.5)
        await asyncio.sleep(0.01)


@KINDS.job("test.limited-plain", timeout=0.2, attempts=1)
def limited_plain(ctx: JobContext, payload: Nothing) -> None:
    while True:
        time.sleep(0.01)


@KINDS.job("test.die")
def die(ctx: JobContext, payload: Times) -> int:
    """Kills its process in the first ``count`` attempts."""
    ctx.progress(0.25, "alive")
    if ctx.attempt <= payload.count:
        os.kill(os.getpid(), signal.SIGKILL)
    return ctx.attempt


@KINDS.job("test.exit")
def leave(ctx: JobContext, payload: Nothing) -> None:
    """Leaves the interpreter behind its back."""
    os._exit(7)


@KINDS.job("test.log", attempts=1)
def log(ctx: JobContext, payload: Nothing) -> None:
    """Logs in every way there is."""
    ctx.log.warning("from the context", weight=3)
    logging.getLogger("their.library").warning("from %s", "a library")


@KINDS.job("test.why")
def why(ctx: JobContext, payload: Nothing) -> str:
    """Reports until it is told to end; then it says why."""
    try:
        while True:
            ctx.progress(0.5)
            time.sleep(0.01)
    except JobStopped as stopped:
        return type(stopped).__name__


@KINDS.job("test.no-json", attempts=1)
def no_json(ctx: JobContext, payload: Nothing) -> object:
    """Returns what JSON has no word for."""
    return object()


@KINDS.job("test.sys-exit", attempts=1)
async def sys_exit(ctx: JobContext, payload: Nothing) -> None:
    """Tries to take the server along."""
    raise SystemExit(3)


@KINDS.job("test.single", concurrency=1)
async def single(ctx: JobContext, payload: Nothing) -> None:
    """One at a time: notes how many there are."""
    CROWD.append(1)
    PEAKS.append(len(CROWD))
    for _ in range(20):
        await asyncio.sleep(0)
    CROWD.pop()


CROWD: list[int] = []
PEAKS: list[int] = []
