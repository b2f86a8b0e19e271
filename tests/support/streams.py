"""An event stream read block by block, comments and all, as the contract's section 5 promises it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.server import Person, Server

SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Message:
    """One event: its ``id`` and its JSON."""

    id: str
    data: dict[str, Any]

    @property
    def type(self) -> str:
        return str(self.data["type"])


class Stream:
    """An open response. ``response`` has its status and headers."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.retry: int | None = None
        self._lines = response.aiter_lines()

    async def message(self) -> Message:
        """The next event; heartbeats and ``retry`` are passed over.

        Raises:
            EOFError: the stream has ended.
        """
        while True:
            fields = dict(line.split(": ", 1) for line in await self.block())
            if "data" in fields:
                return Message(fields["id"], json.loads(fields["data"]))
            if "retry" in fields:
                self.retry = int(fields["retry"])

    async def rest(self) -> list[Message]:
        """All events up to the stream's end."""
        found = []
        while True:
            try:
                found.append(await self.message())
            except EOFError:
                return found

    async def block(self) -> list[str]:
        """The next lines up to an empty one. Raises EOFError."""
        lines: list[str] = []
        async with asyncio.timeout(SECONDS):
            async for line in self._lines:
                if not line:
                    return lines
                lines.append(line)
        assert not lines, "the stream broke off within an event"
        raise EOFError


@asynccontextmanager
async def streaming(
    server: Server, path: str, person: Person | None, *, after: str | None = None, **headers: str
) -> AsyncIterator[Stream]:
    """A stream that is let go of when the block ends; ``after`` is the ``Last-Event-ID``."""
    resume = {} if after is None else {"Last-Event-ID": after}
    async with (
        server.http(person, **headers) as client,
        client.stream("GET", path, headers=resume, timeout=None) as response,
    ):
        yield Stream(response)


async def read(server: Server, job_id: str, person: Person, after: str | None = None) -> list[Message]:
    """All that a job's stream has to tell up to its end."""
    async with streaming(server, f"/jobs/{job_id}/events", person, after=after) as stream:
        assert stream.response.status_code == 200, stream.response.status_code
        return await stream.rest()


async def start_job(server: Server, person: Person, **payload: int) -> str:
    """A ``demo.steps`` job; its id."""
    async with server.http(person) as client:
        answer = await client.post("/jobs", json={"kind": "demo.steps", "payload": payload})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])
