"""What every storage of artifacts promises: on a directory, and on a bucket behind a real S3 server."""

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.buckets import NAME, REGION, bucket
from tidings.artifacts.base import CHUNK_BYTES, Label, Storage, StorageUnavailable
from tidings.artifacts.local import LocalStorage
from tidings.artifacts.s3 import Bucket, S3Storage

LABEL = Label("notes.txt", "text/plain")
DATA = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with bucket() as endpoint:
        yield endpoint


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty one: a new directory, or a prefix that nobody had before."""
    if request.param == "local":
        return LocalStorage(tmp_path / "artifacts")
    endpoint: str = request.getfixturevalue("endpoint")
    return S3Storage(Bucket(NAME, tmp_path.name, endpoint, REGION))


async def read(pieces: AsyncGenerator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


async def keys(storage: Storage, folder: str = "") -> list[str]:
    return sorted([key async for key in storage.list(folder)])


async def test_bytes_come_back(storage: Storage) -> None:
    """What was put is read again, whole or in part."""
    await storage.put("job/one", DATA, LABEL)
    assert await read(await storage.open("job/one", 0, len(DATA))) == DATA
    assert await read(await storage.open("job/one", 100, 7)) == DATA[100:107]
    assert await read(await storage.open("job/one", len(DATA) - 1, 1)) == DATA[-1:]


async def test_a_file_comes_back(storage: Storage, tmp_path: Path) -> None:
    """A file of several pieces; it is copied, and its maker may do with it as it likes."""
    source = tmp_path / "source"
    data = os.urandom(CHUNK_BYTES * 30 + 1)
    source.write_bytes(data)
    await storage.put("job/file", source, LABEL)
    source.write_bytes(b"something else")
    pieces = [piece async for piece in await storage.open("job/file", 1, len(data) - 1)]
    assert b"".join(pieces) == data[1:]
    assert len(pieces) > 1


async def test_nothing_is_something(storage: Storage) -> None:
    """An empty file is one."""
    await storage.put("job/empty", b"", LABEL)
    assert await read(await storage.open("job/empty", 0, 0)) == b""
    assert await keys(storage) == ["job/empty"]


async def test_what_is_not_there(storage: Storage) -> None:
    """It is not opened, it is deleted without ado, and of an empty storage there is nothing to list."""
    with pytest.raises(FileNotFoundError):
        await storage.open("job/none", 0, 1)
    await storage.delete(["job/none"])
    await storage.delete([])
    assert await keys(storage) == []
    assert await keys(storage, "job") == []


async def test_lists_and_deletes(storage: Storage) -> None:
    """Every key, or those of a folder; a folder with nothing in it is gone."""
    names = ["a/1", "a/2", "ab/1"]
    for name in names:
        await storage.put(name, b"x", LABEL)
    assert await keys(storage) == names
    assert await keys(storage, "a") == ["a/1", "a/2"]
    await storage.delete(["a/1", "a/2"])
    assert await keys(storage) == ["ab/1"]


async def test_many_at_once(storage: Storage) -> None:
    """Puts do not get into each other's way."""
    await asyncio.gather(*(storage.put(f"job/{n}", bytes([n]) * 100, LABEL) for n in range(20)))
    read_again = await asyncio.gather(*[read(await storage.open(f"job/{n}", 0, 100)) for n in range(20)])
    assert read_again == [bytes([n]) * 100 for n in range(20)]


async def test_a_directory_has_no_links(tmp_path: Path) -> None:
    """Who keeps artifacts in a directory sends them itself."""
    assert await LocalStorage(tmp_path).link("job/one", "GET") is None


async def test_a_put_that_breaks_off(tmp_path: Path) -> None:
    """Half a file is never read under its key, and is listed so that it can be swept up."""
    storage = LocalStorage(tmp_path)
    with pytest.raises(FileNotFoundError):
        await storage.put("job/one", tmp_path / "missing", LABEL)
    (tmp_path / "job/two.part").write_bytes(b"half")
    with pytest.raises(FileNotFoundError):
        await storage.open("job/two", 0, 1)
    assert await keys(storage) == ["job/two.part"]


async def test_a_directory_that_is_none(tmp_path: Path) -> None:
    """A disk that refuses is a storage that is not available."""
    (tmp_path / "file").touch()
    storage = LocalStorage(tmp_path / "file")
    with pytest.raises(StorageUnavailable):
        await storage.put("job/one", b"x", LABEL)
    with pytest.raises(StorageUnavailable):
        await storage.open("job/one", 0, 1)


async def test_links(endpoint: str, tmp_path: Path) -> None:
    """A presigned URL downloads the file as a file, a range of it, or its head, for whoever has it."""
    storage = S3Storage(Bucket(NAME, tmp_path.name, endpoint, REGION))
    await storage.put("job/one", b"hello", LABEL)
    async with httpx.AsyncClient() as client:
        whole = await client.get(str(await storage.link("job/one", "GET")))
        part = await client.get(str(await storage.link("job/one", "GET")), headers={"Range": "bytes=1-2"})
        head = await client.head(str(await storage.link("job/one", "HEAD")))
    assert (whole.status_code, whole.content) == (200, b"hello")
    assert whole.headers["Content-Type"].startswith("text/plain")
    assert whole.headers["Content-Disposition"] == 'attachment; filename="notes.txt"'
    assert whole.headers["Cache-Control"] == "private, no-store"
    assert (part.status_code, part.content) == (206, b"el")
    assert (head.status_code, head.headers["Content-Length"]) == (200, "5")


async def test_a_bucket_without_links(endpoint: str, tmp_path: Path) -> None:
    """Where downloads are to go through the server, none is given."""
    storage = S3Storage(Bucket(NAME, tmp_path.name, endpoint, REGION, redirect=False))
    assert await storage.link("job/one", "GET") is None


async def test_a_bucket_that_is_away(tmp_path: Path) -> None:
    """No answer and no bucket are the same: not available."""
    storage = S3Storage(Bucket(NAME, "", "http://127.0.0.1:1", REGION))
    with pytest.raises(StorageUnavailable):
        await storage.put("job/one", b"x", LABEL)
    with pytest.raises(StorageUnavailable):
        await keys(storage)


async def test_files_are_the_servers_alone(tmp_path: Path) -> None:
    """Whoever else has an account on the machine reads none, whatever the umask."""
    before = os.umask(0)
    try:
        source = tmp_path / "source"
        source.write_bytes(DATA)
        source.chmod(0o644)
        storage = LocalStorage(tmp_path / "artifacts")
        await storage.put("job/bytes", DATA, LABEL)
        await storage.put("job/file", source, LABEL)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "artifacts").rglob("*")}
    assert modes == {"job": 0o700, "bytes": 0o600, "file": 0o600}
    assert stat.S_IMODE((tmp_path / "artifacts").stat().st_mode) == 0o700
