"""A real PostgreSQL for the tests, on a port of its own, gone without a trace when they are done.

It keeps no promise about durability (fsync is off), unless it is to be crashed: it lives as long as a test run. Whoever connects on the
loopback address is its superuser, without a password.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from signal import SIGINT, SIGQUIT

import asyncpg

from tests.support.processes import Child, free_port, running
from tests.support.programs import MissingProgramError, postgres

SUPERUSER = "postgres"

_CONFIGURATION = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "jit": "off",
}
_CRASHABLE = {"synchronous_commit": "on"}
"""What is committed survives the server's end, though not the machine's."""
_READY = "database system is ready to accept connections"
_INITDB_SECONDS = 60.0
_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class PostgresServer:
    """A running server that hands out empty databases."""

    port: int
    start: Callable[[], Child]
    """Start it again after ``crash``."""
    children: list[Child] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def crash(self) -> None:
        """End it at once, as if it had crashed: what was committed is found again by its log."""
        self.children[-1].stop(SIGQUIT)

    async def fresh_database(self) -> str:
        """Make an empty database; its ``postgresql://`` address."""
        name = f"test_{next(self._numbers)}"
        await self._execute(f"CREATE DATABASE {name}")
        return self.url(name)

    async def drop_database(self, url: str) -> None:
        """Drop one that ``fresh_database`` made, whoever is still connected to it."""
        await self._execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def url(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@contextmanager
def serving(*, crashable: bool = False) -> Iterator[PostgresServer]:
    """Lay a new cluster, serve it for the time of the block, and remove it. One that is ``crashable`` keeps what
    was committed over a ``crash``.

    Raises:
        MissingProgramError: no PostgreSQL server is installed, or, as root, no user to run it as.
    """
    user = _owner()
    folder = Path(tempfile.mkdtemp(prefix="tidings-pg-", dir=_place()))
    try:
        if user is not None:
            shutil.chown(folder, user, user)
        data = folder / "data"
        _lay_cluster(data, user)
        settings = {
            **_CONFIGURATION,
            **(_CRASHABLE if crashable else {}),
            "port": str(free_port()),
            "unix_socket_directories": str(folder),
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command: list[str | Path] = [postgres("postgres"), "-D", data, *options]

        def start() -> Child:
            # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for every client to go.
            child = stack.enter_context(running(command, user=user, stop_with=SIGINT))
            server.children.append(child)
            child.wait_for_output(_READY)
            return child

        server = PostgresServer(int(settings["port"]), start)
        with ExitStack() as stack:
            start()
            yield server
    finally:
        shutil.rmtree(folder)


def _place() -> Path:
    """Memory if there is plenty of it, where a new database is ten times as quick to make; /tmp otherwise.

    Either is short, as it must be: a unix socket's path is limited to about 100 characters.
    """
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _ROOM_BYTES:
        return _MEMORY
    return Path("/tmp")


def _lay_cluster(data: Path, user: str | None) -> None:
    options = ("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
    done = subprocess.run(
        [postgres("initdb"), "-D", data, "-U", SUPERUSER, *options],
        user=user,
        group=user,
        extra_groups=None if user is None else (),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_INITDB_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"initdb failed: {done.stdout}{done.stderr}")


def _owner() -> str | None:
    """PostgreSQL refuses to run as root; its package brings a user for that. None: run as we are."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(SUPERUSER)
    except KeyError:
        raise MissingProgramError("there is no user `postgres` to run PostgreSQL as") from None
    return SUPERUSER
