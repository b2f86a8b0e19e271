"""Storages of artifacts that are not there."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection

from tidings.artifacts.base import Label, Source, StorageUnavailable


class BrokenStorage:
    """One that answers nothing, and counts how often it was asked."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = asyncio.Event()

    async def asked(self, times: int) -> None:
        """Wait until it was asked so often."""
        while self._count < times:
            self._changed.clear()
            await self._changed.wait()

    async def put(self, key: str, source: Source, label: Label) -> None:
        raise self._fault()

    async def open(self, key: str, start: int, length: int) -> AsyncGenerator[bytes]:
        raise self._fault()

    async def link(self, key: str, method: str) -> str | None:
        raise self._fault()

    async def delete(self, keys: Collection[str]) -> None:
        raise self._fault()

    async def list(self, folder: str = "") -> AsyncIterator[str]:
        await self.link(folder, "GET")
        yield folder

    def _fault(self) -> StorageUnavailable:
        self._count += 1
        self._changed.set()
        return StorageUnavailable("not there")
