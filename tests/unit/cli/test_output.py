"""What commands print, and what they keep from the terminal."""

import pytest

from tidings.cli import output


def test_results_and_asides(capsys: pytest.CaptureFixture[str]) -> None:
    """Results go to stdout, so that they can be piped; words to the reader go to stderr."""
    output.result("a result")
    output.result_json({"name": "Zoë", "n": 1})
    output.aside("by the way")
    said = capsys.readouterr()
    assert said.out == 'a result\n{"name":"Zoë","n":1}\n'
    assert said.err == "by the way\n"


def test_plain() -> None:
    """Text from elsewhere keeps its letters and loses what would command a terminal."""
    assert output.plain("Zoë \x1b]0;owned\x07日本\n\r\u202e") == "Zoë ]0;owned日本"
