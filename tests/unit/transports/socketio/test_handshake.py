"""Opening handshakes: what is answered at once is answered as ``websockets`` would; the rest it judges itself."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.utils import accept_key

from tidings.domain.errors import ErrorCode, TidingsError
from tidings.transports.socketio import handshake

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
PLAIN = [
    (b"host", b"127.0.0.1"),
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-key", KEY),
    (b"sec-websocket-version", b"13"),
]


def changed(name: bytes, value: bytes | None) -> list[tuple[bytes, bytes]]:
    """The plain handshake with one header changed or left out."""
    return [
        (n, v if n != name or value is None else value) for n, v in PLAIN if n != name or value is not None
    ]


def fields(answer: bytes) -> dict[str, str]:
    head = answer.decode().partition("\r\n\r\n")[0].split("\r\n")
    assert head[0].startswith("HTTP/1.1 101 ")
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}


def test_the_example_of_the_rfc() -> None:
    """RFC 6455, section 1.3: the key and what is to be answered."""
    assert fields(handshake.accept(PLAIN))["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@given(st.binary(min_size=16, max_size=16))
def test_any_key(raw: bytes) -> None:
    """RFC 6455, section 4.2.2: every key of 16 bytes is answered, by both ways alike."""
    key = base64.b64encode(raw)
    quick = fields(handshake.accept(changed(b"sec-websocket-key", key)))
    judged = fields(handshake._judge([h for h in changed(b"sec-websocket-key", key) if h[0] != b"host"]))
    assert quick["sec-websocket-accept"] == judged["sec-websocket-accept"] == accept_key(key.decode())
    assert quick["upgrade"] == judged["upgrade"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"connection", b"keep-alive, Upgrade"),
        (b"connection", b"upgrade"),
        (b"upgrade", b"WebSocket"),
    ],
)
def test_other_spellings_are_accepted(name: bytes, value: bytes) -> None:
    """RFC 6455, section 4.2.1: tokens in a list, compared without case. Firefox sends ``keep-alive, Upgrade``."""
    assert fields(handshake.accept(changed(name, value)))


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        (b"sec-websocket-key", None, ErrorCode.MALFORMED),
        (b"sec-websocket-key", b"short", ErrorCode.MALFORMED),
        (b"sec-websocket-key", b"!" * 22 + b"==", ErrorCode.MALFORMED),
        (b"sec-websocket-version", None, ErrorCode.UPGRADE_REQUIRED),
        (b"sec-websocket-version", b"8", ErrorCode.UPGRADE_REQUIRED),
        (b"upgrade", b"h2c", ErrorCode.UPGRADE_REQUIRED),
        (b"connection", b"close", ErrorCode.UPGRADE_REQUIRED),
    ],
)
def test_what_is_no_handshake_is_refused(name: bytes, value: bytes | None, code: ErrorCode) -> None:
    """RFC 6455, section 4.2.1: each requirement on the client's handshake."""
    with pytest.raises(TidingsError) as caught:
        handshake.accept(changed(name, value))
    assert caught.value.code is code


def test_a_header_given_twice_is_refused() -> None:
    """RFC 6455, section 11.3.1: the key must not appear more than once."""
    with pytest.raises(TidingsError):
        handshake.accept([*PLAIN, (b"sec-websocket-key", KEY)])
