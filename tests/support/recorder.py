"""Users who post numbered notifications through every fault, and clients of theirs who write down what arrives.

Both behave as good clients do: a post is repeated under its idempotency key until it is answered, a connection
comes again with its ``pid`` and offset, and who could not be recovered reads the inbox. What was promised can
then be counted.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import pairwise
from typing import Any, Protocol

import httpx
from websockets.exceptions import WebSocketException

from tests.support.server import Person, Server
from tests.support.sockets import NAMESPACE, Closed, Socket, opened

_CONNECTED = f"40{NAMESPACE},"
_EVENT = f"42{NAMESPACE},"
_GONE = (Closed, OSError, TimeoutError, WebSocketException, httpx.HTTPError)
_PAUSE_SECONDS = 0.1


class Nodes(Protocol):
    """Those that may be asked now; one that is asked may be gone all the same."""

    def any(self) -> Server: ...


class Refused(Exception):
    """The server does not let one in now."""


@dataclass
class Recorder:
    """One client of one user. ``chains`` are what it was told live: a new one begins where recovery was refused."""

    person: Person
    nodes: Nodes
    chains: list[list[int]] = field(default_factory=lambda: [[]])
    read: set[int] = field(default_factory=set)
    """What it found in its inbox after a recovery was refused."""
    foreign: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    """What ``system:status`` told, in order."""
    recovered: int = 0
    refused: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    _given: dict[str, str] = field(default_factory=dict)

    @property
    def has(self) -> set[int]:
        """All that it knows of."""
        return self.read.union(*self.chains)

    @property
    def doubled(self) -> int:
        """How many events came again to a client that resumed by its position."""
        return sum(len(chain) - len(set(chain)) for chain in self.chains)

    @property
    def disordered(self) -> int:
        """How many events came before one that had been accepted earlier."""
        return sum(earlier > later for chain in self.chains for earlier, later in pairwise(chain))

    async def run(self) -> None:
        """Stay connected, to whichever node, until cancelled."""
        while True:
            with suppress(*_GONE, Refused):
                node = self.nodes.any()
                async with opened(node) as socket:
                    await self._enter(node, socket)
                    while True:
                        self._take(await socket.next())
            await asyncio.sleep(_PAUSE_SECONDS * (1 + random.random()))

    async def _enter(self, node: Server, socket: Socket) -> None:
        await socket.connect({"token": self.person.token, **self._given})
        answer = await socket.packet()
        if not answer.startswith(_CONNECTED):
            raise Refused(answer)
        ready, *position = await socket.event_args("notification:ready")
        known = self._given.get("pid")
        self._given["pid"] = json.loads(answer[len(_CONNECTED) :])["pid"]
        if ready["recovered"]:
            self.recovered += 1
        elif known is not None:
            self.refused += 1
            self.chains.append([])
        if not ready["recovered"]:
            self._given["offset"] = position[0]
            await self._read_inbox(node)
        self.ready.set()

    async def _read_inbox(self, node: Server) -> None:
        cursor: str | None = ""
        async with node.http(self.person) as client:
            while cursor is not None:
                query = {"limit": "100", **({"cursor": cursor} if cursor else {})}
                page = (await client.get("/notifications", params=query)).raise_for_status().json()
                self.read.update(self._number(item) for item in page["items"])
                cursor = page["nextCursor"]

    def _take(self, packet: str) -> None:
        if not packet.startswith(_EVENT):
            return
        name, data, *position = json.loads(packet[len(_EVENT) :])
        if name == "notification:new":
            self.chains[-1].append(self._number(data["notification"]))
        elif name == "system:status":
            self.states.append(data["state"])
        if position:
            self._given["offset"] = position[0]

    def _number(self, notification: dict[str, Any]) -> int:
        owner, _, number = notification["title"].partition(" ")
        if owner != self.person.id or notification["userId"] != owner:
            self.foreign.append(notification["title"])
        return int(number)


@dataclass
class Writer:
    """Posts to one user, one after the other. ``accepted`` are those that were answered 201."""

    person: Person
    nodes: Nodes
    pause: float
    accepted: list[int] = field(default_factory=list)
    repeated: int = 0
    """How often a post had to be said again."""
    answers: Counter[int] = field(default_factory=Counter)
    """How often each status was answered."""
    vague: int = 0
    """How often it was told to come again, but not when."""
    over: bool = False

    @property
    def titles(self) -> list[str]:
        """What stands in the database if all that was accepted does, once, and nothing else."""
        return [self._title(number) for number in self.accepted]

    async def run(self) -> None:
        """Until ``over`` is set."""
        number = 0
        while not self.over:
            while not await self._post(number):
                self.repeated += 1
                await asyncio.sleep(_PAUSE_SECONDS)
            self.accepted.append(number)
            number += 1
            await asyncio.sleep(self.pause)

    async def _post(self, number: int) -> bool:
        body = {"title": self._title(number), "content": "News."}
        with suppress(*_GONE):
            key = {"Idempotency-Key": f"post-{number}"}
            async with self.nodes.any().http(self.person, **key) as client:
                answer = await client.post("/notifications", json=body)
            self.answers[answer.status_code] += 1
            if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
                self.vague += "Retry-After" not in answer.headers
            return answer.status_code == HTTPStatus.CREATED
        return False

    def _title(self, number: int) -> str:
        return f"{self.person.id} {number}"


@dataclass(frozen=True, slots=True)
class Count:
    """What came of it, over all recorders."""

    accepted: int
    repeated: int
    answers: Mapping[int, int]
    vague: int
    missing: int
    doubled: int
    disordered: int
    foreign: int
    recovered: int
    refused: int

    @property
    def kept(self) -> bool:
        """Accepted is a subset of delivered, nothing foreign, nothing twice, in order."""
        return not (self.missing or self.doubled or self.disordered or self.foreign)

    @property
    def honest(self) -> bool:
        """Who posted was told that it is done, or that it is not and when to come again; nothing else."""
        return self.answers.keys() <= {HTTPStatus.CREATED, HTTPStatus.SERVICE_UNAVAILABLE} and not self.vague


def counted(writers: Sequence[Writer], recorders: Sequence[Recorder]) -> Count:
    accepted = {writer.person.id: set(writer.accepted) for writer in writers}
    return Count(
        accepted=sum(map(len, accepted.values())),
        repeated=sum(writer.repeated for writer in writers),
        answers=sum((writer.answers for writer in writers), Counter[int]()),
        vague=sum(writer.vague for writer in writers),
        missing=sum(len(accepted[recorder.person.id] - recorder.has) for recorder in recorders),
        doubled=sum(recorder.doubled for recorder in recorders),
        disordered=sum(recorder.disordered for recorder in recorders),
        foreign=sum(len(recorder.foreign) for recorder in recorders),
        recovered=sum(recorder.recovered for recorder in recorders),
        refused=sum(recorder.refused for recorder in recorders),
    )
