"""Artifacts in a bucket of Amazon S3 or of anything that speaks its language; needs the extra ``tidings[s3]``.

Uploads, signing and retries are the ``obstore`` library's, and so are credentials: they come from the usual
``AWS_*`` environment or from the machine's own role, never from the URL.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from tidings.artifacts.base import CHUNK_BYTES, Label, Source, StorageUnavailable

if TYPE_CHECKING:
    from obstore.store import S3Config

LINK_SECONDS = 300
"""How long a presigned URL is good for: to begin a download, not to end it."""
_TIMEOUT = timedelta(seconds=30)
"""For connecting, for each read and for all retries of a request."""
_TRANSFER = timedelta(hours=1)
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Bucket:
    """``endpoint`` is empty for Amazon's own. ``redirect``: downloads come from the bucket itself."""

    name: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    redirect: bool = True


class S3Storage:
    """``Storage`` in a bucket, which has to be there."""

    def __init__(self, bucket: Bucket) -> None:
        self._redirect = bucket.redirect
        config: S3Config = {"bucket": bucket.name, "virtual_hosted_style_request": not bucket.endpoint}
        if bucket.endpoint:
            config["endpoint"] = bucket.endpoint
        if bucket.region:
            config["region"] = bucket.region
        self._store = S3Store(
            prefix=bucket.prefix or None,
            config=config,
            client_options={
                "allow_http": bucket.endpoint.startswith("http:"),
                "connect_timeout": _TIMEOUT,
                "read_timeout": _TIMEOUT,
                "timeout": _TRANSFER,
            },
            retry_config={"max_retries": 3, "retry_timeout": _TIMEOUT},
        )

    async def put(self, key: str, source: Source, label: Label) -> None:
        attributes = {
            "Content-Type": label.media_type,
            "Content-Disposition": f'attachment; filename="{label.name}"',
            "Cache-Control": "private, no-store",
        }
        with _available():
            await obstore.put_async(self._store, key, source, attributes=attributes)

    async def open(self, key: str, start: int, length: int) -> AsyncGenerator[bytes]:
        if not length:  # an empty range is no range to S3
            return _nothing()
        with _available():
            found = await obstore.get_async(self._store, key, options={"range": (start, start + length)})
        return _pieces(found.stream(min_chunk_size=CHUNK_BYTES))

    async def link(self, key: str, method: str) -> str | None:
        if not self._redirect:
            return None
        with _available():
            kind: Literal["GET", "HEAD"] = "HEAD" if method == "HEAD" else "GET"
            return await obstore.sign_async(self._store, kind, key, timedelta(seconds=LINK_SECONDS))

    async def delete(self, keys: Collection[str]) -> None:
        with _available():
            if keys:
                await obstore.delete_async(self._store, list(keys))

    async def list(self, folder: str = "") -> AsyncIterator[str]:
        with _available():
            async for batch in obstore.list(self._store, f"{folder}/" if folder else None, chunk_size=_BATCH):
                for each in batch:
                    yield each["path"]


@contextmanager
def _available() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError) as fault:
        raise StorageUnavailable(str(fault)) from fault


async def _pieces(stream: "obstore.BytesStream") -> AsyncGenerator[bytes]:
    with _available():
        async for piece in stream:
            yield bytes(piece)


async def _nothing() -> AsyncGenerator[bytes]:
    for piece in tuple[bytes, ...]():
        yield piece
