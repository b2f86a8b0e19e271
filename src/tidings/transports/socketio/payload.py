"""The bodies of Engine.IO's HTTP long-polling: many packets in one, cut apart and put together.

What comes from a client is judged here only as far as its framing goes; what a packet says is ``engine``'s
business. What goes out is made packet by packet, as bytes that are joined in any order, because the fan-out
makes them once for many clients. HTTP itself is not spoken here.

Source: the Engine.IO protocol documents, "Packet encoding, HTTP long-polling": version 4, and version 3 with
its two forms, of which the server sends the text one alone.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from tidings.transports.socketio.packet import MalformedPacket, Revision

_SEPARATOR: Final = "\x1e"
_UTF16: Final = "utf-16-le"
_COUNT: Final = re.compile(rb"(?P<length>[1-9]\0(?:[0-9]\0){0,8}):\0")
"""A length and its colon in UTF-16: lengths count its code units, so the whole body is cut apart in it."""
_BINARY_COUNT: Final = re.compile(rb"(?:\x00|(?P<binary>\x01))(?P<length>[\x01-\x09][\x00-\x09]{0,8})\xff")
"""Whether the packet is binary, its length digit by digit, and the end of that."""
_ASCII_DIGITS: Final = bytes.maketrans(bytes(range(10)), b"0123456789")


def decode(body: bytes, revision: Revision, *, binary: bool, max_packets: int) -> list[str | bytes]:
    """The packets of a client's request body, as ``Engine.receive`` takes them.

    ``binary``: the body's media type is ``application/octet-stream``, which only ``Revision.V3`` knows. Costs
    time in proportion to the body, whatever is in it.

    Raises:
        MalformedPacket: it is not framed as the document says, is no UTF-8, holds an empty packet, none at all
            or more than ``max_packets``.
    """
    if not body:
        raise MalformedPacket("empty payload")
    if revision is Revision.V4:
        if binary:
            raise MalformedPacket("binary payload")
        return _separated(body, max_packets)
    return _counted_bytes(body, max_packets) if binary else _counted_text(body, max_packets)


class Payload(Protocol):
    """How packets are framed on their way out, one at a time; what is framed can be joined in any order."""

    def text(self, packet: bytes) -> bytes:
        """An Engine.IO packet in UTF-8. It holds no control character: JSON escapes them."""

    def binary(self, data: bytes) -> bytes:
        """A binary message."""

    def body(self, joined: bytes) -> bytes:
        """A response's body, from one or more framed packets."""

    def split(self, joined: bytes) -> list[str | bytes]:
        """The inverse, for a connection that goes on elsewhere: text packets, and the data of binary messages."""


class _Separated:
    """``<packet>␞<packet>``."""

    def text(self, packet: bytes) -> bytes:
        return packet + b"\x1e"

    def binary(self, data: bytes) -> bytes:
        return b"b%b\x1e" % b64encode(data)

    def body(self, joined: bytes) -> bytes:
        return joined[:-1]

    def split(self, joined: bytes) -> list[str | bytes]:
        return [_data(packet, "b") for packet in joined.decode().split(_SEPARATOR)[:-1]]


class _Counted:
    """``<length>:<packet><length>:<packet>``, the length in UTF-16 code units."""

    def text(self, packet: bytes) -> bytes:
        length = len(packet) if packet.isascii() else len(packet.decode().encode(_UTF16)) // 2
        return b"%d:%b" % (length, packet)

    def binary(self, data: bytes) -> bytes:
        return self.text(b"b4%b" % b64encode(data))

    def body(self, joined: bytes) -> bytes:
        return joined

    def split(self, joined: bytes) -> list[str | bytes]:
        return [_data(packet, "b4") for packet in _counted_text(joined, len(joined))]


V3: Final[Payload] = _Counted()
V4: Final[Payload] = _Separated()


def _separated(body: bytes, max_packets: int) -> list[str | bytes]:
    packets = _text(body, "utf-8").split(_SEPARATOR, max_packets)
    if len(packets) > max_packets:
        raise MalformedPacket("too many packets")
    if "" in packets:
        raise MalformedPacket("empty packet")
    return [*packets]


def _counted_text(body: bytes, max_packets: int) -> list[str | bytes]:
    units = _text(body, "utf-8").encode(_UTF16)
    return [_text(packet, _UTF16) for _, packet in _cut(units, _COUNT, _utf16_size, max_packets)]


def _counted_bytes(body: bytes, max_packets: int) -> list[str | bytes]:
    return [
        packet if head["binary"] else _text(packet, "utf-8")
        for head, packet in _cut(body, _BINARY_COUNT, _plain_size, max_packets)
    ]


def _cut(
    data: bytes, head: re.Pattern[bytes], size: Callable[[bytes], int], max_packets: int
) -> Iterator[tuple[re.Match[bytes], bytes]]:
    """Each packet with the head that was before it. ``size`` reads its length in bytes."""
    end = count = 0
    while end < len(data):
        found = head.match(data, end)
        if found is None:
            raise MalformedPacket("illegal length of a packet")
        start, end = found.end(), found.end() + size(found["length"])
        count += 1
        if end > len(data) or count > max_packets:
            raise MalformedPacket("incomplete packet" if end > len(data) else "too many packets")
        yield found, data[start:end]


def _utf16_size(digits: bytes) -> int:
    return 2 * int(digits[::2])


def _plain_size(digits: bytes) -> int:
    return int(digits.translate(_ASCII_DIGITS))


def _text(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise MalformedPacket("not UTF-8, or cut within a character") from None


def _data(packet: str | bytes, mark: str) -> str | bytes:
    """A message's data where ``mark`` says that it is binary."""
    if isinstance(packet, str) and packet.startswith(mark):
        return b64decode(packet[len(mark) :])
    return packet
