"""``tidings users``: who may come in, kept in the configured database."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from tests.support.terminal import Terminal
from tidings.cli.database import opened
from tidings.cli.exits import Exit
from tidings.domain.ids import is_id
from tidings.store import revocations


def add(terminal: Terminal, email: str, tenant: str = "acme", *more: str) -> dict[str, object]:
    done = terminal.run("users", "add", email, "--tenant", tenant, "--json", *more)
    assert done.exit_code == 0, done.output
    user: dict[str, object] = json.loads(done.stdout)
    return user


def test_add(terminal: Terminal) -> None:
    """Contract 1: ``tidings users add ... --json`` prints the user as JSON, making the tenant if need be."""
    ann = add(terminal, "ann@acme.example", "acme", "--role", "ADMIN", "--name", "Ann Ä")
    assert is_id(str(ann["id"]))
    assert is_id(str(ann["tenantId"]))
    assert (ann["email"], ann["name"], ann["role"], ann["active"]) == (
        "ann@acme.example",
        "Ann Ä",
        "ADMIN",
        True,
    )
    bob = add(terminal, "bob@acme.example")
    assert bob["tenantId"] == ann["tenantId"]
    assert (bob["name"], bob["role"]) == (None, "USER")


def test_an_address_that_is_there(terminal: Terminal) -> None:
    """The same address again, whatever its case, is a conflict; another tenant may have it too."""
    ann = add(terminal, "ann@acme.example")
    again = terminal.run("users", "add", "Ann@Acme.example", "--tenant", "acme")
    assert again.exit_code == Exit.CONFLICT.number
    assert again.stderr == "tidings: Ann@Acme.example is a user of acme already\n"
    assert add(terminal, "ann@acme.example", "other")["tenantId"] != ann["tenantId"]


@pytest.mark.parametrize(
    "words",
    [
        ["ann", "--tenant", "acme"],
        ["a b@c", "--tenant", "acme"],
        ["a@b\x00", "--tenant", "acme"],
        [f"{'a' * 65}@b", "--tenant", "acme"],
        ["ann@acme.example"],
        ["ann@acme.example", "--tenant", ""],
        ["ann@acme.example", "--tenant", "a b"],
        ["ann@acme.example", "--tenant", "-a"],
        ["ann@acme.example", "--tenant", "a" * 65],
        ["ann@acme.example", "--tenant", "acme", "--role", "KING"],
        ["ann@acme.example", "--tenant", "acme", "--name", "\x1b[2J"],
    ],
)
def test_what_is_no_user(terminal: Terminal, words: list[str]) -> None:
    """Mistakes on the command line make nothing, not even the tenant or the database."""
    done = terminal.run("users", "add", *words)
    assert done.exit_code == Exit.USAGE.number
    assert not (terminal.folder / "var").exists()


def test_list(terminal: Terminal) -> None:
    """Every user, or one tenant's; with ``--json`` one object on a line."""
    added = [add(terminal, f"user{n}@acme.example") for n in range(3)]
    other = add(terminal, "bob@other.example", "other")
    lines = terminal.run("users", "list", "--tenant", "acme", "--json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == added[::-1]
    everyone = terminal.run("users", "list").stdout
    assert [line.split()[:4] for line in everyone.splitlines()] == [
        [other["id"], "other", "USER", "bob@other.example"],
        *([user["id"], "acme", "USER", user["email"]] for user in added[::-1]),
    ]


def test_list_goes_through_every_page(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list longer than a page is whole."""
    monkeypatch.setattr("tidings.cli.users._PAGE", 2)
    emails = {str(add(terminal, f"user{n}@acme.example")["email"]) for n in range(5)}
    lines = terminal.run("users", "list", "--json").stdout.splitlines()
    assert {json.loads(line)["email"] for line in lines} == emails


def test_list_of_no_tenant(terminal: Terminal) -> None:
    """A tenant that is not there is told apart from one without users."""
    assert terminal.run("users", "list").stdout == ""
    assert terminal.run("users", "list", "--tenant", "nowhere").exit_code == Exit.NOT_FOUND.number


def test_deactivate(terminal: Terminal) -> None:
    """Who is deactivated is shown as inactive, and doing it twice is no fault."""
    ann = add(terminal, "ann@acme.example")
    for who in (str(ann["email"]), str(ann["id"])):
        done = terminal.run("users", "deactivate", who, "--json")
        assert done.exit_code == 0
        assert json.loads(done.stdout) == {**ann, "active": False}
    assert "deactivated" in terminal.run("users", "list").stdout
    assert terminal.run("users", "deactivate", "bob@acme.example").exit_code == Exit.NO_USER.number


def test_deactivation_revokes_tokens(terminal: Terminal) -> None:
    """Contract 2: deactivation ends live connections within 1 s: nodes learn of it as of a revocation."""
    ann = add(terminal, "ann@acme.example")
    terminal.run("users", "deactivate", str(ann["id"]))

    async def live() -> list[revocations.Revocation]:
        async with opened(terminal.settings()) as database, database.read() as tx:
            return await revocations.live(tx, datetime.now(UTC))

    (revocation,) = asyncio.run(live())
    assert revocation.user_id == ann["id"]
    assert revocation.tenant_id == ann["tenantId"]
