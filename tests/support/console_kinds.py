"""A parent with children, for the console to show."""

from pydantic import BaseModel

from tidings import JobContext, JobFailed, job


class Whole(BaseModel):
    """Of how many ``parts`` the last one fails."""

    parts: int


class Part(BaseModel):
    fails: bool


@job("console.whole")
async def whole(ctx: JobContext, payload: Whole) -> int:
    """Have children, and make do with those that succeed."""
    parts = [
        ctx.child("console.part", Part(fails=number == payload.parts))
        for number in range(1, payload.parts + 1)
    ]
    return len(ctx.gather(*parts, failures=True))


@job("console.part")
async def part(ctx: JobContext, payload: Part) -> None:
    """Come halfway, and on."""
    ctx.progress(0.5, "halfway")
    if payload.fails:
        raise JobFailed("BROKEN", "It broke", retry=False)
