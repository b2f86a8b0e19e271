"""``tidings notify``: send a notification through the REST API of a running server."""

import asyncio
from typing import Annotated

import typer

from tidings.cli import configuration, output
from tidings.cli.exits import Exit, Failure
from tidings.cli.remote import Remote, at_server
from tidings.domain.ids import is_id
from tidings.domain.notification import Audience, Priority
from tidings.settings import Settings

EVERYONE = "everyone"


@at_server
def notify(
    remote: Remote,
    to: Annotated[
        str,
        typer.Argument(metavar="TO", help="A user's address or id, a tenant's slug or id, or `everyone`."),
    ],
    title: Annotated[str, typer.Argument(metavar="TITLE", help="1 to 200 characters.")],
    content: Annotated[str, typer.Argument(metavar="CONTENT", help="1 to 1,000 characters.")],
    audience: Annotated[Audience, typer.Option(help="What TO names.")] = Audience.USER,
    priority: Annotated[Priority, typer.Option(help="How much it matters.")] = Priority.MEDIUM,
    *,
    json: output.Json = False,
) -> None:
    """Send a notification to a user, to a tenant or to everyone."""
    body = {
        "title": title,
        "content": content,
        "priority": priority,
        "audience": audience,
        **_named(audience, to),
    }
    sent = remote.post("/notifications", body)
    if json:
        output.result_json(sent)
    else:
        output.result(f"Sent {sent['id']} to {to}")


def _named(audience: Audience, to: str) -> dict[str, str]:
    """The field that says to whom. Only what people type instead of an id is looked up in the database."""
    if audience is Audience.GLOBAL:
        if to != EVERYONE:
            raise Failure(Exit.USAGE, f"with --audience global, TO is the word `{EVERYONE}`")
        return {}
    if audience is Audience.TENANT:
        return {"tenantId": to if is_id(to) else _tenant_id(to)}
    return {"userId": _user_id(to) if "@" in to else to}


def _user_id(email: str) -> str:
    from tidings.cli import people

    return people.look_up(configuration.load(), email).id


def _tenant_id(slug: str) -> str:
    from tidings.cli import people
    from tidings.cli.database import opened

    async def find(settings: Settings) -> str:
        async with opened(settings) as database, database.read() as tx:
            return (await people.find_tenant(tx, slug)).id

    return asyncio.run(find(configuration.load()))
