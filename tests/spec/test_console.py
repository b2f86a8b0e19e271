"""Contract, sections 2 and 11: the console's cookie on a real server, and what ends it."""

from pathlib import Path

import pytest

from tests.support.processes import free_port
from tests.support.server import PAGE, serving, token_for
from tests.support.streams import streaming
from tidings.domain.people import Role

SESSION = "/console/session"
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


async def test_revocation_ends_it(tmp_path: Path) -> None:
    """ "Expiry, revocation, deactivation and tenant suspension end live connections": the cookie is the token."""
    with serving(tmp_path) as server:
        user, admin = await server.people(Role.USER, Role.ADMIN)
        async with server.http(None, **SAME_ORIGIN) as browser:
            assert (await browser.post(SESSION, json={"token": user.token})).status_code == 204
            cookie = {"Cookie": f"tidings={user.token}", **SAME_ORIGIN}
            async with streaming(server, "/notifications/events", None, **cookie) as stream:
                assert (await stream.message()).type == "ready"
                async with server.http(admin) as client:
                    revoked = await client.post("/admin/tokens/revoke", json={"userId": user.id})
                    assert revoked.status_code == 204
                await stream.rest()
            assert (await browser.get(SESSION)).status_code == 401
            assert (await browser.get("/jobs")).status_code == 401
            assert (await browser.post(SESSION, json={"token": user.token})).status_code == 401


async def test_a_public_address(tmp_path: Path) -> None:
    """ "The console's cookie is ``__Host-tidings`` over https, ``tidings`` without": the other one is none."""
    with serving(tmp_path, {"public_url": "https://tidings.example"}) as server:
        user = await server.person()
        async with server.http(None, Origin="https://tidings.example") as browser:
            answer = await browser.post(SESSION, json={"token": user.token})
            assert answer.status_code == 204
            cookie = answer.headers["set-cookie"]
        assert cookie.startswith(f"__Host-tidings={user.token}; Max-Age=")
        assert cookie.endswith("; Path=/; HttpOnly; SameSite=Strict; Secure")
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        async with streaming(server, "/notifications/events", user) as stream:
            assert stream.response.headers["strict-transport-security"].startswith("max-age=")
        good = server.get("/jobs", Cookie=f"__Host-tidings={user.token}", **SAME_ORIGIN)
        plain = server.get("/jobs", Cookie=f"tidings={user.token}", **SAME_ORIGIN)
        assert (good.status_code, plain.status_code) == (200, 401)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_server_of_one_s_own(tmp_path: Path, host: str) -> None:
    """Outside production the server knows its own address without being told, and no application's page signs in."""
    port = free_port()
    with serving(tmp_path, port=port) as server:
        token = token_for((await server.person()).id)
        async with server.http(None) as browser:
            own = {"Origin": f"http://{host}:{port}"}
            assert (await browser.post(SESSION, json={"token": token}, headers=own)).status_code == 204
            other = await browser.post(SESSION, json={"token": token}, headers={"Origin": PAGE})
            assert other.status_code == 403
            assert (await browser.get("/console", headers={"Accept-Encoding": "identity"})).status_code == 200
