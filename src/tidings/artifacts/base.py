"""The storage of artifacts: what the server asks of it, and what it may rely on.

A storage knows keys and bytes. Whose they are, and which of them are still wanted, stands in the database.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Source = Path | bytes
"""A file, or the bytes themselves."""

CHUNK_BYTES = 256 * 1024
"""How much of a file is read at a time."""


class StorageUnavailable(Exception):
    """The storage does not answer, or refuses. Trying again may help."""


@dataclass(frozen=True, slots=True)
class Label:
    """What a download is called, and its media type: for storages that are downloaded from directly."""

    name: str
    media_type: str


class Storage(Protocol):
    """Keys are ``folder/file``, never used twice: what was put is never replaced.

    Every method raises ``StorageUnavailable``. A put is all or nothing: nobody ever reads half a file, and once
    it has returned the file outlives a loss of power. A deletion of what is not there is none.
    """

    async def put(self, key: str, source: Source, label: Label) -> None:
        """Store it."""

    async def open(self, key: str, start: int, length: int) -> AsyncGenerator[bytes]:
        """That part of a file, which lies within it, in pieces; close the iterator if it is not read to its end.

        Raises:
            FileNotFoundError: there is no such key.
        """

    async def link(self, key: str, method: str) -> str | None:
        """A URL under which whoever has it may GET or HEAD the file for some minutes; None: there is none."""

    async def delete(self, keys: Collection[str]) -> None:
        """Delete them."""

    def list(self, folder: str = "") -> AsyncIterator[str]:
        """Every key, or those of one folder; also of puts that were never finished."""
