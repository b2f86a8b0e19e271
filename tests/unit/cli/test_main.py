"""The command line as a whole: names, exit codes, and the page that documents them."""

import re
import shlex
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import pytest
import typer

from scripts.source_tree import ROOT
from tests.support.terminal import Terminal
from tidings.cli import main
from tidings.cli.exits import Exit

PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(main.app)


def commands(group: Any = COMMANDS, *path: str) -> Iterator[tuple[str, Any]]:
    """Every command that can be run, with its words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)
        else:
            yield " ".join(("tidings", *path, name)), command


def section(words: str) -> str:
    """What the page says under a command's heading."""
    found = re.search(rf"^### `{words}`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/cli.md has no section on {words}"
    return found[1]


def examples() -> list[str]:
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ tidings")]


def test_every_exit_code_is_documented() -> None:
    """Contract 1: exit codes are documented: the page's table is the catalogue, row by row."""
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", PAGE, re.MULTILINE)
    assert rows == [(str(end.number), end.meaning) for end in Exit]


def test_every_command_is_documented() -> None:
    """Each command has its section, with an example and each of its options."""
    for words, command in commands():
        text = section(words)
        assert f"$ {words}" in text
        options = [name for option in command.params for name in (*option.opts, *option.secondary_opts)]
        missing = [name for name in options if name.startswith("--") and f"`{name}" not in text]
        assert missing in ([], ["--help"]), words


def test_page_has_no_command_of_the_past() -> None:
    """Each section is of a command that exists."""
    headings = re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE)
    assert sorted(headings) == sorted(words for words, _ in commands())


@pytest.mark.parametrize("example", examples())
def test_every_example_can_be_read(example: str) -> None:
    """Each example is a command line that the command understands."""
    words = shlex.split(example, comments=True)
    command, words = COMMANDS, words[1:]
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    command.make_context("tidings", words)


def test_help_is_for_those_who_say_nothing(terminal: Terminal) -> None:
    """``tidings`` alone lists its commands."""
    done = terminal.run()
    assert done.exit_code == Exit.USAGE.number
    for name in ("serve", "migrate", "token", "users", "notify", "jobs"):
        assert re.search(rf"^  {name} ", done.output, re.MULTILINE)


def test_version(terminal: Terminal) -> None:
    """``--version`` needs no command, and is read by scripts: the name and the package's own version."""
    done = terminal.run("--version")
    assert (done.exit_code, done.stdout) == (Exit.OK.number, f"tidings {metadata.version('tidings')}\n")


def test_a_slip_is_told_what_was_meant(terminal: Terminal) -> None:
    """Commands that nobody has loaded yet are known by name."""
    assert "Did you mean 'serve'" in terminal.run("serv").stderr


def test_usage(terminal: Terminal) -> None:
    """An unknown command or option is a mistake in usage."""
    for words in (["serv"], ["serve", "--prot", "1"], ["jobs"], ["jobs", "watch"]):
        assert terminal.run(*words).exit_code == Exit.USAGE.number


def test_the_system_s_refusals_are_told_in_a_line(terminal: Terminal) -> None:
    """What the operating system forbids ends with its words, not with a traceback."""
    (terminal.folder / "var").write_text("a file where a folder has to be")
    done = terminal.run("users", "list")
    assert done.exit_code == Exit.SYSTEM.number
    assert re.fullmatch(r"tidings: .*/var.*: [A-Z].*\n", done.stderr)
