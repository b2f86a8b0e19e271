"""Importing the user's modules: from where, and how what is wrong with one is told."""

import sys
from collections.abc import Iterator

import pytest

from tests.support.terminal import Terminal
from tidings.cli.exits import Exit, Failure
from tidings.cli.kinds import load, named


@pytest.fixture(autouse=True)
def imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test imports is forgotten afterwards, and so is from where."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_module_of_the_current_directory(terminal: Terminal) -> None:
    """It is found there, after the libraries; a second time it is the same one."""
    (terminal.folder / "pantry.py").write_text("opened = 1")
    (terminal.folder / "typer.py").write_text("raise RuntimeError")
    load(["pantry"])
    load(["pantry", "typer"])
    assert sys.modules["pantry"].opened == 1
    assert sys.path.count(str(terminal.folder)) == 1
    assert sys.path[-1] == str(terminal.folder)


def test_nothing_to_import(terminal: Terminal) -> None:
    """Without modules of one's own nothing is looked for here."""
    load([])
    assert str(terminal.folder) not in sys.path


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import no_such_thing", "broken.py, line 1: ModuleNotFoundError: No module named 'no_such_thing'"),
        ("\n\nx = (", "broken.py, line 3: SyntaxError: '(' was never closed"),
        ("x = 1\nx.y()", "broken.py, line 2: AttributeError: 'int' object has no attribute 'y'"),
        (
            "import tidings\n@tidings.job('a')\ndef f(): ...",
            "broken.py, line 2: tidings.jobs.kinds.KindError: ",
        ),
        ("raise SystemExit(7)", "broken.py, line 1: SystemExit: 7"),
        ("raise ValueError('a\\x1b[2Jb')", "broken.py, line 1: ValueError: a[2Jb"),
    ],
)
def test_a_module_that_cannot_be_imported(terminal: Terminal, source: str, told: str) -> None:
    """The place in the user's own code, and the reason, in a line."""
    (terminal.folder / "broken.py").write_text(source)
    with pytest.raises(Failure) as caught:
        load(["broken"])
    assert caught.value.end is Exit.CONFIG
    assert str(caught.value).startswith(f"--app broken: {terminal.folder}/{told}")


@pytest.mark.parametrize(
    ("module", "missing"), [("nowhere", "nowhere"), ("shop.far.away", "shop.far"), ("no.where", "no")]
)
def test_a_module_that_is_not_there(terminal: Terminal, module: str, missing: str) -> None:
    """Which part of the name is missing, and where it was looked for."""
    (terminal.folder / "shop").mkdir()
    with pytest.raises(Failure) as caught:
        load([module])
    assert f"--app {module}: there is no module {missing}, neither in {terminal.folder} " in str(caught.value)


def test_no_name_of_a_module(terminal: Terminal) -> None:
    """What cannot be a name is told as well as what is none."""
    with pytest.raises(Failure, match="--app : ValueError: Empty module name"):
        load([""])


def test_as_the_setting_has_it() -> None:
    """Options become the value of ``TIDINGS_APP``; no option leaves it alone."""
    assert named(["a", "b.c"]) == "a,b.c"
    assert named([]) is named(None) is None
