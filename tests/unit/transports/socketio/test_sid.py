"""The names of sessions (contract, section 4: "no sticky sessions needed across the workers of one machine")."""

from pathlib import Path

import pytest

from tidings.domain.crew import Crew
from tidings.transports.socketio.sid import Sids

ALONE = Sids(None)
SECOND = Sids(Crew(1, 12, Path("/nowhere")))
EIGHTH = Sids(Crew(7, 12, Path("/nowhere")))


def target(sid: str) -> bytes:
    return f"/socket.io/?EIO=4&transport=polling&sid={sid}&t=abc".encode()


def test_names_are_secrets() -> None:
    """Each has 120 random bits, whatever stands in front of them."""
    for sids in (ALONE, SECOND):
        names = {sids.new() for _ in range(1000)}
        assert len({name[-20:] for name in names}) == 1000
    assert len(ALONE.new()) == 20


def test_the_owner_of_a_name() -> None:
    """A name leads every other worker to the one that made it, and that one nowhere."""
    asked = target(SECOND.new())
    assert (SECOND.elsewhere(asked), EIGHTH.elsewhere(asked), ALONE.elsewhere(asked)) == (None, 1, None)


@pytest.mark.parametrize(
    "sid",
    [
        "",
        ".",
        "1",
        ".1",
        "12.x",
        "99999999999999999999.x",
        "-1.x",
        "01.x",
        "+1.x",
        "1%2Ex",
        "\u0661.x",
        "a.x",
    ],
)
def test_names_of_nobody(sid: str) -> None:
    """A name that no worker has made is the reader's to refuse."""
    assert EIGHTH.elsewhere(target(sid)) is None


@pytest.mark.parametrize("asked", [b"/socket.io/?EIO=4&xsid=1.x", b"/sid=1.x", b"", b"/?a=sid=1.x"])
def test_targets_without_a_name(asked: bytes) -> None:
    """Only the parameter counts."""
    assert EIGHTH.elsewhere(asked) is None
