"""``/healthz`` says that the process lives, ``/readyz`` whether it can serve. Neither asks who wants to know."""

import asyncio

import structlog
from starlette.requests import Request
from starlette.responses import Response

from tidings.api import catalogue
from tidings.api.answer import Json
from tidings.api.operation import Served
from tidings.api.services import Check, Services

CHECK_SECONDS = 2.0
_RETRY_SECONDS = 5

_log = structlog.stdlib.get_logger("tidings.health")


class Health:
    def __init__(self, services: Services) -> None:
        self._services = services

    def served(self) -> tuple[Served, ...]:
        return ((catalogue.HEALTH, self.alive), (catalogue.READINESS, self.ready))

    async def alive(self, request: Request) -> Response:
        return Json({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """All checks at once. While draining the answer is no, whatever they say."""
        names = tuple(self._services.ready)
        passed = await asyncio.gather(*(_passes(name, self._services.ready[name]) for name in names))
        checks = {name: "ok" if well else "failing" for name, well in zip(names, passed, strict=True)}
        if self._services.draining():
            return _not_ready("draining", checks)
        if not all(passed):
            return _not_ready("unavailable", checks)
        return Json({"status": "ok", "checks": checks})


def _not_ready(status: str, checks: dict[str, str]) -> Response:
    return Json({"status": status, "checks": checks}, 503, {"Retry-After": str(_RETRY_SECONDS)})


async def _passes(name: str, check: Check) -> bool:
    """A check that raises or takes too long has failed."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            well = await check()
    except Exception as fault:  # noqa: BLE001  whatever is wrong with it, it is not ready
        _log.warning("not ready", check=name, reason=repr(fault))
        return False
    if not well:
        _log.warning("not ready", check=name)
    return well
