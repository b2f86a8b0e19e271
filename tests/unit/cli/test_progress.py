"""The progress bar, as it is left when the job has ended."""

import pytest

from tidings.cli.follow import Line
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
    assert draw(iter([STARTED, last])) == last
    said = capsys.readouterr()
    assert said.out == ""
    for part in ("mix", " 50%", "attempt 2", "loud"):
        assert part in said.err


def test_messages_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    """A message neither commands the terminal nor is taken for markup."""
    draw(iter([{**STARTED, "message": "\x1b[2J[bold]x[/bold]"}]))
    said = capsys.readouterr().err
    assert "\x1b[2J" not in said
    assert "[bold]x[/bold]" in said
