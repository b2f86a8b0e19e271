"""One thing done to many."""

import pytest
import typer

from tidings.cli.bulk import each
from tidings.cli.exits import Exit, Failure


class Server:
    """Refuses what it is told to, in turn."""

    def __init__(self, *refusals: Failure | None) -> None:
        self.refusals = list(refusals)
        self.asked: list[str] = []
        self.pauses: list[float] = []

    def do(self, *names: str) -> None:
        each(names, self._act, pause=self.pauses.append)

    def _act(self, name: str) -> None:
        self.asked.append(name)
        refusal = self.refusals.pop(0) if self.refusals else None
        if refusal is not None:
            raise refusal


def test_what_concerns_one_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """The rest are done, and the first refusal decides how it ends."""
    server = Server(None, Failure(Exit.NOT_FOUND, "gone"), Failure(Exit.CONFLICT, "over"))
    with pytest.raises(typer.Exit) as caught:
        server.do("a", "b", "c", "d")
    assert caught.value.exit_code == Exit.NOT_FOUND.number
    assert server.asked == ["a", "b", "c", "d"]
    assert capsys.readouterr().err == "tidings: b: gone\ntidings: c: over\n"


def test_what_concerns_all_ends_it() -> None:
    """A token that is not accepted is not tried for each."""
    server = Server(Failure(Exit.NOT_ALLOWED, "no"))
    with pytest.raises(Failure):
        server.do("a", "b")
    assert server.asked == ["a"]


def test_patience() -> None:
    """ "429 (+ ``Retry-After``)": waits as long as it is told, and tries the same again."""
    server = Server(None, Failure(Exit.TRY_LATER, "slow down", retry_after=7))
    server.do("a", "b", "c")
    assert server.asked == ["a", "b", "b", "c"]
    assert server.pauses == [7]
