"""``tidings notify``: what is sent for each audience, and how the result is shown."""

import json

import pytest

from tests.support.scripted_server import answer, problem, scripted
from tests.support.terminal import Terminal
from tidings.cli.exits import Exit
from tidings.domain.ids import new_id

SENT = {"id": "n-1", "title": "Hi"}


def sent_by(terminal: Terminal, *words: str) -> dict[str, object]:
    """The body that reaches the server."""
    with scripted([answer(201, SENT)]) as server:
        done = terminal.run("notify", *words, "--url", server.url, "--token", "t")
    assert done.exit_code == 0, done.output
    body: dict[str, object] = json.loads(server.asked[0].body)
    return body


def added(terminal: Terminal, email: str) -> dict[str, str]:
    done = terminal.run("users", "add", email, "--tenant", "acme", "--json")
    user: dict[str, str] = json.loads(done.stdout)
    return user


def test_to_an_id(terminal: Terminal) -> None:
    """An id is sent as it is: no database is needed for it."""
    assert sent_by(terminal, "u-1", "Hi", "There", "--priority", "high") == {
        "title": "Hi",
        "content": "There",
        "priority": "high",
        "audience": "user",
        "userId": "u-1",
    }
    assert not (terminal.folder / "var").exists()


def test_to_an_address(terminal: Terminal) -> None:
    """An address is looked up in the configured database."""
    user = added(terminal, "ann@acme.example")
    assert sent_by(terminal, "ann@acme.example", "Hi", "There")["userId"] == user["id"]


def test_to_a_tenant(terminal: Terminal) -> None:
    """A tenant is named by slug, which is looked up, or by id, which is not."""
    user = added(terminal, "ann@acme.example")
    assert sent_by(terminal, "acme", "Hi", "There", "--audience", "tenant")["tenantId"] == user["tenantId"]
    other = new_id()
    assert sent_by(terminal, other, "Hi", "There", "--audience", "tenant")["tenantId"] == other
    lost = terminal.run(
        "notify", "x", "Hi", "There", "--audience", "tenant", "--url", "http://x", "--token", "t"
    )
    assert lost.exit_code == Exit.NOT_FOUND.number


def test_to_everyone(terminal: Terminal) -> None:
    """Everyone is written out: a name with the wrong audience must not reach everybody."""
    body = sent_by(terminal, "everyone", "Hi", "There", "--audience", "global")
    assert (body["audience"], body.get("userId"), body.get("tenantId")) == ("global", None, None)
    done = terminal.run(
        "notify", "ann", "Hi", "There", "--audience", "global", "--url", "http://x", "--token", "t"
    )
    assert done.exit_code == Exit.USAGE.number


def test_result(terminal: Terminal) -> None:
    """A line for people, or the notification with ``--json``."""
    with scripted([answer(201, SENT)] * 2) as server:
        terminal.env["TIDINGS_TOKEN"] = "from-the-environment"
        words = ("notify", "u-1", "Hi", "There", "--url", server.url)
        assert terminal.run(*words).stdout == "Sent n-1 to u-1\n"
        assert json.loads(terminal.run(*words, "--json").stdout) == SENT
    assert server.asked[0].headers["authorization"] == "Bearer from-the-environment"


def test_signed_for_as(terminal: Terminal) -> None:
    """Without a token one is signed with the configured secret, and the address comes from the settings."""
    added(terminal, "ann@acme.example")
    with scripted([answer(201, SENT)]) as server:
        terminal.env["TIDINGS_PORT"] = server.url.rpartition(":")[2]
        done = terminal.run("notify", "u-1", "Hi", "There", "--as", "ann@acme.example")
    assert done.exit_code == 0, done.output
    assert server.asked[0].headers["authorization"].startswith("Bearer ey")


@pytest.mark.parametrize(
    ("words", "end"), [([], Exit.USAGE), (["--as", "nobody@acme.example"], Exit.NO_USER)]
)
def test_nobody(terminal: Terminal, words: list[str], end: Exit) -> None:
    """Without a credential, or as somebody who is not there, nothing is sent."""
    assert terminal.run("notify", "u-1", "Hi", "There", *words).exit_code == end.number


def test_refused(terminal: Terminal) -> None:
    """Errors show the problem's title, code and requestId."""
    with scripted([problem(403, "FORBIDDEN")]) as server:
        done = terminal.run("notify", "u-1", "Hi", "There", "--url", server.url, "--token", "t")
    assert done.exit_code == Exit.NOT_ALLOWED.number
    assert done.stderr == "tidings: Forbidden (FORBIDDEN)\n  requestId: r-1\n"
