"""Makes sure that what the tests run is there: redis-server, PostgreSQL, Chromium, Node and the npm clients.

As root on Debian or Ubuntu what is missing is installed with apt-get; elsewhere it is named, with how to get
it, and the exit code is 1. When all is there it only looks, in about a second. Python packages are the
Makefile's business.

Usage: ``python -m scripts.test_environment``.
"""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.support import programs
from tests.support.programs import MissingProgramError

CLIENTS = Path(__file__).resolve().parent.parent / "tests" / "system" / "clients"
ATTEMPTS = 2

_APT = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120")


@dataclass(frozen=True, slots=True)
class Component:
    """Something the tests run: how to look for it, and what package has it."""

    find: Callable[[], Path]
    debian: str
    homebrew: str
    ubuntu: str = ""

    def fault(self) -> str | None:
        """What is wrong with it; None if nothing is."""
        try:
            self.find()
        except MissingProgramError as error:
            return str(error)
        return None


COMPONENTS = (
    Component(programs.redis_server, debian="redis-server", homebrew="redis"),
    Component(lambda: programs.postgres("initdb"), debian="postgresql", homebrew="postgresql@17"),
    Component(programs.chromium, debian="chromium", homebrew="--cask chromium", ubuntu="chromium-browser"),
    Component(programs.node, debian="nodejs", homebrew="node"),
    Component(programs.npm, debian="npm", homebrew="node"),
    Component(programs.c_compiler, debian="build-essential", homebrew="gcc"),
)


class EnvironmentFailureError(Exception):
    """The tests cannot run here. The message is for the person who asked for them."""


def main() -> int:
    try:
        ensure_programs(COMPONENTS)
        ensure_clients(CLIENTS)
    except EnvironmentFailureError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def ensure_programs(components: Iterable[Component]) -> None:
    """Install the components that are missing.

    Raises:
        EnvironmentFailureError: some are missing and can't be installed here; each is named.
    """
    missing = [component for component in components if component.fault() is not None]
    if missing and can_install():
        _install([_package(component) for component in missing])
    faults = [(component, component.fault()) for component in missing]
    lines = [f"- {fault}\n  get it with: {_advice(component)}" for component, fault in faults if fault]
    if lines:
        raise EnvironmentFailureError("\n".join(["The tests need what is not here:", *lines]))


def can_install() -> bool:
    """Whether this is root on Debian, Ubuntu or a child of theirs."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    return not _families().isdisjoint({"debian", "ubuntu"})


def ensure_clients(folder: Path) -> None:
    """Install the stock npm clients, unless that was done since their lock file last changed.

    Raises:
        EnvironmentFailureError: npm failed; its own words were shown above.
    """
    lock, stamp = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"
    if stamp.exists() and stamp.stat().st_mtime >= lock.stat().st_mtime:
        return
    print("Installing the stock clients with npm")
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)]
    command = [str(programs.npm()), "ci", *options]
    if not any(_run(command) for _ in range(ATTEMPTS)):
        raise EnvironmentFailureError(f"npm ci failed in {folder}")


def _install(packages: list[str]) -> None:
    print("Installing with apt-get:", ", ".join(packages))
    for _ in range(ATTEMPTS):
        if _run([*_APT, "update"]) and _run([*_APT, "install", "-y", "--no-install-recommends", *packages]):
            return


def _run(command: list[str]) -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, check=False, env=environment).returncode == 0


def _families() -> frozenset[str]:
    """The names of this Linux and of those it derives from."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return frozenset()
    return frozenset({release.get("ID", ""), *release.get("ID_LIKE", "").split()})


def _package(component: Component) -> str:
    return component.ubuntu if component.ubuntu and "ubuntu" in _families() else component.debian


def _advice(component: Component) -> str:
    if sys.platform == "darwin":
        return f"brew install {component.homebrew}"
    return f"apt-get install {_package(component)} (as root), or your system's package of it"


if __name__ == "__main__":
    sys.exit(main())
