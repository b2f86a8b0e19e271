"""The console on everything real but the socket: the REST surface of ``services``, with the console's routes.

``Desk`` asks as a browser does: with the cookie it was given, and with the headers that browsers add.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from tests.support.services import OWN_ORIGIN, Rig, serving
from tidings.api.app import build
from tidings.console.routes import routes
from tidings.console.session import Services
from tidings.identity.credentials import COOKIE_PLAIN
from tidings.identity.limiter import SlidingWindow

SESSION = "/console/session"
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


class Desk:
    """``client`` keeps cookies, and sends whatever headers it is told to."""

    def __init__(self, rig: Rig, client: httpx.AsyncClient, cookie_name: str) -> None:
        self.rig = rig
        self.client = client
        self.cookie_name = cookie_name

    async def sign_in(self, token: str, **headers: str) -> httpx.Response:
        """As the page does, unless other headers are given; none of its own then."""
        return await self.client.post(SESSION, json={"token": token}, headers=headers or SAME_ORIGIN)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=headers or SAME_ORIGIN)

    def cookie(self, token: str) -> dict[str, str]:
        """The header that a browser sends once it has the cookie."""
        return {"Cookie": f"{self.cookie_name}={token}"}


@asynccontextmanager
async def opened(
    url: str, *, cookie_name: str = COOKIE_PLAIN, points: int = 60, base: str = "http://tidings.test"
) -> AsyncIterator[Desk]:
    """A console whose limit is ``points`` requests a minute and address."""
    async with serving(url) as rig:
        services = Services(
            admission=rig.services.admission,
            audit=rig.services.audit,
            limiter=SlidingWindow(points, 60),
            own_origins=frozenset({OWN_ORIGIN}),
            cookie_name=cookie_name,
        )
        app = build(rig.services, routes(services))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base) as client:
            yield Desk(rig, client, cookie_name)
