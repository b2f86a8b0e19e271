"""Long-polling as a carrier: polls, posts, ends and upgrades. Replies are recorded; nothing is on a network."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.links import Link, link
from tidings.domain.audit import Peer
from tidings.domain.errors import CloseReason, TidingsError
from tidings.domain.people import Principal
from tidings.hub.outbox import Outbox
from tidings.hub.wheel import Wheel
from tidings.transports.exchange import Upgrade
from tidings.transports.socketio.connection import Connection, Terms, Visitor
from tidings.transports.socketio.engine import Revision
from tidings.transports.socketio.polling import Polling
from tidings.transports.socketio.websocket import WebSocket

LIMIT = 10_000
PEER = Peer(ip="127.0.0.1", origin=None, user_agent=None)


class Talk(Connection):
    """An application that keeps what it is told and answers nothing."""

    def __init__(self, terms: Terms, link: Polling, visitor: Visitor) -> None:
        super().__init__(terms, link, visitor)
        self.heard: list[str | bytes] = []
        self.carriers: list[str] = []

    @property
    def idle(self) -> bool:
        return False

    def said(self, message: str | bytes) -> None:
        self.heard.append(message)

    def farewell(self) -> Sequence[bytes]:
        return ()

    def left(self, reason: CloseReason) -> Principal | None:
        return None

    def greeting(self) -> Sequence[bytes]:
        return ()

    def carried(self) -> None:
        self.carriers.append(self.transport)

    def deadline(self) -> float:
        return inf

    def overdue(self, now: float) -> None:
        """Nothing of its own is ever due."""


@dataclass
class Answer:
    """A reply that keeps what it was given."""

    status: int | None = None
    body: bytes = b""
    lost: Callable[[], None] | None = None

    @property
    def given(self) -> bool:
        return self.status is not None

    def answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        assert self.status is None, "answered twice"
        self.status, self.body = status, body

    def refuse(self, error: TidingsError, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.answer(error.code.status, headers, b"")


@dataclass
class Desk:
    """One polling connection, and how it has ended."""

    revision: Revision = Revision.V4
    wheel: Wheel = field(default_factory=lambda: Wheel(time.monotonic()))
    done: list[Polling] = field(default_factory=list)
    ended: list[CloseReason] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.polling = Polling(self.revision, self.wheel, LIMIT, self.done.append)
        visitor = Visitor(
            "a-sid", PEER, None, self.revision, lambda _c, reason, _p: self.ended.append(reason)
        )
        self.talk = Talk(terms(self.wheel), self.polling, visitor)
        self.opening = Answer()
        self.polling.begin(self.talk, self.opening, (), ("websocket",))

    def poll(self) -> Answer:
        answer = Answer()
        self.polling.poll(answer, ())
        return answer

    def post(self, body: bytes) -> Answer:
        answer = Answer()
        self.polling.post(answer, (), body, binary=False)
        return answer


def terms(wheel: Wheel) -> Terms:
    return Terms(
        wheel=wheel,
        ping_interval=25,
        ping_timeout=20,
        connect_timeout=10,
        write_timeout=20,
        lifetime=1000,
        max_payload=LIMIT,
        outbox_bytes=LIMIT,
    )


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_first_request_is_answered_with_the_opening(desk: Desk) -> None:
    """ "a GET without sid opens the session": its answer is one open packet that offers WebSocket."""
    assert desk.opening.status == 200
    assert desk.opening.body.startswith(b'0{"sid":"a-sid","upgrades":["websocket"]')
    assert not desk.opening.body.endswith(b"\x1e")


def test_a_poll_waits_for_the_next_message(desk: Desk) -> None:
    """A poll is answered by what is sent while it waits, and by that alone."""
    poll = desk.poll()
    assert not poll.given
    desk.talk.send(b"one")
    desk.talk.send(b"two")
    assert (poll.status, poll.body) == (200, b"4one")
    assert desk.poll().body == b"4two"


def test_what_is_sent_between_polls_waits_in_order(desk: Desk) -> None:
    """Packets of one payload are separated by U+001E."""
    desk.talk.send(b"one", b"two")
    desk.talk.send(b"three")
    assert desk.poll().body == b"4one\x1e4two\x1e4three"


def test_binary_goes_out_in_base64(desk: Desk) -> None:
    """Over polling a binary message is its base64 behind a ``b``."""
    desk.talk.send(b"text", attachments=[b"\x01\x02\x03"])
    assert desk.poll().body == b"4text\x1ebAQID"


def test_packets_of_a_post_are_taken_in_order(desk: Desk) -> None:
    """A POST brings one or more packets and is answered ``ok``."""
    answer = desk.post(b"4one\x1ebAQID\x1e4two")
    assert (answer.status, answer.body) == (200, b"ok")
    assert desk.talk.heard == ["one", b"\x01\x02\x03", "two"]


@pytest.mark.parametrize("body", [b"", b"abc", b"4one\x1e", b"\xff", b"0{}", b"2"])
def test_an_invalid_packet_is_refused_and_ends_the_session(desk: Desk, body: bytes) -> None:
    """An invalid payload is answered 400, and the session is over."""
    poll = desk.poll()
    assert desk.post(body).status == 400
    assert desk.ended == [CloseReason.MALFORMED]
    assert (poll.status, poll.body) == (200, b"1")
    assert desk.done == [desk.polling]


def test_a_second_poll_ends_the_session(desk: Desk) -> None:
    """ "one pending GET at most (a second closes the session, the first gets ``1``)"."""
    first = desk.poll()
    second = desk.poll()
    assert (first.status, first.body) == (200, b"1")
    assert second.status == 400
    assert desk.ended == [CloseReason.MALFORMED]


def test_a_client_that_closes_gets_a_noop(desk: Desk) -> None:
    """The poll of a client that has closed by itself is answered ``6``."""
    poll = desk.poll()
    assert desk.post(b"1").status == 200
    assert (poll.status, poll.body) == (200, b"6")
    assert desk.ended == [CloseReason.CLIENT_CLOSED]


def test_what_was_said_last_waits_for_the_next_poll(desk: Desk) -> None:
    """A session that ends between two polls still says why, once, and is forgotten then."""
    desk.talk.send(b"goodbye")
    desk.talk.close(CloseReason.UNAUTHENTICATED)
    assert desk.done == []
    assert desk.poll().body == b"4goodbye\x1e1"
    assert desk.done == [desk.polling]


def test_an_ended_session_is_forgotten_when_nobody_polls(desk: Desk) -> None:
    """An ended session is kept for a second and no longer."""
    desk.talk.close(CloseReason.UNAUTHENTICATED)
    desk.wheel.advance(time.monotonic() + 1.2)
    assert desk.done == [desk.polling]
    assert len(desk.wheel) == 0


def test_a_client_that_leaves_its_poll_has_left(desk: Desk) -> None:
    """A poll whose connection breaks ends the session, as a broken WebSocket does."""
    poll = desk.poll()
    assert poll.lost is not None
    poll.lost()
    assert desk.ended == [CloseReason.TRANSPORT_LOST]
    desk.wheel.advance(time.monotonic() + 1.2)
    assert desk.done == [desk.polling]


def test_a_client_that_does_not_poll_is_closed_when_its_outbox_is_full(desk: Desk) -> None:
    """ "its own outbox is bounded in bytes; it is closed with a reason"."""
    for _ in range(12):
        desk.talk.send(b"x" * (LIMIT // 10))
    assert desk.ended == [CloseReason.SLOW_CONSUMER]


def test_a_client_that_is_ahead_waits_for_its_answer(desk: Desk) -> None:
    """Back-pressure over polling is a late answer to the POST."""
    desk.talk.read(on=False)
    answer = desk.post(b"4one")
    assert (answer.status, desk.talk.heard) == (None, ["one"])
    desk.talk.read(on=True)
    assert (answer.status, answer.body) == (200, b"ok")


def test_a_second_post_at_the_same_time_ends_the_session(desk: Desk) -> None:
    """The order of two POSTs at once would be anybody's guess."""
    desk.talk.read(on=False)
    first = desk.post(b"4one")
    assert desk.post(b"4two").status == 400
    assert desk.ended == [CloseReason.MALFORMED]
    assert first.status == 200


def test_a_poll_for_socket_io_2_counts_its_packets() -> None:
    """Engine.IO 3 payloads are ``<length>:<packet>``, in UTF-16 code units."""
    desk = Desk(Revision.V3)
    desk.talk.send("ü🦔".encode())
    assert desk.poll().body == "4:4ü🦔".encode()
    assert desk.post("4:4ü🦔2:4x".encode()).status == 200
    assert desk.talk.heard == ["ü🦔", "x"]


def test_a_ping_of_socket_io_2_is_answered() -> None:
    """In Engine.IO 3 the client pings."""
    desk = Desk(Revision.V3)
    poll = desk.poll()
    assert desk.post(b"1:2").status == 200
    assert poll.body == b"1:3"


async def websocket_for(desk: Desk, to: Link) -> WebSocket:
    """A WebSocket with the session's sid, its handshake answered."""
    upgrade = Upgrade(to.transport, b"", [], None, b"", set())
    websocket = WebSocket(upgrade, desk.wheel, revision=desk.revision, max_payload=LIMIT, outbox_bytes=LIMIT)
    websocket.begin(desk.polling.probe(websocket), b"", b"")
    return websocket


def masked(text: bytes) -> bytes:
    return b"\x81%c\0\0\0\0%b" % (0x80 | len(text), text)


def plain(text: bytes) -> bytes:
    return b"\x81%c%b" % (len(text), text)


async def test_an_upgrade_takes_along_what_waits(desk: Desk) -> None:
    """ "Upgrade from polling to WebSocket without losing or doubling a packet"."""
    async with link() as to:
        websocket = await websocket_for(desk, to)
        poll = desk.poll()
        websocket.data_received(masked(b"2probe"))
        assert (poll.status, poll.body) == (200, b"6")
        desk.talk.send(b"waits", attachments=[b"\x01"])
        websocket.data_received(masked(b"5"))
        desk.talk.send(b"later")
        expected = plain(b"3probe") + plain(b"4waits") + b"\x82\x01\x01" + plain(b"4later")
        assert await to.read(len(expected)) == expected
        websocket.data_received(masked(b"4hello"))
        assert (desk.talk.heard, desk.talk.carriers) == (["hello"], ["websocket"])
        assert (desk.done, desk.ended) == ([desk.polling], [])
        websocket.connection_lost(None)


async def test_a_poll_during_the_upgrade_ends_by_itself(desk: Desk) -> None:
    """A client that polls once more before it upgrades is let go, so that it can."""
    async with link() as to:
        websocket = await websocket_for(desk, to)
        websocket.data_received(masked(b"2probe"))
        poll = desk.poll()
        assert not poll.given
        desk.wheel.advance(time.monotonic() + 0.2)
        assert (poll.status, poll.body) == (200, b"6")
        websocket.connection_lost(None)


async def test_events_go_to_the_poll_until_the_upgrade(desk: Desk) -> None:
    """Before its last word the WebSocket gets nothing that is the session's."""
    async with link() as to:
        websocket = await websocket_for(desk, to)
        poll = desk.poll()
        desk.talk.send(b"one")
        assert poll.body == b"4one"
        assert to.nothing_there()
        websocket.connection_lost(None)
        assert desk.ended == []


@pytest.mark.parametrize("said", [b"4hello", b"5", b"2", b"3probe"])
async def test_a_wrong_probe_costs_the_websocket_alone(desk: Desk, said: bytes) -> None:
    """What is no probe closes the WebSocket; the session goes on polling, and may try again."""
    async with link() as to:
        websocket = await websocket_for(desk, to)
        websocket.data_received(masked(said))
        assert (await to.read(2))[:1] == b"\x88"
        assert (desk.ended, desk.poll().status) == ([], None)
        await websocket_for(desk, to)
        websocket.connection_lost(None)


async def test_a_probe_that_goes_no_further_is_given_up(desk: Desk) -> None:
    """A WebSocket that does not upgrade within ten seconds is closed."""
    async with link() as to:
        websocket = await websocket_for(desk, to)
        desk.wheel.advance(time.monotonic() + 10.2)
        assert (await to.read(2))[:1] == b"\x88"
        assert desk.ended == []
        websocket.connection_lost(None)


@given(st.lists(st.sampled_from(["send", "poll", "probe", "upgrade"]), max_size=30))
def test_nothing_is_lost_or_doubled_whenever_the_upgrade_comes(steps: list[str]) -> None:
    """Numbered messages come out once and in order, by polls and then by the WebSocket."""
    asyncio.run(_numbered(steps))


async def _numbered(steps: list[str]) -> None:
    desk = Desk()
    polls: list[Answer] = []
    async with link() as to:
        websocket: WebSocket | None = None
        sent = 0
        for step in steps:
            if step == "send":
                desk.talk.send(b"%d" % sent)
                sent += 1
            elif step == "poll" and not desk.done and (not polls or polls[-1].status is not None):
                polls.append(desk.poll())
            elif step == "probe" and websocket is None:
                websocket = await websocket_for(desk, to)
                websocket.data_received(masked(b"2probe"))
            elif step == "upgrade" and websocket is not None and not desk.done:
                websocket.data_received(masked(b"5"))
        assert not desk.ended
        if not desk.done and (not polls or polls[-1].status is not None):
            polls.append(desk.poll())
        polled = [packet for poll in polls for packet in poll.body.split(b"\x1e") if packet[:1] == b"4"]
        rest = [b"4%d" % number for number in range(len(polled), sent)]
        expected = b"".join(map(plain, rest)) if desk.done else b""
        probed = plain(b"3probe") if websocket is not None else b""
        assert await to.read(len(probed + expected)) == probed + expected
        assert polled == [b"4%d" % number for number in range(len(polled))]
        assert desk.done or len(polled) == sent
        if websocket is not None:
            websocket.connection_lost(None)


def test_an_outbox_without_a_poll_has_no_descriptor(desk: Desk) -> None:
    """The fan-out must not write past the carrier."""
    assert isinstance(desk.polling.outbox, Outbox)
    assert desk.polling.outbox.fd == -1
