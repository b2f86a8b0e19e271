"""A plain RFC 6455 echo for the Autobahn testsuite: ``websocket_echo.py --port N``, on any path.

The opening handshake and the framing are the product's own. Messages up to 16 MiB come back as they are.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from tidings.domain.crew import Crew
from tidings.domain.errors import CloseReason, ErrorCode, TidingsError
from tidings.hub.wheel import Wheel
from tidings.transports.exchange import Mount, Reply, Request, Successor, Taker, Upgrade
from tidings.transports.socketio import handshake
from tidings.transports.socketio.engine import Revision
from tidings.transports.socketio.websocket import WebSocket

# Run as a file, from anywhere, it finds its neighbour.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.conformance.listening import Spawn, listen

MAX_MESSAGE = 16 * 2**20
OUTBOX_BYTES = 4 * MAX_MESSAGE


class Echo:
    """The receiver of one WebSocket's messages, which sends them back."""

    def __init__(self, socket: WebSocket) -> None:
        self.ended = False
        self._socket = socket

    def receive(self, frame: str | bytes) -> None:
        framing = self._socket.framing
        back = framing.text(frame.encode()) if isinstance(frame, str) else framing.binary(frame)
        if not self._socket.outbox.send(back):
            self.close(CloseReason.SLOW_CONSUMER)

    def close(self, reason: CloseReason) -> None:
        self.ended = True
        self._socket.shut(reason)

    def lost(self, reason: CloseReason) -> None:
        self.ended = True

    def reschedule(self) -> None:
        """A peer that reads slowly is waited for."""


class Echoes:
    """Opens a WebSocket for everybody who asks for one."""

    max_body = 0

    def __init__(self, wheel: Wheel) -> None:
        self._wheel = wheel

    def elsewhere(self, target: bytes) -> int | None:
        return None

    def upgrade(self, upgrade: Upgrade) -> Successor | TidingsError:
        try:
            answer = handshake.accept(upgrade.headers)
        except TidingsError as error:
            return error
        socket = WebSocket(
            upgrade,
            self._wheel,
            revision=Revision.V4,
            max_payload=MAX_MESSAGE,
            outbox_bytes=OUTBOX_BYTES,
        )
        socket.begin(Echo(socket), answer, upgrade.rest)
        return socket

    def begin(self, request: Request, reply: Reply) -> Taker | None:
        reply.refuse(TidingsError(ErrorCode.UPGRADE_REQUIRED))
        return None


def build(wheel: Wheel, _spawn: Spawn, _crew: Crew | None) -> Mapping[bytes, Mount]:
    return {b"/": Echoes(wheel)}


if __name__ == "__main__":
    listen("Echo over WebSocket, for the Autobahn testsuite", build)
