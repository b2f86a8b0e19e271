"""Fetching a key set from its issuer's address, within bounds. What it means is for ``jwks``.

Apart from it, because few servers have such an issuer, and an HTTP client takes long to import.
"""

import asyncio
from typing import Final

import httpx

from tidings.identity.jwks import FetchFailed

MAX_BYTES: Final = 256 * 1024
FETCH_SECONDS: Final = 5.0
"""How long one fetch may take."""


class HttpFetch:
    """``Fetch`` of a URL: one connection, no redirects, a bounded answer in bounded time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: httpx.AsyncClient | None = None

    async def get(self) -> bytes:
        """The document. Raises ``FetchFailed``."""
        if self._client is None:
            self._client = httpx.AsyncClient(headers={"Accept": "application/json"})
        try:
            async with asyncio.timeout(FETCH_SECONDS), self._client.stream("GET", self._url) as response:
                return await _whole(response)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as fault:
            raise FetchFailed(repr(fault)) from fault

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()


async def _whole(response: httpx.Response) -> bytes:
    if response.status_code != httpx.codes.OK:
        raise FetchFailed(f"answered {response.status_code}")
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_BYTES:
            raise FetchFailed(f"over {MAX_BYTES} bytes")
    return bytes(body)
