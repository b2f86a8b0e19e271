"""From an address to a storage."""

from pathlib import Path

import pytest

from tidings.artifacts.address import storage_at
from tidings.artifacts.base import Label
from tidings.artifacts.s3 import S3Storage


@pytest.mark.parametrize("given", ["", "file"])
async def test_directories(tmp_path: Path, given: str) -> None:
    """Without an address it is the default's directory; with `file://` the one that is named."""
    default, named = tmp_path / "default", tmp_path / "a b"
    storage = storage_at(f"file://{tmp_path}/a%20b" if given else "", default)
    await storage.put("job/one", b"x", Label("one", "text/plain"))
    assert (named if given else default).joinpath("job/one").read_bytes() == b"x"


async def test_buckets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Bucket, prefix, endpoint and region stand in what is signed."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    storage = storage_at(
        "s3://bucket/some/where/?endpoint=https://s3.example:9000&region=eu-north-1", tmp_path
    )
    assert isinstance(storage, S3Storage)
    link = await storage.link("job/one", "GET")
    assert link is not None
    assert link.startswith("https://s3.example:9000/bucket/some/where/job/one?")
    assert "eu-north-1" in link


async def test_amazon_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without an endpoint it is Amazon's, where the bucket is part of the host."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    link = await storage_at("s3://bucket?region=eu-north-1", tmp_path).link("job/one", "GET")
    assert link is not None
    assert link.startswith("https://bucket.s3.eu-north-1.amazonaws.com/job/one?")


async def test_downloads_through_the_server(tmp_path: Path) -> None:
    """`downloads=proxy` keeps the bucket to the server alone."""
    storage = storage_at("s3://bucket?region=eu-north-1&downloads=proxy", tmp_path)
    assert await storage.link("job/one", "GET") is None
