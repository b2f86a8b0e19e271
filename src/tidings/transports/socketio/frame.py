"""The one kind of WebSocket frame that nearly every client sends: a whole message in text (RFC 6455, section 5.2).

It is recognised and read, and nothing else is: whatever differs in any way is for ``websockets`` to read, to put
together or to refuse. The library's way was a fifth of all that a connect cost in Python.
"""

from typing import Final

from websockets.frames import apply_mask  # type: ignore[attr-defined]  # the faster of its two, if it could be built

_WHOLE_TEXT: Final = 0x81
"""FIN, no extension, opcode 1."""
_MASKED: Final = 0x80
_IN_16_BITS: Final = 126
"""Instead of a length: it is in the two bytes behind."""
_SHORT, _LONG = 2, 4
"""Bytes before the mask, with a length in 7 bits and with one in 16."""
_MASK: Final = 4
"""Bytes of a mask."""


def whole_texts(data: bytes, limit: int) -> list[str] | None:
    """The texts, each of at most ``limit`` bytes, if ``data`` is such frames of a client and not a byte more or less.

    None for everything else, even if a frame is only longer than it had to be, or no UTF-8.
    """
    texts: list[str] = []
    at, size = 0, len(data)
    while at < size:
        if data[at] != _WHOLE_TEXT or size < at + _SHORT + _MASK:
            return None
        announced, mask = data[at + 1], at + _SHORT
        length = announced - _MASKED
        if length >= _IN_16_BITS:
            length, mask = int.from_bytes(data[mask : at + _LONG], "big"), at + _LONG
            if announced != _MASKED + _IN_16_BITS or length < _IN_16_BITS:
                return None
        payload = mask + _MASK
        at = payload + length
        if at > size or not 0 <= length <= limit:
            return None
        try:
            texts.append(apply_mask(data[payload:at], data[mask:payload]).decode())
        except UnicodeDecodeError:
            return None
    return texts
