"""`GET /jobs/{id}/artifacts/{name}`, on a directory and on a storage with links of its own."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest

from tests.support.services import PAGE_ORIGIN, Rig, serving
from tidings.api import artifacts as module
from tidings.artifacts.base import CHUNK_BYTES, Label
from tidings.artifacts.local import LocalStorage
from tidings.domain.ids import new_id
from tidings.domain.job import Artifact
from tidings.store import artifacts
from tidings.store.database import Database
from tidings.store.lease import Lease

DATA = bytes(range(256)) * (CHUNK_BYTES // 100)
DIGEST = hashlib.sha256(DATA).hexdigest()
TAG = f'"{DIGEST}"'


class Linked:
    """A storage that is downloaded from directly."""

    async def link(self, key: str, method: str) -> str | None:
        return f"https://bucket.example/{key}?{method}"

    async def open(self, key: str, start: int, length: int) -> AsyncGenerator[bytes]:
        raise AssertionError("the server sends nothing itself")


async def made(rig: Rig, sqlite_url: str, *, stored: bool = True) -> tuple[str, Artifact]:
    """A job of ann's with an artifact: the path it is downloaded from, and what it is."""
    job = await rig.job("ann")
    artifact = Artifact("song.wav", "audio/wav", len(DATA), f"{job['id']}/{new_id()}", DIGEST)
    if stored:
        storage = LocalStorage(Path(sqlite_url.removeprefix("sqlite:///")).parent / "artifacts")
        await storage.put(artifact.key, DATA, Label(artifact.name, artifact.media_type))
    async with Database(sqlite_url) as database, database.write() as tx:
        await artifacts.write(tx, Lease(job["id"], 0), [artifact])
    return f"/jobs/{job['id']}/artifacts/song.wav", artifact


async def test_the_whole_file(rig: Rig, sqlite_url: str) -> None:
    """A download: to be saved, not shown, of its own type, and nobody's to keep."""
    path, _ = await made(rig, sqlite_url)
    answer = await rig.get(path, "ann")
    assert (answer.status_code, answer.content == DATA) == (200, True)
    assert answer.headers["Content-Type"] == "audio/wav"
    assert answer.headers["Content-Length"] == str(len(DATA))
    assert answer.headers["Content-Disposition"] == 'attachment; filename="song.wav"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"] == TAG
    assert "sandbox" in answer.headers["Content-Security-Policy"]


async def test_the_job_lists_it(rig: Rig, sqlite_url: str) -> None:
    """Job: `artifacts: [{name, mediaType, bytes}]`, and not where it is kept."""
    path, _ = await made(rig, sqlite_url)
    job = (await rig.get(path.partition("/artifacts")[0], "ann")).json()
    assert job["artifacts"] == [{"name": "song.wav", "mediaType": "audio/wav", "bytes": len(DATA)}]


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-9", slice(0, 10)),
        ("bytes=-5", slice(-5, None)),
        (f"bytes={CHUNK_BYTES}-", slice(CHUNK_BYTES, None)),
    ],
)
async def test_a_range(rig: Rig, sqlite_url: str, asked: str, part: slice) -> None:
    """Range requests: 206 with what was asked for, and where in the whole it stands."""
    path, _ = await made(rig, sqlite_url)
    answer = await rig.get(path, "ann", Range=asked)
    assert (answer.status_code, answer.content == DATA[part]) == (206, True)
    start = range(len(DATA))[part].start
    end = start + len(DATA[part]) - 1
    assert answer.headers["Content-Range"] == f"bytes {start}-{end}/{len(DATA)}"
    assert answer.headers["Content-Length"] == str(len(DATA[part]))


async def test_a_range_beyond_the_end(rig: Rig, sqlite_url: str) -> None:
    """RFC 9110, section 15.5.17: 416 tells how long the file is."""
    path, _ = await made(rig, sqlite_url)
    answer = await rig.get(path, "ann", Range=f"bytes={len(DATA)}-")
    assert (answer.status_code, answer.json()["code"]) == (416, "RANGE_NOT_SATISFIABLE")
    assert answer.headers["Content-Range"] == f"bytes */{len(DATA)}"


async def test_a_range_of_another_version(rig: Rig, sqlite_url: str) -> None:
    """`If-Range` with another tag: the whole file, since the parts would not fit together."""
    path, _ = await made(rig, sqlite_url)
    assert (await rig.get(path, "ann", Range="bytes=0-9", **{"If-Range": TAG})).status_code == 206
    assert (await rig.get(path, "ann", Range="bytes=0-9", **{"If-Range": '"other"'})).status_code == 200


async def test_nothing_new(rig: Rig, sqlite_url: str) -> None:
    """`If-None-Match`: 304, and no bytes."""
    path, _ = await made(rig, sqlite_url)
    answer = await rig.get(path, "ann", **{"If-None-Match": f'"other", {TAG}'})
    assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", TAG)


async def test_the_head_alone(rig: Rig, sqlite_url: str) -> None:
    """HEAD tells all that GET would, of the whole file."""
    path, _ = await made(rig, sqlite_url)
    answer = await rig.client.head(path, headers=rig.as_("ann", Range="bytes=0-9"))
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(DATA))
    assert answer.headers["ETag"] == TAG


async def test_somebody_elses(rig: Rig, sqlite_url: str) -> None:
    """The same bytes for what is missing and what is not one's own, an admin's eyes included."""
    path, _ = await made(rig, sqlite_url)
    job_id = path.split("/")[2]
    answers = [
        await rig.get(path, "bob"),
        await rig.get(path, "amy"),
        await rig.get(path, "root"),
        await rig.get(f"/jobs/{job_id}/artifacts/other.wav", "ann"),
        await rig.get(f"/jobs/{new_id()}/artifacts/song.wav", "ann"),
        await rig.get("/jobs/none/artifacts/song.wav", "ann"),
        await rig.get(f"/jobs/{job_id}/artifacts/..%2Fsong.wav", "ann"),
    ]
    assert {_told(answer) for answer in answers} == {_told(answers[0])}
    assert answers[0].status_code == 404


def _told(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json() | {"requestId": None}
    return answer.status_code, str(body)


async def test_without_a_credential(rig: Rig, sqlite_url: str) -> None:
    """401, as everywhere."""
    path, _ = await made(rig, sqlite_url)
    assert (await rig.client.get(path)).status_code == 401


async def test_bytes_that_are_gone(rig: Rig, sqlite_url: str) -> None:
    """A file that somebody has taken out of the storage is not there."""
    path, _ = await made(rig, sqlite_url, stored=False)
    assert (await rig.get(path, "ann")).status_code == 404


async def test_a_page_of_another_origin(rig: Rig, sqlite_url: str) -> None:
    """CORS: an allowed page may ask for ranges and read what it got."""
    path, _ = await made(rig, sqlite_url)
    answer = await rig.get(path, "ann", Origin=PAGE_ORIGIN, Range="bytes=0-9")
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE_ORIGIN
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"Content-Range", "Content-Disposition", "ETag"} <= set(exposed)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_link_elsewhere(sqlite_url: str, method: str) -> None:
    """Where the storage has a URL to give, the client is sent there; nobody keeps the way."""
    async with serving(sqlite_url, files=Linked()) as rig:
        path, artifact = await made(rig, sqlite_url, stored=False)
        answer = await rig.client.request(method, path, headers=rig.as_("ann"))
        assert answer.status_code == 307
        assert answer.headers["Location"] == f"https://bucket.example/{artifact.key}?{method}"
        assert answer.headers["Cache-Control"] == "private, no-store"
        assert (await rig.get(path, "bob")).status_code == 404
        assert (await rig.get(path, "ann", **{"If-None-Match": TAG})).status_code == 304


async def test_a_client_that_stalls(rig: Rig, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that cannot progress: the client is left, and the file is closed."""
    monkeypatch.setattr(module, "STALLED_SECONDS", 0.01)
    path, _ = await made(rig, sqlite_url)
    sent: list[str] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        sent.append(str(message["type"]))
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    headers = [(b"host", b"tidings.test"), (b"authorization", f"Bearer {rig.token('ann')}".encode())]
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
    await rig.app({**scope, "headers": headers, "client": ("127.0.0.1", 1)}, receive, send)  # type: ignore[arg-type]  # plain dicts
    assert sent == ["http.response.start", "http.response.body"]
