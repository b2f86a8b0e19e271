"""What commands print: results on stdout, so that they can be piped, and everything else on stderr."""

from collections.abc import Mapping
from typing import Annotated

import typer

from tidings.domain import strictjson

Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object on a line.")]
"""The option of every command that prints results."""


def result(text: str) -> None:
    """One line of what was asked for."""
    typer.echo(text)


def result_json(value: Mapping[str, object]) -> None:
    """The same for programs: one JSON object on a line."""
    typer.echo(strictjson.dumps(value).decode())


def aside(text: str) -> None:
    """A word to the person at the terminal."""
    typer.echo(text, err=True)


def plain(text: str) -> str:
    """A text from elsewhere without what could command the terminal."""
    return "".join(character for character in text if character.isprintable())
