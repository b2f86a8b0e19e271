"""Contract, sections 2 and 11: a key set is fetched from the operator's address, within bounds."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.key_server import KeyServer, serving
from tidings.identity.jwks import FetchFailed, read_keys
from tidings.identity.jwks_http import MAX_BYTES, HttpFetch


@pytest.fixture
def issuer() -> Iterator[KeyServer]:
    with serving() as started:
        yield started


@pytest.fixture
async def fetch(issuer: KeyServer) -> AsyncIterator[HttpFetch]:
    made = HttpFetch(issuer.url)
    yield made
    await made.close()


async def test_over_http(issuer: KeyServer, fetch: HttpFetch) -> None:
    """The document as it is served."""
    issuer.rotate("a")
    assert await fetch.get() == issuer.document
    assert list(read_keys(await fetch.get(), "ES256")) == ["a"]


@pytest.mark.parametrize("status", [204, 301, 404, 500])
async def test_only_200_counts(issuer: KeyServer, fetch: HttpFetch, status: int) -> None:
    """No redirect is followed: the address is the operator's."""
    issuer.status, issuer.headers = status, {"Location": issuer.url}
    with pytest.raises(FetchFailed, match=str(status)):
        await fetch.get()
    assert issuer.asked == 1


async def test_the_answer_is_bounded(issuer: KeyServer, fetch: HttpFetch) -> None:
    """A document that has no end is not read to it."""
    issuer.document = b" " * (MAX_BYTES + 1)
    with pytest.raises(FetchFailed, match="bytes"):
        await fetch.get()


async def test_nobody_there() -> None:
    """A key server that cannot be reached is a fault like another."""
    with serving() as issuer:
        url = issuer.url
    fetch = HttpFetch(url)
    with pytest.raises(FetchFailed):
        await fetch.get()
    await fetch.close()
