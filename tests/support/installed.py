"""The installed ``tidings`` command, run as people run it: in a directory and an environment of its own."""

import os
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from tests.support.processes import Child, running

TIDINGS = Path(sys.executable).with_name("tidings")
SECONDS = 60.0


class Installed:
    """``env`` is the whole environment. The embedded database and the secret are below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "TIDINGS_VAR": str(folder / "var"),
            "TIDINGS_DRAIN_SECONDS": "0",
        }

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """A command to its end."""
        return self._to_the_end([TIDINGS, *words], self.folder, stdin)

    def paste(self, lines: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Lines as bash takes them."""
        return self._to_the_end(["bash", "-c", lines], folder or self.folder, "")

    def start(self, *words: str) -> AbstractContextManager[Child]:
        """A command that does not outlive the block."""
        return running([TIDINGS, *words], env=self.env, cwd=self.folder)

    def start_pasted(self, line: str, folder: Path | None = None) -> AbstractContextManager[Child]:
        """A line in a terminal that does not outlive the block."""
        return running(["bash", "-c", f"exec {line}"], env=self.env, cwd=folder or self.folder)

    def _to_the_end(
        self, command: list[str | Path], folder: Path, stdin: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=self.env,
            cwd=folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
