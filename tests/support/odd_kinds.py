"""Kinds whose code ends in odd ways. Processes of the pool import this module too."""

import asyncio
from typing import Any

from pydantic import BaseModel

from tests.support.job_kinds import KINDS
from tidings.jobs.context import JobContext, JobFailed

ENDS: dict[str, BaseException] = {
    "base": BaseException("x"),
    "interrupt": KeyboardInterrupt(),
    "exit": SystemExit(3),
    "base group": BaseExceptionGroup("group", [ValueError("a"), BaseException("b")]),
    "surrogate": ValueError("\ud800"),
    "refusal": BaseExceptionGroup(
        "group", [ValueError("a"), JobFailed("REFUSED", "Not with me", retry=False)]
    ),
}
"""What is raised, by name."""


class How(BaseModel):
    how: str = ""


class Levels(BaseModel):
    levels: int


class Reports(BaseModel):
    count: int


@KINDS.job("odd.raise", attempts=1)
async def raise_it(ctx: JobContext, payload: How) -> None:
    raise ENDS[payload.how]


@KINDS.job("odd.raise-plain", attempts=1)
def raise_it_plain(ctx: JobContext, payload: How) -> None:
    raise ENDS[payload.how]


@KINDS.job("odd.raise-below", attempts=1)
async def raise_below(ctx: JobContext, payload: How) -> None:
    """Raises it in a task of a task group, a while after it began."""

    async def below() -> None:
        await asyncio.sleep(0)
        raise ENDS[payload.how]

    async with asyncio.TaskGroup() as group:
        group.create_task(below())
        group.create_task(asyncio.Event().wait())


@KINDS.job("odd.listen-below", attempts=1)
async def listen_below(ctx: JobContext, payload: How) -> None:
    """Reports in a task group in a task group, until it is told to end."""

    async def listen() -> None:
        while True:
            ctx.progress(0.5)
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as outer, asyncio.TaskGroup() as inner:
        outer.create_task(asyncio.Event().wait())
        inner.create_task(listen())


@KINDS.job("odd.limited-below", attempts=1, timeout=0.1)
async def limited_below(ctx: JobContext, payload: How) -> None:
    """The same, for as long as its kind allows."""
    await listen_below(ctx, payload)


@KINDS.job("odd.gather-below", attempts=1)
async def gather_below(ctx: JobContext, payload: How) -> list[Any]:
    """Waits for a child in each of two tasks."""

    async def one(name: str) -> Any:
        (result,) = ctx.gather(ctx.child("test.noop", {}, name=name))
        return result

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(name)) for name in ("left", "right")]
    return [task.result() for task in tasks]


@KINDS.job("odd.nest", attempts=3)
async def nest(ctx: JobContext, payload: Levels) -> Any:
    """Returns a list in a list in a list."""
    result: Any = 1
    for _ in range(payload.levels):
        result = [result]
    return result


@KINDS.job("odd.flood")
async def flood(ctx: JobContext, payload: Reports) -> None:
    """Reports without a pause that is worth the name."""
    for step in range(1, payload.count + 1):
        ctx.progress(step / payload.count, f"step {step}")
        if step % 100 == 0:
            await asyncio.sleep(0)
