"""``tidings token``: a token the server accepts, alone on stdout."""

import time

import pytest

from tests.support.terminal import SECRET, Terminal
from tidings.cli import tokens
from tidings.cli.exits import Exit, Failure
from tidings.domain.people import UserId
from tidings.identity.keys import SecretKeySource
from tidings.identity.tokens import TokenVerifier
from tidings.settings import Settings


def signing(**changes: str) -> Settings:
    return Settings(jwt_secret=SECRET, **changes)  # type: ignore[arg-type]  # pydantic reads the words


async def test_signed_as_configured() -> None:
    """Contract 1: the exact values asked of ``iss``, ``aud``, ``typ`` are those that our own tokens carry."""
    settings = signing(jwt_issuer="us", jwt_audience="them", jwt_type="at+jwt")
    token = tokens.sign(settings, UserId("u-1"), ttl=60)
    verifier = TokenVerifier(
        SecretKeySource(SECRET),
        algorithm="HS256",
        revoked=lambda _: False,
        issuer="us",
        audience="them",
        typ="at+jwt",
    )
    claims = await verifier.verify(token)
    assert claims.subject == "u-1"
    assert claims.token_id
    assert 50 < claims.expires_at - time.time() <= 60


@pytest.mark.parametrize(
    "elsewhere", [{"jwt_algorithm": "EdDSA", "jwt_public_key": "key.pem"}, {"identity": "claims"}]
)
def test_tokens_that_are_not_ours_to_sign(elsewhere: dict[str, str]) -> None:
    """With another algorithm, or an issuer whose claims count, the command says where tokens come from."""
    with pytest.raises(Failure, match="ask their issuer") as caught:
        tokens.sign(signing(**elsewhere), UserId("u-1"), ttl=60)
    assert caught.value.end is Exit.CONFIG


def test_nothing_but_the_token(terminal: Terminal) -> None:
    """Contract 1: ``tidings token EMAIL_OR_ID [--ttl SECONDS]`` prints nothing but the token."""
    assert terminal.run("users", "add", "ann@acme.example", "--tenant", "acme").exit_code == 0
    done = terminal.run("token", "ANN@acme.example", "--ttl", "60")
    assert done.exit_code == 0
    assert done.stdout.count(".") == 2
    assert len(done.stdout.split()) == 1
    assert done.stderr == ""


def test_unknown_user(terminal: Terminal) -> None:
    """Nobody gets no token: a message on stderr, an exit code, nothing on stdout."""
    done = terminal.run("token", "nobody@acme.example")
    assert (done.exit_code, done.stdout) == (Exit.NO_USER.number, "")
    assert done.stderr == "tidings: there is no user nobody@acme.example\n"


def test_deactivated_user(terminal: Terminal) -> None:
    """The token of who is out is made, for whoever wants to see it refused, and that is said beside it."""
    terminal.run("users", "add", "ann@acme.example", "--tenant", "acme")
    terminal.run("users", "deactivate", "ann@acme.example")
    done = terminal.run("token", "ann@acme.example")
    assert len(done.stdout.split()) == 1
    assert "will not accept" in done.stderr


@pytest.mark.parametrize("ttl", ["0", "-1", "99999999999", "soon"])
def test_lifetime(terminal: Terminal, ttl: str) -> None:
    """Contract 2: ``exp`` at most 366 days ahead; more is a mistake on the command line."""
    assert terminal.run("token", "ann@acme.example", "--ttl", ttl).exit_code == Exit.USAGE.number
