"""The REST API as commands meet it: what is sent, and how a refusal is told."""

import pytest

from tests.support.scripted_server import answer, problem, scripted
from tidings.cli.exits import Exit, Failure
from tidings.cli.remote import Remote


def refused(answers: list[bytes]) -> Failure:
    with (
        scripted(answers) as server,
        Remote(server.url, lambda: "t") as remote,
        pytest.raises(Failure) as caught,
    ):
        remote.post("/jobs", {})
    return caught.value


def test_a_request() -> None:
    """JSON goes out with the bearer token, which is asked for anew each time; the resource comes back."""
    tokens = iter(["one", "two"])
    with (
        scripted([answer(201, {"id": "7"})] * 2) as server,
        Remote(server.url, lambda: next(tokens)) as remote,
    ):
        assert remote.post("/notifications", {"title": "Hi"}) == {"id": "7"}
        remote.post("/notifications", {})
    first, second = server.asked
    assert (first.method, first.path, first.body) == ("POST", "/notifications", b'{"title":"Hi"}')
    assert first.headers["content-type"] == "application/json"
    assert (first.headers["authorization"], second.headers["authorization"]) == ("Bearer one", "Bearer two")


def test_a_problem() -> None:
    """Contract 3: title, code, requestId and the fields, each to be seen."""
    errors = [{"field": "title", "message": "is too long"}, {"field": "", "message": "is odd"}]
    failure = refused([problem(422, "VALIDATION_FAILED", detail="Look again", errors=errors)])
    assert failure.end is Exit.REFUSED
    assert str(failure).splitlines() == [
        "Unprocessable Entity (VALIDATION_FAILED): Look again",
        "  title: is too long",
        "  input: is odd",
        "  requestId: r-1",
    ]


def test_a_problem_commands_no_terminal() -> None:
    """What a server says is shown as text: escape sequences of a hostile one are left out."""
    assert "\x1b" not in str(refused([problem(404, "\x1b[2JNOT_FOUND")]))


@pytest.mark.parametrize(
    ("status", "end"),
    [(401, Exit.NOT_ALLOWED), (404, Exit.NOT_FOUND), (409, Exit.CONFLICT), (429, Exit.TRY_LATER)],
)
def test_ends(status: int, end: Exit) -> None:
    """The status decides how the command ends."""
    assert refused([problem(status, "X")]).end is end


@pytest.mark.parametrize("body", [answer(200, ["no", "object"]), answer(502, "Bad Gateway", "text/html")])
def test_no_tidings_server(body: bytes) -> None:
    """Whatever else listens there is told apart."""
    failure = refused([body])
    assert failure.end is Exit.PROTOCOL
    assert "not one of a Tidings server" in str(failure)


def test_no_server() -> None:
    """No answer at all: the address that was tried is named."""
    with Remote("http://127.0.0.1:1", lambda: "t") as remote, pytest.raises(Failure) as caught:
        remote.post("/jobs", {})
    assert caught.value.end is Exit.UNAVAILABLE
    assert "http://127.0.0.1:1" in str(caught.value)


def test_broken_off() -> None:
    """A server that closes without a word is one that did not answer."""
    assert refused([]).end is Exit.UNAVAILABLE


def test_when_to_come_again() -> None:
    """``Retry-After`` in seconds is kept with the refusal; another form of it is not guessed at."""
    limited = problem(429, "RATE_LIMITED")
    head, body = limited.split(b"\r\n\r\n")
    assert refused([head + b"\r\nRetry-After: 17\r\n\r\n" + body]).retry_after == 17
    assert refused([head + b"\r\nRetry-After: Sun, 01 Feb\r\n\r\n" + body]).retry_after is None
    assert refused([limited]).retry_after is None
