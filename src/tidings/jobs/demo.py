"""``demo.steps``: a kind for trying things out, which reports, fails and dies as it is told to (section 11)."""

import os
import signal
import time

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from tidings.jobs.context import JobContext, JobFailed
from tidings.jobs.kinds import Registry

STEPS_MAX = 1000
DELAY_MAX_MS = 60_000


class Steps(BaseModel):
    """``steps`` of ``delay_ms`` each. ``fail_times`` is in how many attempts, from the first, it fails."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True, frozen=True)

    steps: int = Field(ge=1, le=STEPS_MAX)
    delay_ms: int = Field(ge=0, le=DELAY_MAX_MS)
    fail_at: int | None = Field(None, ge=1, le=STEPS_MAX)
    fail_times: int | None = Field(None, ge=0)
    exit_at: int | None = Field(None, ge=1, le=STEPS_MAX)


def register(registry: Registry) -> None:
    """Make it a kind. Not for production: it kills processes."""
    registry.job("demo.steps")(run)


def run(ctx: JobContext, payload: Steps) -> dict[str, int]:
    """Take the steps, one after the other."""
    for step in range(1, payload.steps + 1):
        time.sleep(payload.delay_ms / 1000)
        if step == payload.exit_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if step == payload.fail_at and (payload.fail_times is None or ctx.attempt <= payload.fail_times):
            raise JobFailed("STEP_FAILED", f"step {step} of {payload.steps} failed")
        ctx.progress(step / payload.steps, f"step {step} of {payload.steps}")
    return {"steps": payload.steps}
