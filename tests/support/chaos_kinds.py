"""Kinds for workers that are killed at random: short, some failing at first, all with attempts to spare."""

import asyncio
import random

from pydantic import BaseModel

from tidings import JobContext, JobFailed, job


class Work(BaseModel):
    """``fails`` attempts fail; each takes up to ``seconds``."""

    seconds: float
    fails: int = 0


@job("chaos.work", attempts=50)
async def work(ctx: JobContext, payload: Work) -> int:
    """Report, take its time, fail or return the attempt's number."""
    ctx.progress(0.5, "half-way")
    await asyncio.sleep(random.uniform(0, payload.seconds))
    if ctx.attempt <= payload.fails:
        raise JobFailed("TOO_EARLY", "Not yet")
    return ctx.attempt


@job("chaos.plain", attempts=50)
def plain(ctx: JobContext, payload: Work) -> int:
    """The same in a process of the worker's, which dies with it."""
    return ctx.attempt


@job("chaos.last", attempts=1)
async def last(ctx: JobContext, payload: Work) -> int:
    """Has one attempt: a worker that is killed under it ends it."""
    await asyncio.sleep(payload.seconds)
    return ctx.attempt
