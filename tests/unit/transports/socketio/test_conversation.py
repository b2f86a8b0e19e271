"""Socket.IO on one connection: order, back-pressure, at most one task, and what hostile clients get out of it."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Final

import pytest

from tidings.domain.audit import Peer
from tidings.domain.errors import CloseReason
from tidings.hub.outbox import Outbox
from tidings.hub.wheel import Wheel
from tidings.transports.background import Background
from tidings.transports.socketio.connection import Terms, Visitor
from tidings.transports.socketio.conversation import Client, Conversation, Offer, Refused
from tidings.transports.socketio.engine import Revision
from tidings.transports.socketio.format import WEBSOCKET, Framing

PEER = Peer(ip="127.0.0.1", origin=None, user_agent=None)
REFUSAL = Refused(b'{"message":"No"}', CloseReason.UNAUTHENTICATED)
EXPOSED = Refused(b'{"message":"Exposed"}', CloseReason.UNAUTHENTICATED)


class Wire(asyncio.WriteTransport):
    """A carrier that keeps what it is given: whole text frames, unpacked."""

    transport: Final = "websocket"
    jammed = False

    def __init__(self, revision: Revision) -> None:
        super().__init__()
        self.sent = b""
        self.reading = True
        self.shut_for: CloseReason | None = None
        self.framing: Framing = WEBSOCKET[revision]
        self.outbox = Outbox(1_000_000)
        self.outbox.attach(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""

    def shut(self, reason: CloseReason) -> None:
        self.shut_for = reason

    def read(self, *, on: bool) -> None:
        self.reading = on

    def is_read(self) -> bool:
        return self.reading

    def heard(self) -> list[str]:
        frames, rest = [], self.sent
        self.sent = b""
        while rest:
            size, start = (rest[1], 2) if rest[1] < 126 else (int.from_bytes(rest[2:4], "big"), 4)
            frames.append(rest[start : start + size].decode())
            rest = rest[start + size :]
        return frames


class Room:
    """A namespace that answers events once ``gate`` is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.refuse = False
        self.events: list[tuple[str, list[Any]]] = []
        self.gone: list[CloseReason] = []

    async def connect(self, client: Client, auth: dict[str, Any] | None) -> None:
        await self.gate.wait()
        if self.refuse:
            raise REFUSAL
        client.welcome(b'{"sid":"s"}')

    async def event(self, client: Client, name: str, args: list[Any], ack: int | None) -> None:
        await self.gate.wait()
        if name == "fault":
            raise RuntimeError
        self.events.append((name, args))
        if ack is not None:
            client.acknowledge(ack, b"1")

    def malformed(self, client: Client) -> Refused:
        return REFUSAL

    def exposed(self, client: Client) -> Refused:
        return EXPOSED

    def carried(self, client: Client) -> None: ...

    def expiring(self, client: Client) -> None:
        client.emit("expiring", b"{}")

    def left(self, client: Client, reason: CloseReason) -> None:
        self.gone.append(reason)


class House:
    """One connection to two namespaces, of which ``/other`` is nobody's yet."""

    def __init__(self, revision: Revision = Revision.V4, attachments: int = 2) -> None:
        self.room = Room()
        self.tasks = Background()
        self.started = 0
        self.ended: list[CloseReason] = []
        self.wheel = Wheel(time.monotonic())
        terms = Terms(self.wheel, 25, 20, 10, 20, 1000, 1000, 1_000_000)
        offer = Offer({"/room": self.room}, frozenset({"/room"}), self._spawn, attachments)
        self.wire = Wire(revision)
        visitor = Visitor("sid", PEER, None, revision, lambda _c, reason, _p: self.ended.append(reason))
        self.talk = Conversation(offer, terms, self.wire, visitor)
        self.opening = self.talk.opening()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.started += 1
        self.tasks.spawn(work)

    async def say(self, *packets: str | bytes) -> list[str]:
        for packet in packets:
            self.talk.receive(packet)
        await self.tasks.close()
        return self.wire.heard()


@pytest.fixture
async def house() -> House:
    made = House()
    assert await made.say("40/room,{}") == ['40/room,{"sid":"s"}']
    return made


async def test_events_are_done_in_order_by_one_task(house: House) -> None:
    """However many events wait, one short-lived task does them, one after the other."""
    house.room.gate.clear()
    for number in range(10):
        house.talk.receive(f'42/room,{number}["e",{number}]')
    assert len(house.tasks) == 1
    house.room.gate.set()
    await house.tasks.close()
    assert house.wire.heard() == [f"43/room,{number}[1]" for number in range(10)]
    assert house.started == 2


async def test_a_client_that_is_ahead_is_not_read_from(house: House) -> None:
    """A bounded number of events waits; then the client waits."""
    house.room.gate.clear()
    for number in range(80):
        house.talk.receive(f'42/room,["e",{number}]')
    assert not house.wire.is_read()
    house.room.gate.set()
    await house.tasks.close()
    assert house.wire.is_read()
    assert [args for _, args in house.room.events] == [[number] for number in range(80)]


async def test_floods_start_nothing(house: House) -> None:
    """Pongs, acks that nobody waits for and messages for strange namespaces cost no task and no memory."""
    started = house.started
    for number in range(1000):
        house.talk.receive("3")
        house.talk.receive(f"43/room,{number}[]")
    assert (house.started, house.wire.sent, house.ended) == (started, b"", [])


async def test_thousands_of_namespaces(house: House) -> None:
    """Each is refused, and soon the connection with them."""
    for number in range(1000):
        house.talk.receive(f"40/n{number},")
    assert house.ended == [CloseReason.MALFORMED]
    assert len(house.wire.heard()) < 20


@pytest.mark.parametrize(
    "said", ["40/room,{}", "42/other,[1]", '42/room,["connect"]', "42/room,{}", "4", "9"]
)
async def test_what_breaks_the_rules_closes(house: House, said: str) -> None:
    """A second CONNECT, a strange namespace, a reserved name, a malformed packet."""
    await house.say(said)
    assert len(house.ended) == 1
    assert house.room.gone == house.ended
    assert house.wire.shut_for is house.ended[0]


async def test_a_connect_that_is_refused_closes() -> None:
    """The client is told why, and the connection ends with the reason."""
    house = House()
    house.room.refuse = True
    assert await house.say("40/room,{}") == ['44/room,{"message":"No"}']
    assert house.ended == [CloseReason.UNAUTHENTICATED]


async def test_leaving_while_being_let_in() -> None:
    """Whoever goes before the answer is let in and out again, once."""
    house = House()
    house.room.gate.clear()
    house.talk.receive("40/room,{}")
    await asyncio.sleep(0)
    house.talk.lost(CloseReason.TRANSPORT_LOST)
    house.room.gate.set()
    await house.tasks.close()
    assert house.room.gone == [CloseReason.TRANSPORT_LOST]
    assert house.talk.clients == {}


async def test_a_fault_of_ours_ends_the_connection(house: House) -> None:
    """It is not left half-open."""
    await house.say('42/room,["fault"]')
    assert house.ended == [CloseReason.INTERNAL_ERROR]


async def test_attachments_come_with_their_event(house: House) -> None:
    """They stand in the arguments as bytes."""
    await house.say('452-/room,["e",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]', b"a", b"b")
    assert house.room.events == [("e", [b"b", b"a"])]


async def test_attachments_that_never_come(house: House) -> None:
    """They are waited for as long as for a first CONNECT, and not a second longer."""
    await house.say('451-/room,["e",{"_placeholder":true,"num":0}]')
    house.wheel.advance(time.monotonic() + 9.5)
    assert house.ended == []
    house.wheel.advance(time.monotonic() + 10.2)
    assert house.ended == [CloseReason.MALFORMED]


async def test_attachments_that_came_have_no_deadline(house: House) -> None:
    """The next event starts anew."""
    await house.say('451-/room,["e",{"_placeholder":true,"num":0}]', b"a")
    house.wheel.advance(time.monotonic() + 10.2)
    assert house.ended == []


async def test_who_says_nothing_is_let_go() -> None:
    """ "A connection that has not authenticated 10 s after it opened is closed"."""
    house = House()
    house.wheel.advance(time.monotonic() + 10.2)
    assert house.ended == [CloseReason.AUTH_TIMEOUT]


async def test_time_runs_out(house: House) -> None:
    """A warning when it is due, once, and the end when that is due."""
    client = house.talk.clients["/room"]
    now = time.monotonic()
    client.expire(now + 5, now + 2)
    house.wheel.advance(now + 2.2)
    house.wheel.advance(now + 2.4)
    assert house.wire.heard() == ['42/room,["expiring",{}]']
    house.wheel.advance(now + 5.2)
    assert house.ended == [CloseReason.TOKEN_EXPIRED]
    assert house.wire.heard() == ["41/room,"]


async def test_a_client_of_socket_io_2_is_connected_to_the_main_namespace() -> None:
    """It takes itself for connected once it is told so, and its CONNECT is answered without a payload."""
    house = House(Revision.V3)
    house.wire.sent = house.opening
    assert house.wire.heard()[1:] == ["40"]
    assert await house.say("40/room,") == ["40/room,"]


@pytest.mark.parametrize("said", ["40/room?token=x,", "40/room?token=x,{}", "40/nowhere?token=x,"])
async def test_a_token_behind_a_namespace_is_refused(said: str) -> None:
    """Where addresses stand they end up in logs, whatever else is wrong with the CONNECT."""
    house = House(Revision.V3)
    assert [answer.partition(",")[2] for answer in await house.say(said)] == ['{"message":"Exposed"}']
    assert house.ended == [CloseReason.UNAUTHENTICATED]
