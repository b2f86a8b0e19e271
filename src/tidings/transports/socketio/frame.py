"""The one WebSocket frame that nearly every client sends: a whole message in text (RFC 6455, section 5.2).

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


def whole_text(data: bytes, limit: int) -> str | None:
    """The text of at most ``limit`` bytes, if ``data`` is one such frame from a client and not a byte more.

    None for everything else, even if it is only longer than it had to be, or no UTF-8.
    """
    size = len(data)
    if size < _SHORT + _MASK or data[0] != _WHOLE_TEXT:
        return None
    length, mask = data[1] - _MASKED, _SHORT
    if length >= _IN_16_BITS:
        length, mask = int.from_bytes(data[_SHORT:_LONG], "big"), _LONG
        if data[1] != _MASKED + _IN_16_BITS or length < _IN_16_BITS:
            return None
    payload = mask + _MASK
    if size != payload + length or length > limit:
        return None
    try:
        return apply_mask(data[payload:], data[mask:payload]).decode()
    except UnicodeDecodeError:
        return None
