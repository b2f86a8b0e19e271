"""``tidings migrate``: says from where to where."""

import json

from tests.support.terminal import Terminal
from tidings.cli.exits import Exit
from tidings.store.migrate import head


def test_from_nothing(terminal: Terminal) -> None:
    """The first time it says that there was nothing, the second that there is nothing to do."""
    assert terminal.run("migrate").stdout == f"Migrated from nothing to {head()}\n"
    assert terminal.run("migrate").stdout == f"The database is up to date: {head()}\n"


def test_json(terminal: Terminal) -> None:
    """With ``--json`` the revisions, null for an empty database."""
    assert json.loads(terminal.run("migrate", "--json").stdout) == {"from": None, "to": head()}
    assert json.loads(terminal.run("migrate", "--json").stdout) == {"from": head(), "to": head()}


def test_postgres_that_does_not_answer(terminal: Terminal) -> None:
    """Contract 9: database down; here it is told in a line, without a traceback."""
    terminal.env["TIDINGS_DATABASE_URL"] = "postgresql://someone:hush@127.0.0.1:1/nothing"
    done = terminal.run("migrate")
    assert done.exit_code == Exit.UNAVAILABLE.number
    assert done.stderr.startswith("tidings: Service unavailable")
    assert "hush" not in done.output
