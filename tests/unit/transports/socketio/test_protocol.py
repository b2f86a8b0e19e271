"""One Socket.IO connection against the protocol document (version 5), its test-suite and the contract."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.domain.errors import CloseReason
from tidings.transports.socketio.packet import MAX_ATTACHMENTS, ProtocolViolation
from tidings.transports.socketio.protocol import (
    INVALID_NAMESPACE,
    MAX_NAMESPACES,
    RESERVED_EVENTS,
    AckReceived,
    ConnectMalformed,
    ConnectRefused,
    ConnectRequested,
    Disconnected,
    EventReceived,
    Protocol,
)

NAMESPACES = frozenset({"/", "/custom"})


def fresh() -> Protocol:
    return Protocol(NAMESPACES)


def connected(namespace: str = "/") -> Protocol:
    protocol = fresh()
    protocol.receive(f"0{namespace},")
    protocol.accept(namespace)
    return protocol


def violation(protocol: Protocol, message: str | bytes) -> tuple[CloseReason, str]:
    with pytest.raises(ProtocolViolation) as caught:
        protocol.receive(message)
    return caught.value.reason, str(caught.value)


def test_connect_without_a_payload() -> None:
    """Connection: "the client MUST send a CONNECT packet"; its payload is optional."""
    assert fresh().receive("0") == ConnectRequested("/", None)


def test_connect_with_a_payload() -> None:
    """Test-suite: "should allow connection to a custom namespace with a payload"."""
    assert fresh().receive('0/custom,{"token":"abc"}') == ConnectRequested("/custom", {"token": "abc"})


def test_connect_to_an_unknown_namespace() -> None:
    """Test-suite: "should disallow connection to an unknown namespace"; the connection stays."""
    protocol = fresh()
    assert protocol.receive("0/random") == ConnectRefused("/random")
    assert INVALID_NAMESPACE == b'{"message":"Invalid namespace"}'
    assert protocol.receive("0") == ConnectRequested("/", None)


@pytest.mark.parametrize("payload", ["[]", '"token"', "null", "7", "{", "token"])
def test_connect_with_a_payload_that_is_no_object(payload: str) -> None:
    """Section 4: "so is a CONNECT whose payload is not an object" - it gets an answer before the close."""
    protocol = fresh()
    assert protocol.receive(f"0/custom,{payload}") == ConnectMalformed("/custom")
    assert not protocol.is_connected("/custom")


def test_first_packet_is_no_connect() -> None:
    """Connection: "If the server does not receive a CONNECT packet first, then it MUST close"."""
    assert violation(fresh(), '2["hello"]')[0] is CloseReason.MALFORMED


@pytest.mark.parametrize("message", ['2["hello"]', "31[]", "1", '51-["hello"]'])
def test_pending_namespace_is_silent(message: str) -> None:
    """Section 4: nothing is taken from a namespace until its CONNECT has been accepted."""
    protocol = fresh()
    protocol.receive("0")
    assert violation(protocol, message) == (
        CloseReason.MALFORMED,
        "packet for a namespace that is not connected",
    )


def test_one_namespace_does_not_open_another() -> None:
    """Being connected to one namespace gives no right to speak to another."""
    assert violation(connected("/"), '2/custom,["hello"]')[0] is CloseReason.MALFORMED


def test_accept() -> None:
    """After the server's consent "the client and the server can begin exchanging data"."""
    protocol = fresh()
    protocol.receive("0/custom,")
    assert not protocol.is_connected("/custom")
    protocol.accept("/custom")
    assert protocol.is_connected("/custom")
    assert protocol.receive('2/custom,["hello"]') == EventReceived("/custom", "hello", [], None)


def test_reject_lets_the_client_try_again() -> None:
    """A refused CONNECT leaves the connection as it was; a second one may carry a better token."""
    protocol = fresh()
    protocol.receive("0")
    protocol.reject("/")
    assert not protocol.is_connected("/")
    assert protocol.receive('0{"token":"x"}') == ConnectRequested("/", {"token": "x"})


@pytest.mark.parametrize("decide", [Protocol.accept, Protocol.reject])
def test_decision_nobody_waits_for(decide: Callable[[Protocol, str], None]) -> None:
    """Only a pending CONNECT can be decided on, and only once."""
    with pytest.raises(ValueError, match="no CONNECT is pending"):
        decide(connected(), "/")


def test_second_connect_while_pending() -> None:
    """A CONNECT is not repeated before its answer."""
    protocol = fresh()
    protocol.receive("0")
    assert violation(protocol, "0") == (CloseReason.MALFORMED, "second CONNECT to a namespace")


def test_second_connect_while_connected() -> None:
    """The stock server closes a client that connects to a namespace twice."""
    assert violation(connected(), "0") == (CloseReason.MALFORMED, "second CONNECT to a namespace")


def test_two_namespaces() -> None:
    """Connection: "A client MAY be connected to multiple namespaces at the same time"."""
    protocol = connected("/")
    protocol.receive("0/custom")
    protocol.accept("/custom")
    assert protocol.receive("1/custom") == Disconnected("/custom")
    assert protocol.receive('2["message"]') == EventReceived("/", "message", [], None)


def test_disconnect_by_the_client() -> None:
    """Disconnection: "one side can end the connection to a namespace"; the client may come back."""
    protocol = connected()
    assert protocol.receive("1") == Disconnected("/")
    assert not protocol.is_connected("/")
    assert protocol.receive("0") == ConnectRequested("/", None)


def test_disconnect_by_the_server() -> None:
    """Both sides may end a namespace at once, so the server's end is taken as often as it comes."""
    protocol = connected()
    protocol.disconnect("/")
    protocol.disconnect("/")
    assert not protocol.is_connected("/")


def test_event() -> None:
    """Test-suite: "should send a plain-text packet"."""
    assert connected().receive('2["message",1,"2",{"3":[true]}]') == EventReceived(
        "/", "message", [1, "2", {"3": [True]}], None
    )


def test_event_with_an_ack() -> None:
    """Test-suite: "should send a plain-text packet with an ack"."""
    assert connected().receive('2456["message",false]') == EventReceived("/", "message", [False], 456)


@pytest.mark.parametrize("name", sorted(RESERVED_EVENTS))
@pytest.mark.parametrize("head", ["2", "27", "51-"])
def test_reserved_event(head: str, name: str) -> None:
    """Section 4: "A reserved event name ... closes the connection" - and no attachment is waited for."""
    assert violation(connected(), f'{head}["{name}"]')[0] is CloseReason.RESERVED_EVENT


@pytest.mark.parametrize("message", ["abc", "2{}", '2abc["message"]', "2[]", "4", '2["x",NaN]'])
def test_malformed_packet(message: str) -> None:
    """Section 4: "a malformed packet ... closes the connection"."""
    assert violation(connected(), message)[0] is CloseReason.MALFORMED


def test_ack_nobody_waits_for() -> None:
    """Acks are reported and not remembered: a flood of them leaves nothing behind."""
    protocol = connected()
    for number in range(100):
        assert protocol.receive(f'3{number}["x"]') == AckReceived("/", number, ["x"])


def test_binary_event() -> None:
    """Test-suite: "should send a packet with binary attachments and an ack"."""
    protocol = connected()
    text = '52-789["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
    assert protocol.receive(text) is None
    assert protocol.receive(b"\x01") is None
    assert protocol.receive(b"\x02") == EventReceived("/", "message", [b"\x01", b"\x02"], 789)
    assert protocol.receive('2["next"]') == EventReceived("/", "next", [], None)


def test_binary_ack() -> None:
    """Acknowledgement: a client may answer with BINARY_ACK, which has no name that could be reserved."""
    protocol = connected()
    assert protocol.receive('61-15["connect",{"_placeholder":true,"num":0}]') is None
    assert protocol.receive(b"\x01") == AckReceived("/", 15, ["connect", b"\x01"])


def test_text_where_an_attachment_is_due() -> None:
    """The attachments follow their packet at once; anything else there closes the connection."""
    protocol = connected()
    protocol.receive('51-["message"]')
    assert violation(protocol, '2["message"]') == (
        CloseReason.MALFORMED,
        "text where an attachment is due",
    )


@pytest.mark.parametrize("opened", [fresh, connected])
def test_binary_nobody_announced(opened: Callable[[], Protocol]) -> None:
    """A binary message is an attachment of a packet that came before, or it is nothing."""
    assert violation(opened(), b"x") == (CloseReason.MALFORMED, "binary that was not announced")


def test_forged_placeholder() -> None:
    """A placeholder without its attachment is a malformed packet."""
    protocol = connected()
    protocol.receive('51-["message",{"_placeholder":true,"num":1}]')
    assert violation(protocol, b"x") == (CloseReason.MALFORMED, "placeholder without an attachment")


def test_attachments_above_the_limit() -> None:
    """Section 10: attachments are bounded, by 10 or by what the namespace allows."""
    protocol = Protocol(NAMESPACES, max_attachments=0)
    protocol.receive("0")
    protocol.accept("/")
    assert violation(protocol, '51-["message"]') == (CloseReason.MALFORMED, "too many attachments")


def test_attachments_of_a_namespace_that_was_ended_meanwhile() -> None:
    """What was on its way when the server ended the namespace is dropped without blame."""
    protocol = connected()
    protocol.receive('51-["message"]')
    protocol.disconnect("/")
    assert protocol.receive(b"x") is None


@pytest.mark.parametrize("message", ["0/random", "0[]"])
def test_refusals_are_counted(message: str) -> None:
    """A connection cannot ask for ever: refused CONNECTs are bounded."""
    protocol = Protocol(NAMESPACES, max_namespaces=3)
    for _ in range(3):
        protocol.receive(message)
    assert violation(protocol, message) == (CloseReason.MALFORMED, "too many namespaces")


def test_rejections_are_counted() -> None:
    """Guessing tokens on one connection ends at the same bound."""
    protocol = Protocol(NAMESPACES, max_namespaces=2)
    for _ in range(2):
        protocol.receive("0")
        protocol.reject("/")
    assert violation(protocol, "0") == (CloseReason.MALFORMED, "too many namespaces")


def test_coming_and_going_is_not_counted() -> None:
    """A long-lived connection may leave and join its namespace as often as it likes."""
    protocol = Protocol(NAMESPACES, max_namespaces=1)
    for _ in range(5):
        protocol.receive("0")
        protocol.accept("/")
        protocol.receive("1")
    assert protocol.receive("0") == ConnectRequested("/", None)


SAID = (
    *(
        "0",
        "0/custom,",
        "0/random",
        "0[]",
        "1",
        "1/custom",
        '2["a"]',
        '2/custom,1["a"]',
        "30[]",
        '2["connect"]',
    ),
    *('51-["a",{"_placeholder":true,"num":0}]', '510-["a"]', '511-["a"]', "61-1[]", b"x", b""),
)
MESSAGES = st.sampled_from(SAID) | st.text() | st.binary()
DECISIONS = st.sampled_from([Protocol.accept, Protocol.reject, Protocol.disconnect, None])


@given(st.lists(st.tuples(MESSAGES, DECISIONS), max_size=60))
def test_state_is_bounded(steps: list[tuple[str | bytes, Callable[[Protocol, str], None] | None]]) -> None:
    """Whatever a client says and the server decides: nothing but violations is raised, and little is kept."""
    protocol = fresh()
    for message, decide in steps:
        try:
            said = protocol.receive(message)
        except ProtocolViolation:
            protocol = fresh()
            continue
        if isinstance(said, ConnectRequested) and decide is not None:
            decide(protocol, said.namespace)
        assert set(protocol._pending).isdisjoint(protocol._connected)
        assert {*protocol._pending, *protocol._connected} <= NAMESPACES
        assert len(protocol._pending) + len(protocol._connected) + protocol._refused <= MAX_NAMESPACES
        assert protocol._assembly is None or len(protocol._assembly[1]) < MAX_ATTACHMENTS
    assert not hasattr(protocol, "__dict__")
