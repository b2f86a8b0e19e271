"""The demo of the embedded default: a tenant with three users, and lines to paste that show what Tidings does.

Lines name the credential by a file (``-H @file``), so that each stands for itself, is short, and puts no token
into a shell's history or a list of processes. Never in production.
"""

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tidings.cli.database import embedded
from tidings.cli.tokens import HOUR, can_sign, sign
from tidings.cli.users import NewUser, ensure_tenant, insert
from tidings.domain.people import Role, User
from tidings.settings import Environment, Settings
from tidings.store import users
from tidings.store.database import Database

TENANT = "demo"
PEOPLE = (
    NewUser("ada@demo.test", TENANT, Role.ADMIN, "Ada"),
    NewUser("grace@demo.test", TENANT, Role.USER, "Grace"),
    NewUser("alan@demo.test", TENANT, Role.USER, "Alan"),
)
TTL = 12 * HOUR

_AS_JSON = "-H 'Content-Type: application/json'"
_ID = """python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])'"""


@dataclass(frozen=True, slots=True)
class Visitor:
    """A demo user who can come in at once. ``header`` is a file with the Authorization header."""

    user: User
    token: str
    header: Path


def wanted(settings: Settings) -> bool:
    """Whether this is the embedded default: development, on SQLite, with tokens that are signed here."""
    development = settings.env is Environment.DEVELOPMENT
    return development and embedded(settings) and can_sign(settings)


async def prepare(database: Database, settings: Settings) -> tuple[Visitor, ...]:
    """The demo users, made if they are not there, each with a fresh token.

    Raises:
        OSError: the files with the tokens cannot be written.
    """
    folder = settings.var.absolute() / "demo"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with database.write() as tx:
        tenant = await ensure_tenant(tx, TENANT)
        for person in PEOPLE:
            await insert(tx, tenant, person)
        found = [await users.by_email(tx, tenant.id, person.email) for person in PEOPLE]
    return tuple(_visitor(user, settings, folder) for user in found if user is not None)


def banner(visitors: tuple[Visitor, ...], url: str) -> str:
    """What is printed once the server listens at ``url``: plain text whose indented lines are for pasting."""
    ada, grace, _ = visitors
    width = max(len(visitor.user.email) for visitor in visitors)
    tokens = "\n".join(
        f"  {each.user.email:<{width}}  {each.user.role:<5}  {each.token}" for each in visitors
    )
    hello = {"userId": grace.user.id, "title": "Hello, Grace", "content": "This arrived while you watched."}
    steps = {"kind": "demo.steps", "payload": {"steps": 10, "delayMs": 500}}
    return f"""
Tidings listens on {url}
Console:            {url}/console (sign in with one of the tokens below)
API documentation:  {url}/docs

Demo users, with tokens good for 12 hours:

{tokens}

A notification. In a second terminal, watch Grace's inbox:

  curl -N {_as(grace)} {url}/notifications/events

In a third one, Ada writes to her:

  curl {_as(ada)} {_AS_JSON} -d {_quoted(hello)} {url}/notifications

The same inbox over Socket.IO (npm install socket.io-client):

  {_socket(grace, url)}

A job, and its progress as it runs:

  JOB=$(curl -s {_as(grace)} {_AS_JSON} -d {_quoted(steps)} {url}/jobs | {_ID})
  curl -N {_as(grace)} {url}/jobs/$JOB/events

Ctrl-C stops the server.
"""


def _visitor(user: User, settings: Settings, folder: Path) -> Visitor:
    token = sign(settings, user.id, ttl=TTL)
    path = folder / user.email.partition("@")[0]
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"Authorization: Bearer {token}\n")
    return Visitor(user, token, path)


def _as(visitor: Visitor) -> str:
    return f"-H {shlex.quote(f'@{visitor.header}')}"


def _quoted(body: Mapping[str, object]) -> str:
    return shlex.quote(json.dumps(body))


def _socket(visitor: Visitor, url: str) -> str:
    script = (
        'const {io} = require("socket.io-client"); '
        f'io("{url}/notifications", {{auth: {{token: process.argv[1]}}}})'
        ".onAny((event, data) => console.log(event, data))"
    )
    return f"node -e {shlex.quote(script)} {visitor.token}"
