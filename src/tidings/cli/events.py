"""Server-sent events out of bytes (WHATWG HTML, section 9.2.6, "Interpreting an event stream"). No I/O.

Reconnecting, and what an event means, are for whoever reads them.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE_END = re.compile(r"\r\n|\r|\n")
_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """``id`` is the last event id as it stands after this event."""

    type: str
    data: str
    id: str


class Parser:
    """Reads one stream, in pieces of any size. An event that the stream's end cuts off never was."""

    def __init__(self) -> None:
        self.retry: int | None = None
        """The reconnection time in milliseconds, once the server has named one."""
        # This decoder drops one byte order mark at the start, as the specification asks.
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._line = ""
        self._after_return = False
        self._id = ""
        self._type = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[ServerSentEvent]:
        """The events that these bytes complete."""
        for line in self._lines(chunk):
            if line:
                self._field(line)
                continue
            if self._data:
                yield ServerSentEvent(self._type or "message", "\n".join(self._data), self._id)
            self._type = ""
            self._data = []

    def _lines(self, chunk: bytes) -> list[str]:
        text = self._decoder.decode(chunk)
        if not text:
            return []
        if self._after_return:
            # The line ended with the carriage return of the last piece; this line feed belongs to it.
            text = text.removeprefix("\n")
        self._after_return = text.endswith("\r")
        *lines, self._line = _LINE_END.split(self._line + text)
        return lines

    def _field(self, line: str) -> None:
        """A line with a colon in front is a comment: its field has no name, and is ignored like any unknown."""
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and _DIGITS.fullmatch(value):
            self.retry = int(value)
