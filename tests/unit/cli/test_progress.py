"""The progress bar, as it is left when the job has ended."""

from collections.abc import Iterator

import pytest

from tidings.cli.follow import Line, Say
from tidings.cli.progress import draw

STARTED: Line = {"type": "started", "status": "running", "stage": None, "progress": 0.0, "attempt": 1}


def test_the_last_picture(capsys: pytest.CaptureFixture[str]) -> None:
    """Contract 1: long work shows a progress bar: stage, percent, attempt and message, on stderr."""
    last: Line = {
        **STARTED,
        "type": "progress",
        "stage": "mix",
        "progress": 0.5,
        "attempt": 2,
        "message": "loud",
    }
    assert draw(lambda _: iter([STARTED, last])) == last
    said = capsys.readouterr()
    assert said.out == ""
    for part in ("mix", " 50%", "attempt 2", "loud"):
        assert part in said.err


def test_messages_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    """A message neither commands the terminal nor is taken for markup."""
    draw(lambda _: iter([{**STARTED, "message": "\x1b[2J[bold]x[/bold]"}]))
    said = capsys.readouterr().err
    assert "\x1b[2J" not in said
    assert "[bold]x[/bold]" in said


def test_what_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """That the server is away stands above the bar, once."""

    def follow(say: Say) -> Iterator[Line]:
        yield STARTED
        say("The server does not answer: [trying] again.")
        yield {**STARTED, "type": "completed"}

    draw(follow)
    assert capsys.readouterr().err.count("The server does not answer: [trying] again.\n") == 1
