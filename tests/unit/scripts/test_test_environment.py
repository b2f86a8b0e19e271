"""What is done about programs that the tests need and that are not there."""

from pathlib import Path

import pytest

from scripts import test_environment
from scripts.test_environment import COMPONENTS, Component, EnvironmentFailureError, ensure_programs
from tests.support.programs import MissingProgramError


def absent() -> Path:
    raise MissingProgramError("frobnicator is not installed")


ABSENT = Component(absent, debian="frobnicator-bin", homebrew="frob")


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nothing may be installed."""
    monkeypatch.setattr(test_environment, "can_install", lambda: False)


def test_nothing_is_missing_here() -> None:
    """Contract 1: ``make test`` installs whatever the tests need, so here all of it is there."""
    assert [component.fault() for component in COMPONENTS] == [None] * len(COMPONENTS)


def test_missing_component_is_named(elsewhere: None) -> None:
    """Contract 1: elsewhere it names what is missing and fails."""
    with pytest.raises(EnvironmentFailureError) as caught:
        ensure_programs([ABSENT, *COMPONENTS])
    assert str(caught.value).count("\n- ") == 1
    assert "- frobnicator is not installed" in str(caught.value)
    assert "get it with: " in str(caught.value)


def fake_apt(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An apt-get that writes down what it is asked, and is allowed to install; its notes."""
    notes = folder / "notes"
    program = folder / "apt-get"
    program.write_text(f'#!/bin/sh\necho "$DEBIAN_FRONTEND $*" >> {notes}\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(test_environment, "can_install", lambda: True)
    return notes


def test_missing_component_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract 1: installs what is missing through apt, without a question and without what is only handy."""
    program = tmp_path / "frobnicator"
    notes = fake_apt(tmp_path, f"touch {program}", monkeypatch)

    def find() -> Path:
        return program if program.exists() else absent()

    ensure_programs([Component(find, debian="frobnicator-bin", homebrew="frob"), *COMPONENTS])
    update, install = notes.read_text().splitlines()
    assert update.startswith("noninteractive ")
    assert update.endswith(" update")
    assert install.endswith(" install -y --no-install-recommends frobnicator-bin")


def test_installing_is_tried_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror may fail once; what is still missing after the second time is named."""
    notes = fake_apt(tmp_path, "exit 100", monkeypatch)
    with pytest.raises(EnvironmentFailureError, match="frobnicator is not installed"):
        ensure_programs([ABSENT])
    assert len(notes.read_text().splitlines()) == 2


def test_clients_are_installed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """npm is not asked again while node_modules is as new as the lock file."""
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "package-lock.json").touch()
    (tmp_path / "node_modules" / ".package-lock.json").touch()
    monkeypatch.setenv("PATH", "")
    test_environment.ensure_clients(tmp_path)


def test_clients_need_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without node_modules npm is looked for, and its absence is told."""
    (tmp_path / "package-lock.json").touch()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingProgramError, match="npm is not installed"):
        test_environment.ensure_clients(tmp_path)
