"""The fixtures give real databases, empty ones, one's own."""

import asyncpg
import pytest

from tests.support import postgres, programs
from tests.support.postgres import PostgresServer


@pytest.mark.parametrize("turn", [1, 2])
async def test_database_works_and_is_fresh(postgres_url: str, turn: int) -> None:
    """Each test finds a PostgreSQL database with nothing in it."""
    connection = await asyncpg.connect(postgres_url)
    try:
        assert await connection.fetchval("SELECT 1") == 1
        assert await connection.fetchval("SELECT count(*) FROM pg_stat_user_tables") == 0
        await connection.execute("CREATE TABLE leftover (id int)")
    finally:
        await connection.close()


async def test_databases_are_dropped(postgres_server: PostgresServer) -> None:
    """A database goes even if somebody still holds a connection to it."""
    url = await postgres_server.fresh_database()
    connection = await asyncpg.connect(url)
    await postgres_server.drop_database(url)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(url)
    connection.terminate()


def test_both_kinds_are_offered(database_url: str, request: pytest.FixtureRequest) -> None:
    """A test that takes ``database_url`` runs once on SQLite and once on PostgreSQL."""
    kind = "sqlite" if "[sqlite]" in request.node.name else "postgresql"
    assert database_url.startswith(f"{kind}://")


def test_absence_is_an_error_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing server fails with what to do about it; nothing is skipped."""
    monkeypatch.setattr(programs, "_POSTGRES_FOLDERS", ())
    monkeypatch.setenv("PATH", "")
    with (
        pytest.raises(programs.MissingProgramError, match="not installed; `make test` installs"),
        postgres.serving(),
    ):
        pass
