"""``tidings migrate``: bring the configured database to the tables this version needs."""

import asyncio

from tidings.cli import configuration, output
from tidings.cli.database import upgrade


def migrate(*, json: output.Json = False) -> None:
    """Upgrade the configured database to this version."""
    settings = configuration.load()
    done = asyncio.run(upgrade(settings))
    if json:
        output.result_json({"from": done.before, "to": done.after})
    elif done.before == done.after:
        output.result(f"The database is up to date: {done.after}")
    else:
        output.result(f"Migrated from {done.before or 'nothing'} to {done.after}")
