"""Artifacts in a directory of this machine, or one that all machines have mounted: for the server's user alone."""

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tidings.artifacts.base import CHUNK_BYTES, Label, Source, StorageUnavailable

_PART = ".part"


class LocalStorage:
    """``Storage`` below ``root``. Files are read in threads, a piece at a time."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def put(self, key: str, source: Source, label: Label) -> None:
        with _available():
            await asyncio.to_thread(_put, self._root, key, source)

    async def open(self, key: str, start: int, length: int) -> AsyncGenerator[bytes]:
        with _available():
            file = await asyncio.to_thread(_open_at, self._root / key, start)
        return _pieces(file, length)

    async def link(self, key: str, method: str) -> str | None:
        return None

    async def delete(self, keys: Collection[str]) -> None:
        with _available():
            await asyncio.to_thread(_delete, [self._root / key for key in keys])

    async def list(self, folder: str = "") -> AsyncIterator[str]:
        with _available():
            found = await asyncio.to_thread(_found, self._root, folder)
        for key in found:
            yield key


@contextmanager
def _available() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as fault:
        raise StorageUnavailable(str(fault)) from fault


def _put(root: Path, key: str, source: Source) -> None:
    target = root / key
    for folder in (root, target.parent):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = target.with_name(target.name + _PART)
    part.touch(mode=0o600)
    try:
        if isinstance(source, bytes):
            part.write_bytes(source)
        else:
            shutil.copyfile(source, part)
        _sync(part)
        part.rename(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _sync(target.parent)
    _sync(target.parent.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_at(path: Path, start: int) -> BinaryIO:
    file = path.open("rb")
    file.seek(start)
    return file


async def _pieces(file: BinaryIO, length: int) -> AsyncGenerator[bytes]:
    try:
        while length > 0 and (piece := await asyncio.to_thread(file.read, min(length, CHUNK_BYTES))):
            length -= len(piece)
            yield piece
    finally:
        file.close()


def _delete(paths: Collection[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in paths}:
        with suppress(OSError):  # not empty, or gone
            folder.rmdir()


def _found(root: Path, folder: str) -> list[str]:
    return [str(path.relative_to(root)) for path in root.glob(f"{folder or '*'}/*")]
