"""``/healthz`` and ``/readyz``."""

import asyncio

import pytest

from tests.support.services import Rig, serving
from tidings.api import health


async def works() -> bool:
    return True


async def fails() -> bool:
    return False


async def breaks() -> bool:
    raise ConnectionError("redis://user:password@host")


async def hangs() -> bool:
    await asyncio.Event().wait()
    return True


async def test_alive_is_alive(sqlite_url: str) -> None:
    """Whatever fails, the process lives, and says so to everyone."""
    async with serving(sqlite_url, ready={"broker": fails}) as rig:
        rig.drain.set()
        answer = await rig.client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_ready_when_every_check_passes(rig: Rig) -> None:
    """The real database answers."""
    answer = await rig.client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "checks": {"database": "ok"}})


async def test_not_ready_when_one_fails(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that says no, one that raises and one that hangs are alike, and tell nothing of why."""
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.01)
    checks = {"good": works, "bad": fails, "broken": breaks, "stuck": hangs}
    async with serving(sqlite_url, ready=checks) as rig:
        answer = await rig.client.get("/readyz")
    failing = {"good": "ok", "bad": "failing", "broken": "failing", "stuck": "failing"}
    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable", "checks": failing})
    assert int(answer.headers["retry-after"]) > 0


async def test_not_ready_while_draining(rig: Rig) -> None:
    """Readiness goes red first, so that balancers look elsewhere."""
    rig.drain.set()
    answer = await rig.client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "draining")
