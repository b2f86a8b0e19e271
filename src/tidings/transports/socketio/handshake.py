"""Answering WebSocket opening handshakes (RFC 6455, section 4.2).

A handshake written the way every client writes it is answered at once; whatever else there may be is read and
judged by ``websockets``. Measured, the library's way costs as much as half of all else that a connect does.
No extension and no subprotocol is ever agreed to.
"""

import re

from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.utils import accept_key

from tidings.domain.errors import ErrorCode, TidingsError

_ASKED = frozenset({b"connection", b"upgrade", b"sec-websocket-key", b"sec-websocket-version"})
_KEY = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")
"""16 bytes in base64; the last character holds two bits of them."""

_VERSION = b"13"
_SWITCHING = 101
_UPGRADE_REQUIRED = 426
_ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"


def accept(headers: list[tuple[bytes, bytes]]) -> bytes:
    """The answer to a GET with these headers (names in lower case).

    Raises:
        TidingsError: MALFORMED or UPGRADE_REQUIRED, it is no opening handshake.
    """
    asked = [header for header in headers if header[0] in _ASKED]
    given = dict(asked)
    plain = (
        len(asked) == len(given) == len(_ASKED)
        and given[b"upgrade"].lower() == b"websocket"
        and given[b"connection"].lower() == b"upgrade"
        and given[b"sec-websocket-version"] == _VERSION
        and _KEY.fullmatch(given[b"sec-websocket-key"]) is not None
    )
    if plain:
        return _ANSWER % accept_key(given[b"sec-websocket-key"].decode("ascii")).encode("ascii")
    return _judge(asked)


def _judge(asked: list[tuple[bytes, bytes]]) -> bytes:
    if [value for name, value in asked if name == b"sec-websocket-version"] != [_VERSION]:
        # Answered with the version that would do (section 4.4).
        raise TidingsError(ErrorCode.UPGRADE_REQUIRED, detail="WebSocket version")
    headers = Headers([(name.decode("ascii"), value.decode("latin-1")) for name, value in asked])
    response = ServerProtocol().accept(Request("/", headers))
    if response.status_code == _SWITCHING:
        return response.serialize()
    code = ErrorCode.UPGRADE_REQUIRED if response.status_code == _UPGRADE_REQUIRED else ErrorCode.MALFORMED
    raise TidingsError(code, detail="opening handshake")
