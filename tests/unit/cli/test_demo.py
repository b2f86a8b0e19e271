"""The demo: who is there, and what is printed for a newcomer to paste."""

import asyncio
import re
import shlex
import stat
import subprocess

import pytest

from tests.support.terminal import Terminal
from tidings.cli import demo
from tidings.cli.database import opened
from tidings.domain.people import Role
from tidings.store import tenants, users

URL = "http://127.0.0.1:4000"


async def prepared(terminal: Terminal) -> tuple[demo.Visitor, ...]:
    settings = terminal.settings()
    async with opened(settings) as database:
        return await demo.prepare(database, settings)


async def test_people(terminal: Terminal) -> None:
    """Contract 1: the embedded default has a demo tenant and users; starting again makes no others."""
    first, again = await prepared(terminal), await prepared(terminal)
    assert [visitor.user for visitor in first] == [visitor.user for visitor in again]
    assert {visitor.user.email: visitor.user.role for visitor in first} == {
        "ada@demo.test": Role.ADMIN,
        "grace@demo.test": Role.USER,
        "alan@demo.test": Role.USER,
    }
    async with opened(terminal.settings()) as database, database.read() as tx:
        tenant = await tenants.find(tx, "demo")
        assert tenant is not None
        assert len((await users.page(tx, tenant.id, cursor=None, limit=10)).items) == 3


async def test_tokens_are_for_the_owner_s_eyes(terminal: Terminal) -> None:
    """The files that hold the headers, and their folder, are nobody else's to read."""
    for visitor in await prepared(terminal):
        assert visitor.header.read_text() == f"Authorization: Bearer {visitor.token}\n"
        assert stat.S_IMODE(visitor.header.stat().st_mode) == 0o600
        assert stat.S_IMODE(visitor.header.parent.stat().st_mode) == 0o700


async def test_banner(terminal: Terminal) -> None:
    """Contract 1: prints the console address, a token for each demo user and copy-paste lines; no link has a token."""
    visitors = await prepared(terminal)
    text = demo.banner(visitors, URL)
    assert f"{URL}/docs" in text
    assert re.search(rf"^Console: +{URL}/console ", text, re.MULTILINE)
    assert "console#" not in text
    for visitor in visitors:
        assert re.search(
            rf"{visitor.user.email} +{visitor.user.role} +{re.escape(visitor.token)}$", text, re.MULTILINE
        )
    assert len(text.splitlines()) <= 33


def test_lines_are_whole(terminal: Terminal) -> None:
    """Each indented command is one line that bash can read, whatever stands in the path of ``./var``."""
    odd = Terminal(terminal.folder / 'it\'s an "odd" $HOME')
    text = demo.banner(asyncio.run(prepared(odd)), URL)
    commands = re.findall(r"^  ((?:curl|node|JOB=).*)$", text, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        subprocess.run(["bash", "-n", "-c", command], check=True)
        assert str(odd.folder) in "".join(shlex.split(command)) or "node" in command


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, True),
        ({"env": "test"}, False),
        ({"env": "production"}, False),
        ({"database_url": "postgresql://x/y"}, False),
        ({"identity": "claims"}, False),
    ],
)
def test_wanted(terminal: Terminal, changes: dict[str, str], *, wanted: bool) -> None:
    """Only the embedded default in development has a demo."""
    assert demo.wanted(terminal.settings(**changes)) is wanted
