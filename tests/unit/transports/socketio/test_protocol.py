"""One Socket.IO connection against the protocol document (version 5), its test-suite and the contract."""

from collections.abc import Callable

import pytest

from tidings.domain.errors import CloseReason
from tidings.transports.socketio.packet import ProtocolViolation, Revision
from tidings.transports.socketio.protocol import (
    INVALID_NAMESPACE,
    MAX_ATTACHMENT_BYTES,
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


@pytest.mark.parametrize("sizes", [(6,), (5, 1), (0, 0, 6)])
def test_attachments_above_the_bytes(sizes: tuple[int, ...]) -> None:
    """Bounded memory: the attachments of one packet have a size together, and 1009 says that it was exceeded."""
    assert MAX_ATTACHMENT_BYTES == 1_000_000
    protocol = Protocol(NAMESPACES, max_attachment_bytes=5)
    protocol.receive("0")
    protocol.accept("/")
    protocol.receive('53-["message"]')
    for size in sizes[:-1]:
        assert protocol.receive(bytes(size)) is None
    assert violation(protocol, bytes(sizes[-1])) == (CloseReason.TOO_LARGE, "attachments too large")


def test_attachments_up_to_the_bytes() -> None:
    """The bound holds for each packet anew."""
    protocol = Protocol(NAMESPACES, max_attachment_bytes=5)
    protocol.receive("0")
    protocol.accept("/")
    for _ in range(3):
        assert protocol.receive('52-["message"]') is None
        assert protocol.receive(bytes(2)) is None
        assert protocol.receive(bytes(3)) == EventReceived("/", "message", [], None)


def test_assembling() -> None:
    """Attachments that never come: the caller sees that they are awaited and can put an end to it."""
    protocol = connected()
    seen = [protocol.assembling]
    for message in ('52-["message"]', b"x", b"x"):
        protocol.receive(message)
        seen.append(protocol.assembling)
    assert seen == [False, True, True, False]


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


def connected_v3(namespace: str = "/") -> Protocol:
    protocol = Protocol(NAMESPACES, revision=Revision.V3)
    protocol.receive(f"0{namespace}")
    protocol.accept(namespace)
    return protocol


def test_main_namespace_of_version_4() -> None:
    """Protocol 4: a client is connected to the main namespace without asking; the caller asks for it."""
    protocol = Protocol(NAMESPACES, revision=Revision.V3)
    assert protocol.receive("0") == ConnectRequested("/", None)
    protocol.accept("/")
    assert protocol.receive('2["hello"]') == EventReceived("/", "hello", [], None)
    assert violation(protocol, "0")[1] == "second CONNECT to a namespace"


def test_main_namespace_that_does_not_exist() -> None:
    """A client of protocol 4 takes the main namespace for connected; without one, an event there ends it."""
    protocol = Protocol(frozenset({"/custom"}), revision=Revision.V3)
    assert protocol.receive("0") == ConnectRefused("/")
    assert violation(protocol, '2["hello"]')[0] is CloseReason.MALFORMED


@pytest.mark.parametrize(
    ("message", "request_"),
    [
        ("0/custom?token=x&a=b,", ConnectRequested("/custom", None, "token=x&a=b")),
        ("0/custom,", ConnectRequested("/custom", None)),
        ("0/random?token=x", ConnectRefused("/random", "token=x")),
    ],
)
def test_connect_with_a_query(message: str, request_: ConnectRequested | ConnectRefused) -> None:
    """Section 2: "A token in a query string is refused and audited" - so the query comes out with the CONNECT."""
    assert Protocol(NAMESPACES, revision=Revision.V3).receive(message) == request_


def test_query_of_a_later_protocol() -> None:
    """Protocol 5 has no query: to the stock server such a namespace does not exist."""
    assert fresh().receive("0/custom?token=x,") == ConnectRefused("/custom?token=x")


def test_query_opens_no_second_connection() -> None:
    """Two queries do not make two namespaces of one."""
    protocol = connected_v3("/custom")
    assert violation(protocol, "0/custom?a=b,")[1] == "second CONNECT to a namespace"


def test_connect_of_version_4_with_a_payload() -> None:
    """Protocol 4 knows no payload of CONNECT; whoever sends one is answered before the close."""
    protocol = Protocol(NAMESPACES, revision=Revision.V3)
    assert protocol.receive('0/custom?a=b,{"token":"x"}') == ConnectMalformed("/custom", "a=b")


def test_thousands_of_namespaces() -> None:
    """A connection that goes from one invented namespace to the next comes to its end."""
    protocol = Protocol(NAMESPACES, revision=Revision.V3)
    for number in range(MAX_NAMESPACES):
        assert protocol.receive(f"0/n{number}?q") == ConnectRefused(f"/n{number}", "q")
    assert violation(protocol, "0/n?q")[1] == "too many namespaces"
