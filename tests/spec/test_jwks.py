"""Contract, sections 2 and 11: an issuer's rotating keys, by ``TIDINGS_JWKS_URL``, on a real server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.key_server import KeyServer
from tests.support.key_server import serving as issuing
from tests.support.server import Server, serving, token_for
from tidings.domain.people import UserId


@pytest.fixture
def issuer() -> Iterator[KeyServer]:
    with issuing() as started:
        started.rotate("first")
        yield started


@pytest.fixture
def server(tmp_path: Path, issuer: KeyServer) -> Iterator[Server]:
    with serving(tmp_path, {"jwt_algorithm": "ES256", "jwks_url": issuer.url}) as running:
        yield running


def status(server: Server, token: str) -> int:
    return server.get("/notifications", Authorization=f"Bearer {token}").status_code


async def test_rotation(server: Server, issuer: KeyServer) -> None:
    """ "a new key is honoured within 60 s; unknown ``kid``s cause at most one fetch in 30 s; while the key server
    is away, known keys serve on [...] and unknown ones are refused."
    """
    user: UserId = (await server.person()).id
    assert status(server, issuer.token(user, "first")) == 200
    issuer.rotate("first", "second")
    assert status(server, issuer.token(user, "second")) == 200
    asked = issuer.asked
    issuer.rotate("first", "second", "third", "fourth")
    for kid in ("third", "fourth"):
        assert status(server, issuer.token(user, kid)) == 401
    assert issuer.asked == asked
    issuer.status = 500
    assert status(server, issuer.token(user, "second")) == 200


async def test_algorithms_come_from_configuration_alone(server: Server, issuer: KeyServer) -> None:
    """No HS256 token is good, whatever its secret, beside the issuer's own."""
    user = (await server.person()).id
    assert status(server, issuer.token(user, "first")) == 200
    assert status(server, token_for(user)) == 401
