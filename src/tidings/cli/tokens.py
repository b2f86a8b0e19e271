"""``tidings token``: a token for a user, signed with the server's own secret, and nothing else on stdout."""

import time
from typing import Annotated

import typer

from tidings.cli import configuration, output, people
from tidings.cli.exits import Exit, Failure
from tidings.domain.ids import new_id
from tidings.domain.people import UserId
from tidings.identity.tokens import MAX_LIFETIME, issue
from tidings.settings import Algorithm, Identity, Settings, jwt_secret

HOUR = 3600


def sign(settings: Settings, user: UserId, *, ttl: int) -> str:
    """A token that a server with these settings accepts for ``ttl`` seconds.

    Raises:
        Failure: CONFIG, tokens are not ours to sign.
    """
    if not can_sign(settings):
        needed = "TIDINGS_JWT_ALGORITHM=HS256 and TIDINGS_IDENTITY=directory"
        raise Failure(Exit.CONFIG, f"tokens are signed here with {needed} only; otherwise ask their issuer")
    return issue(
        jwt_secret(settings),
        user,
        ttl=ttl,
        now=time.time(),
        jti=new_id(),
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        typ=settings.jwt_type,
    )


def can_sign(settings: Settings) -> bool:
    """Whether the server trusts a secret that is known here, and needs no claims but the user's id."""
    return settings.jwt_algorithm is Algorithm.HS256 and settings.identity is Identity.DIRECTORY


def token(
    user: Annotated[str, typer.Argument(metavar="EMAIL_OR_ID", help="Whose token it is.")],
    ttl: Annotated[int, typer.Option(help="Seconds it is good for.", min=1, max=MAX_LIFETIME)] = HOUR,
    tenant: Annotated[str | None, typer.Option(help="The user's tenant, by slug or id.")] = None,
) -> None:
    """Print a token for a user, and nothing else."""
    settings = configuration.load()
    found = people.look_up(settings, user, tenant)
    output.result(sign(settings, found.id, ttl=ttl))
    if not found.active:
        output.aside(f"{found.email} is deactivated: the server will not accept this token")
