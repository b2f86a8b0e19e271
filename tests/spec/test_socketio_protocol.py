"""The Socket.IO protocol, version 5, and where version 4 (clients of Socket.IO 2) differs, case by case.

As the official test suite and document have it, on every transport, against ``tests/conformance/echo_server.py``:
``/`` and ``/custom`` emit ``auth``, answer ``message`` with ``message-back`` and ``message-with-ack`` with an
ack. The product's own namespace is tested elsewhere.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from tests.support.conformance import conforming
from tests.support.engineio import TRANSPORTS, Ended, Packet, Session, opened

PATH = "/socket.io/"
CONNECT_TIMEOUT = 1.0
NAMESPACES = pytest.mark.parametrize("namespace", ["", "/custom,"])
EVERYWHERE = pytest.mark.parametrize("transport", TRANSPORTS)

VALUES = [
    '1,"2",{"3":[true]}',
    'null,true,false,0,-1,1.5,1e21,9007199254740991,-9007199254740991,""',
    '"Über 🦔 \\u0000 \\\\ \\" \\u001e \\u2028",{"":{"a":[[],{}]}}',
    '{"_placeholder":false,"num":0}',
    "",
]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with conforming("echo_server.py") as listening:
        yield listening


async def connect(session: Session, namespace: str = "", payload: str = "") -> dict[str, Any]:
    """CONNECT; what it was answered. The event ``auth`` that follows is heard as well, and checked."""
    await session.say(f"40{namespace}{payload}")
    head = f"40{namespace}"
    answer = await session.hear()
    assert isinstance(answer, str)
    assert answer.startswith(head)
    event = await session.hear()
    assert isinstance(event, str)
    assert json.loads(event.removeprefix(f"42{namespace}")) == ["auth", json.loads(payload or "{}")]
    data: dict[str, Any] = json.loads(answer.removeprefix(head))
    return data


@asynccontextmanager
async def connected(port: int, transport: str, namespace: str = "") -> AsyncIterator[Session]:
    """A client of a namespace, the main one if none is named."""
    async with opened(port, PATH, transport) as session:
        await connect(session, namespace)
        yield session


@asynccontextmanager
async def old_client(port: int, transport: str) -> AsyncIterator[Session]:
    """A client of Socket.IO 2, which has heard that it is connected to the main namespace, and ``auth``."""
    async with opened(port, PATH, transport, 3) as session:
        assert [await session.hear(), await session.hear()] == ["40", '42["auth",{}]']
        yield session


async def rest(session: Session) -> list[Packet]:
    """All that is still heard until the session has ended."""
    heard: list[Packet] = []
    with suppress(Ended):
        while True:
            heard.append(await session.hear())
    await session.ended()
    return heard


async def shut_out(session: Session, *packets: Packet) -> None:
    """Say that, and see the session end without a word."""
    # Over polling the answer of the POST may tell already.
    with suppress(Ended):
        await session.say(*packets)
    assert await rest(session) == []


def same(one: Packet, text: str) -> bool:
    """Whether they are the same packet, whatever the spaces and escapes of the JSON in it."""
    assert isinstance(one, str)
    at = text.index("[")
    return one[:at] == text[:at] and json.loads(one[at:]) == json.loads(text[at:])


# Connect.


@NAMESPACES
@EVERYWHERE
async def test_connect(port: int, transport: str, namespace: str) -> None:
    """ "Should allow connection to the main (a custom) namespace": CONNECT is answered with a ``sid``."""
    async with opened(port, PATH, transport) as session:
        answer = await connect(session, namespace)
        assert answer["sid"]
        assert isinstance(answer["sid"], str)


@NAMESPACES
@EVERYWHERE
async def test_connect_with_a_payload(port: int, transport: str, namespace: str) -> None:
    """ "Should allow connection to the main (a custom) namespace with a payload"."""
    async with opened(port, PATH, transport) as session:
        await connect(session, namespace, '{"token":"123"}')


async def test_namespace_without_a_comma(port: int) -> None:
    """ "40/custom": the comma may be left out where nothing follows; the answer names the namespace."""
    async with opened(port, PATH, "websocket") as session:
        await session.say("40/custom")
        answer = await session.hear()
        assert isinstance(answer, str)
        assert answer.startswith('40/custom,{"sid":')
        assert await session.hear() == '42/custom,["auth",{}]'


@pytest.mark.parametrize("namespace", ["/random", "/Custom", "/custom/", "/custom?a=b"])
@EVERYWHERE
async def test_unknown_namespace(port: int, transport: str, namespace: str) -> None:
    """ "Should disallow connection to an unknown namespace": CONNECT_ERROR, and the connection goes on."""
    async with opened(port, PATH, transport) as session:
        await session.say(f"40{namespace}")
        assert await session.hear() == f'44{namespace},{{"message":"Invalid namespace"}}'
        await connect(session)


@pytest.mark.parametrize(
    "packet", ["4abc", "4", "49", "47", '42["message"]', "41", '43["a"]', "4hello", b"binary"]
)
@EVERYWHERE
async def test_invalid_handshake(port: int, transport: str, packet: Packet) -> None:
    """ "Should disallow connection with an invalid handshake": the connection is closed."""
    async with opened(port, PATH, transport) as session:
        await shut_out(session, packet)


@EVERYWHERE
async def test_no_handshake(port: int, transport: str) -> None:
    """ "Should close the connection if no handshake is received": after 1 s, however alive it is."""
    async with opened(port, PATH, transport) as session:
        await session.ended()


async def test_connect_twice(port: int) -> None:
    """A second CONNECT to a namespace breaks the protocol and closes."""
    async with connected(port, "websocket") as session:
        await shut_out(session, "40")


async def test_namespaces_without_end(port: int) -> None:
    """Somebody who asks for ever more namespaces is closed, and was answered with few words."""
    async with opened(port, PATH, "websocket") as session:
        with suppress(Ended):
            await session.say(*(f"40/{number}," for number in range(1000)))
        assert len(await rest(session)) < 100


# Disconnect.


@EVERYWHERE
async def test_disconnect_from_main(port: int, transport: str) -> None:
    """ "Should disconnect from the main namespace": no answer, the next thing heard is a ping."""
    async with connected(port, transport) as session:
        await session.say("41")
        session.answers_pings = False
        assert await session.hear() == "2"


@EVERYWHERE
async def test_disconnect_from_custom(port: int, transport: str) -> None:
    """ "Should connect then disconnect from a custom namespace": the main one goes on; one may come back."""
    async with connected(port, transport) as session:
        await connect(session, "/custom,")
        await session.say("41/custom,")
        await session.say('42["message","message to main namespace"]')
        assert await session.hear() == '42["message-back","message to main namespace"]'
        await connect(session, "/custom,")


async def test_event_after_disconnect(port: int) -> None:
    """An event for a namespace that has been left closes the connection."""
    async with connected(port, "websocket") as session:
        await connect(session, "/custom,")
        await session.say("41/custom,")
        await shut_out(session, '42/custom,["message",1]')


# Events and acks.


@pytest.mark.parametrize("values", VALUES)
@NAMESPACES
@EVERYWHERE
async def test_events(port: int, transport: str, namespace: str, values: str) -> None:
    """ "Should send a plain-text packet": every JSON value comes back as it is."""
    async with connected(port, transport, namespace) as session:
        more = f",{values}" if values else ""
        await session.say(f'42{namespace}["message"{more}]')
        assert same(await session.hear(), f'42{namespace}["message-back"{more}]')


@pytest.mark.parametrize("ack", ["0", "456", "9007199254740991"])
@NAMESPACES
@EVERYWHERE
async def test_acks(port: int, transport: str, namespace: str, ack: str) -> None:
    """ "Should send a plain-text packet with an ack": ``43`` with the same id and the arguments."""
    async with connected(port, transport, namespace) as session:
        await session.say(f'42{namespace}{ack}["message-with-ack",1,"2",{{"3":[false]}}]')
        assert await session.hear() == f'43{namespace}{ack}[1,"2",{{"3":[false]}}]'


BLOBS = (b"\x01\x02\x03", b"\x04\x05\x06")
TWO = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'


@NAMESPACES
@EVERYWHERE
async def test_binary_events(port: int, transport: str, namespace: str) -> None:
    """ "Should send a packet with binary attachments": ``452-``, then the attachments in order."""
    async with connected(port, transport, namespace) as session:
        await session.say(f'452-{namespace}["message",{TWO}]', *BLOBS)
        assert same(await session.hear(), f'452-{namespace}["message-back",{TWO}]')
        assert (await session.hear(), await session.hear()) == BLOBS


@NAMESPACES
@EVERYWHERE
async def test_binary_acks(port: int, transport: str, namespace: str) -> None:
    """ "Should send a packet with binary attachments and an ack": ``462-`` with the same id."""
    async with connected(port, transport, namespace) as session:
        await session.say(f'452-{namespace}789["message-with-ack",{TWO}]', *BLOBS)
        assert same(await session.hear(), f"462-{namespace}789[{TWO}]")
        assert (await session.hear(), await session.hear()) == BLOBS


async def test_attachments_in_depth(port: int) -> None:
    """Attachments may stand anywhere in the arguments; an empty one is one."""
    async with connected(port, "upgraded") as session:
        args = '{"a":[{"_placeholder":true,"num":0},[{"_placeholder":true,"num":1}]],"b":"text"}'
        await session.say(f'452-["message",{args}]', b"", bytes(range(256)))
        assert same(await session.hear(), f'452-["message-back",{args}]')
        assert [await session.hear(), await session.hear()] == [b"", bytes(range(256))]


@EVERYWHERE
async def test_order(port: int, transport: str) -> None:
    """Events of one connection are answered in the order in which they came, acks and binary among them."""
    async with connected(port, transport) as session:
        said: list[Packet] = []
        for number in range(0, 60, 3):
            said += [f'42["message",{number}]', f'42{number}["message-with-ack",{number}]']
            said += ['451-["message",{"_placeholder":true,"num":0}]', str(number).encode()]
        await session.say(*said)
        for number in range(0, 60, 3):
            assert await session.hear() == f'42["message-back",{number}]'
            assert await session.hear() == f"43{number}[{number}]"
            assert same(await session.hear(), '451-["message-back",{"_placeholder":true,"num":0}]')
            assert await session.hear() == str(number).encode()


async def test_acks_nobody_waits_for(port: int) -> None:
    """An ack of an event that was never sent is passed over."""
    async with connected(port, "websocket") as session:
        await session.say("4312[]", '461-13[{"_placeholder":true,"num":0}]', b"\x01")
        await session.say('42["message",1]')
        assert await session.hear() == '42["message-back",1]'


@pytest.mark.parametrize(
    "packet",
    [
        "4abc",
        "49",
        "42",
        "42{}",
        "42[]",
        "42[{}]",
        "42[1]",
        '42["a"',
        '42["a"]x',
        '42abc["message-with-ack",1,"2",{"3":[false]}]',
        '42-1["message-with-ack"]',
        '421.5["message-with-ack"]',
        "43[1]",
        "43abc[1]",
        "431{}",
        '44{"message":"no"}',
        '42/random,["message"]',
        '42["disconnect"]',
        '42["connect_error",{}]',
        '45["message"]',
        '45-["message"]',
        '4599-["message"]',
        '45-1-["message"]',
        b"not announced",
    ],
)
@EVERYWHERE
async def test_invalid_packets(port: int, transport: str, packet: Packet) -> None:
    """ "Should close the connection upon invalid format (unknown packet type, payload, ack id)"."""
    async with connected(port, transport) as session:
        await shut_out(session, packet)


@pytest.mark.parametrize(
    "packets",
    [
        (f'452-["message",{TWO}]', b"1", '42["message"]'),
        (f'451-["message",{TWO}]', b"1"),
        ('451-["message",{"_placeholder":true,"num":1}]', b"1"),
        ('451-["message",{"_placeholder":true,"num":-1}]', b"1"),
        ('451-["message",{"_placeholder":true,"num":"0"}]', b"1"),
        ('451-["message",{"_placeholder":true}]', b"1"),
    ],
)
@EVERYWHERE
async def test_invalid_attachments(port: int, transport: str, packets: tuple[Packet, ...]) -> None:
    """A text in the middle of attachments, and placeholders of what is not there, close the connection."""
    async with connected(port, transport) as session:
        await shut_out(session, *packets)


@EVERYWHERE
async def test_attachments_that_never_come(port: int, transport: str) -> None:
    """Attachments are not waited for without an end, however alive the client is."""
    async with connected(port, transport) as session:
        await session.say(f'452-["message",{TWO}]', b"1")
        await session.ended()


# Clients of Socket.IO 2: protocol 4 over Engine.IO 3.


@EVERYWHERE
async def test_old_connect(port: int, transport: str) -> None:
    """Protocol 4: the client is connected to ``/`` without asking; CONNECT carries no payload in either direction."""
    async with old_client(port, transport) as session:
        await session.say("40/custom")
        answer = await session.hear()
        assert answer in ("40/custom", "40/custom,")
        assert await session.hear() == '42/custom,["auth",{}]'


@EVERYWHERE
async def test_old_connect_with_a_query(port: int, transport: str) -> None:
    """Protocol 4: a namespace may be followed by a query, which is no part of its name."""
    async with old_client(port, transport) as session:
        await session.say("40/custom?colour=blue,")
        assert str(await session.hear()).startswith("40/custom")
        assert await session.hear() == '42/custom,["auth",{}]'


@EVERYWHERE
async def test_old_unknown_namespace(port: int, transport: str) -> None:
    """Contract, section 11: "Socket.IO 2 clients get the same error object in an ERROR packet"."""
    async with old_client(port, transport) as session:
        await session.say("40/random")
        assert await session.hear() == '44/random,{"message":"Invalid namespace"}'


@EVERYWHERE
async def test_old_events(port: int, transport: str) -> None:
    """Protocol 4: events, acks and attachments are written as in 5."""
    async with old_client(port, transport) as session:
        await session.say('42["message",1,"2",{"3":[true]}]', '42456["message-with-ack","🦔"]')
        assert await session.hear() == '42["message-back",1,"2",{"3":[true]}]'
        assert same(await session.hear(), '43456["🦔"]')
        await session.say(f'452-789["message-with-ack",{TWO}]', *BLOBS)
        assert same(await session.hear(), f"462-789[{TWO}]")
        assert (await session.hear(), await session.hear()) == BLOBS


@EVERYWHERE
async def test_old_disconnect(port: int, transport: str) -> None:
    """Protocol 4: DISCONNECT leaves a namespace, and the others go on."""
    async with old_client(port, transport) as session:
        await session.say("40/custom")
        assert [await session.hear(), await session.hear()][1] == '42/custom,["auth",{}]'
        await session.say("41/custom", '42["message","main"]')
        assert await session.hear() == '42["message-back","main"]'


@pytest.mark.parametrize("packet", ["4abc", "42{}", '42abc["message-with-ack"]', "40", b"not announced"])
@EVERYWHERE
async def test_old_invalid_packets(port: int, transport: str, packet: Packet) -> None:
    """Invalid packets close the connection of an old client as well."""
    async with old_client(port, transport) as session:
        await shut_out(session, packet)
