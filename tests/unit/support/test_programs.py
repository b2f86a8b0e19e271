"""The real programs are found, and their absence or age is told."""

from pathlib import Path

import pytest

from tests.support import programs
from tests.support.programs import MissingProgramError


def fake(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of that name, alone on the path."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize("version", ["7.0.15", "10.2.1"])
def test_redis_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """Contract 1: ``redis-server`` >= 7."""
    fake(tmp_path, "redis-server", f"echo 'Redis server v={version} sha=0'", monkeypatch)
    assert programs.redis_server() == tmp_path / "redis-server"


def test_old_redis_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract 1: ``redis-server`` >= 7; sharded publish and subscribe came with it."""
    fake(tmp_path, "redis-server", "echo 'Redis server v=6.2.9 sha=0'", monkeypatch)
    with pytest.raises(MissingProgramError, match="older than 7"):
        programs.redis_server()


def test_newest_postgres_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several versions the highest number, not the one that sorts last."""
    for version in ("9", "15"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "initdb").touch()
    monkeypatch.setattr(programs, "_POSTGRES_FOLDERS", (f"{tmp_path}/*/bin",))
    assert programs.postgres("initdb") == tmp_path / "15" / "bin" / "initdb"


def test_browser_must_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that only says where to get a browser is no browser."""
    fake(tmp_path, "chromium-browser", "echo 'requires the snap'; exit 1", monkeypatch)
    with pytest.raises(MissingProgramError, match="does not start"):
        programs.chromium()


@pytest.mark.parametrize("find", [programs.redis_server, programs.chromium, programs.node, programs.npm])
def test_absence_is_told(find: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look-up fails with a message that says what to do."""
    monkeypatch.setenv("PATH", "")
    assert callable(find)
    with pytest.raises(MissingProgramError, match="is not installed; `make test`"):
        find()
