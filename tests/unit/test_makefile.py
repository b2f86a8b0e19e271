"""The named commands: each is listed, and the first one a newcomer runs fails with a message that helps."""

import re
import shutil
import subprocess
from pathlib import Path

from scripts.source_tree import ROOT

MAKEFILE = ROOT / "Makefile"


def make(*words: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *words], cwd=folder, capture_output=True, text=True, check=False
    )


def test_every_command_is_listed() -> None:
    """No command is a mystery: ``make`` alone says what each one does, in a line."""
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE.read_text(), re.MULTILINE)
    assert phony is not None
    listed = [line.split()[1] for line in make().stdout.splitlines()]
    assert sorted(listed) == sorted(phony[1].split())


def test_arguments_reach_the_server() -> None:
    """Contract 1: ``make run ARGS="--port 4100"`` and the environment reach ``tidings serve``."""
    steps = make("-n", "run", "ARGS=--port 4100").stdout.splitlines()
    assert steps[-1] == "exec .venv/bin/tidings serve --port 4100"


def test_old_python_is_told(tmp_path: Path) -> None:
    """Contract 1: Python >= 3.11; with an older one ``make run`` says so and how to name another."""
    shutil.copy(MAKEFILE, tmp_path)
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "run.txt").touch()
    (tmp_path / "pyproject.toml").touch()
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 || exit 1\n')
    old.chmod(0o755)
    done = make("run", f"PYTHON={old}", folder=tmp_path)
    assert done.returncode != 0
    assert f"needs Python >= 3.11; '{old}' is Python 3.9.2" in done.stderr
    assert "make run PYTHON=" in done.stderr
    assert not (tmp_path / ".venv").exists()
