"""A server for outside conformance suites of Engine.IO and Socket.IO: ``echo_server.py --port N``.

``/socket.io/`` has two namespaces that echo, ``/engine.io/`` echoes bare Engine.IO messages; both speak the
protocols' versions 3 and 4 over polling, WebSocket and the upgrade, with the times of the official suites.
Everybody may connect. The transports are the product's, and nothing of theirs is different here.
"""

import asyncio
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tidings.delivery.audit import SecurityLog
from tidings.domain.audit import SecurityEvent
from tidings.domain.crew import Crew
from tidings.domain.errors import CloseReason
from tidings.domain.people import Principal
from tidings.domain.strictjson import dumps
from tidings.hub.wheel import Wheel
from tidings.identity.limiter import LocalSlots, TokenBucket
from tidings.identity.peer import Peers
from tidings.transports.exchange import Mount
from tidings.transports.socketio.connection import Connection, Terms
from tidings.transports.socketio.conversation import Client, Conversation, Offer, Refused
from tidings.transports.socketio.door import Door, Doorkeeper
from tidings.transports.socketio.endpoint import Endpoint

# Run as a file, from anywhere, it finds its neighbour.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.conformance.listening import Spawn, listen

SOCKET_IO, ENGINE_IO = b"/socket.io/", b"/engine.io/"
BEYOND_REACH = 1_000_000
OUTBOX_BYTES = 8 * 2**20
ATTACHMENTS = 10
REFUSED = Refused(b'{"message":"Refused"}', CloseReason.MALFORMED)


class Echo:
    """A namespace that lets everybody in and gives back what it hears."""

    async def connect(self, client: Client, auth: dict[str, Any] | None) -> None:
        client.welcome(dumps({"sid": client.sid}))
        # Some suites take one message at a time and lose the second of two that arrive in one piece.
        await asyncio.sleep(0.002)
        client.emit("auth", dumps(auth or {}))

    async def event(self, client: Client, name: str, args: list[Any], ack: int | None) -> None:
        if name == "message":
            client.emit_args("message-back", args)
        elif name == "message-with-ack" and ack is not None:
            client.acknowledge_args(ack, args)

    def malformed(self, client: Client) -> Refused:
        return REFUSED

    def exposed(self, client: Client) -> Refused:
        return REFUSED

    def carried(self, client: Client) -> None:
        """Nothing is kept of how a client is written to."""

    def expiring(self, client: Client) -> None:
        """Nobody's time ends."""

    def left(self, client: Client, reason: CloseReason) -> None:
        """Nothing is kept of who was there."""


class BareEcho(Connection):
    """Engine.IO with nothing on top: each message comes back."""

    __slots__ = ()

    idle = False

    def said(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self.send(message.encode())
        else:
            self.send(attachments=[message])

    def farewell(self) -> Sequence[bytes]:
        return ()

    def left(self, reason: CloseReason) -> Principal | None:
        return None

    def greeting(self) -> Sequence[bytes]:
        return ()

    def carried(self) -> None:
        """An echo is the same on every carrier."""

    def deadline(self) -> float:
        return math.inf

    def overdue(self, now: float) -> None:
        """No deadline is its own."""


class Everywhere:
    """The policy of origins that the suites need, some of which run in a browser: all are allowed."""

    def check(self, origin: str | None, *, explicit_token: bool) -> bool:
        return True

    def cors_headers(self, origin: str | None) -> Sequence[tuple[str, str]]:
        return (("Access-Control-Allow-Origin", "*"),)

    def preflight_headers(self, origin: str | None) -> Sequence[tuple[str, str]]:
        allowed = (
            ("Access-Control-Allow-Methods", "GET, POST"),
            ("Access-Control-Allow-Headers", "Content-Type"),
        )
        return (*self.cors_headers(origin), *allowed)


async def _forget(_events: Sequence[SecurityEvent]) -> None:
    """No event is stored."""


def _discard(_lines: bytes) -> None:
    """No event is printed."""


def build(wheel: Wheel, spawn: Spawn, crew: Crew | None) -> Mapping[bytes, Mount]:
    namespaces = {"/": Echo(), "/custom": Echo()}
    offer = Offer(dict(namespaces), frozenset(namespaces), spawn, ATTACHMENTS)
    terms = Terms(
        wheel=wheel,
        # With a crew there is no suite that waits for a ping, and a request may well be late.
        ping_interval=0.3 if crew is None else 25.0,
        ping_timeout=0.2,
        connect_timeout=1.0,
        write_timeout=20.0,
        lifetime=86_400.0,
        max_payload=1_000_000,
        outbox_bytes=OUTBOX_BYTES,
    )
    keeper = Doorkeeper(
        path=SOCKET_IO,
        origins=Everywhere(),
        peers=Peers(()),
        bucket=TokenBucket(BEYOND_REACH, BEYOND_REACH),
        slots=LocalSlots(),
        per_ip=BEYOND_REACH,
        capacity=BEYOND_REACH,
        allow_v3=True,
        draining=lambda: False,
    )
    security = SecurityLog("conformance", _forget, _discard)
    return {
        SOCKET_IO: Endpoint(partial(Conversation, offer), terms, Door(keeper, security), crew),
        ENGINE_IO: Endpoint(BareEcho, terms, Door(replace(keeper, path=ENGINE_IO), security), crew),
    }


if __name__ == "__main__":
    listen("Echo over Engine.IO and Socket.IO, for conformance suites", build)
