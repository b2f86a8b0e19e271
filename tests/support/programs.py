"""Where the real programs are that the tests run: redis-server, PostgreSQL, a browser, Node.

Only looks; ``scripts/test_environment.py`` installs. A program that is not there is an error with a message
that tells what to do, never a reason to skip a test.
"""

import re
import shutil
import subprocess
from pathlib import Path

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
REDIS_MAJOR = 7

_POSTGRES_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
_VERSION_SECONDS = 30.0


class MissingProgramError(RuntimeError):
    """A program that the tests need is not there, or not as they need it."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; `make test` installs or names what the tests need")


def redis_server() -> Path:
    """The Redis server, version 7 or later.

    Raises:
        MissingProgramError: there is none, or an older one.
    """
    path = _on_path("redis-server")
    said = _version(path)
    match = re.search(r"v=(\d+)", said)
    if match is None or int(match.group(1)) < REDIS_MAJOR:
        raise MissingProgramError(f"redis-server is older than {REDIS_MAJOR}: {said}")
    return path


def postgres(program: str) -> Path:
    """A program of the newest PostgreSQL here: ``postgres``, ``initdb``. Debian keeps them off the path.

    Raises:
        MissingProgramError: no server is installed.
    """
    folders = [folder for pattern in _POSTGRES_FOLDERS for folder in Path("/").glob(pattern[1:])]
    for folder in sorted(folders, key=_number, reverse=True):
        if (folder / program).is_file():
            return folder / program
    return _on_path(program)


def chromium() -> Path:
    """A Chromium that starts: Ubuntu has a command of that name that only speaks of a snap.

    Raises:
        MissingProgramError: there is none, or it does not start.
    """
    for name in CHROMIUM_NAMES:
        found = shutil.which(name)
        if found is not None:
            _version(Path(found))
            return Path(found)
    raise MissingProgramError("chromium is not installed")


def c_compiler() -> Path:
    """What the benchmark's receiver is compiled with.

    Raises:
        MissingProgramError: there is none.
    """
    return _on_path("cc")


def node() -> Path:
    """Node, which runs the stock clients.

    Raises:
        MissingProgramError: there is none.
    """
    return _on_path("node")


def npm() -> Path:
    """npm, which installs them.

    Raises:
        MissingProgramError: there is none.
    """
    return _on_path("npm")


def _on_path(program: str) -> Path:
    found = shutil.which(program)
    if found is None:
        raise MissingProgramError(f"{program} is not installed")
    return Path(found)


def _version(path: Path) -> str:
    """What the program says of itself."""
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=_VERSION_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise MissingProgramError(f"{path} does not start: {error}") from error
    return done.stdout.strip()


def _number(folder: Path) -> int:
    """The version in a path such as ``/usr/lib/postgresql/15/bin``; 0 if there is none."""
    digits = re.findall(r"\d+", str(folder))
    return int(digits[-1]) if digits else 0
