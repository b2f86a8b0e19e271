"""HTTP/1.1 requests as bytes (RFC 9112): a head, and the two ways in which a body follows it.

The grammar is llhttp's, by ``httptools``, without leniency. It is shown no byte beyond the message, so that what
follows is certain to belong to the next one. No I/O, no clock and no limits: who reads counts.
"""

import httptools

from tidings.transports.exchange import RawHeaders

HEAD_END = b"\r\n\r\n"

_STUDIED = frozenset({b"content-length", b"transfer-encoding", b"expect", b"upgrade"})
_CHUNKED_HEAD = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
_CONTINUE = b"100-continue"
_CURRENT = "1.1"
_OLD = "1.0"


class MalformedMessage(ValueError):
    """It is no HTTP. The message names the fault and never repeats the input."""


class Head:
    """A request's head. ``length`` is that of its body in bytes, None if it comes in chunks.

    ``websocket``: it asks for an upgrade to that; other upgrades are passed over (RFC 9110, section 7.8).
    ``expects``: the client waits for a 100 before it sends the body (section 10.1.1).
    """

    __slots__ = (
        "_parser",
        "_read",
        "_version",
        "expects",
        "headers",
        "keep_alive",
        "length",
        "method",
        "target",
        "websocket",
    )

    def __init__(self, block: bytes) -> None:
        """Read everything up to and including the empty line.

        Raises:
            MalformedMessage: it is not one head, or one that could be understood in two ways.
        """
        self.target = b""
        self.headers: RawHeaders = []
        self.keep_alive = self.expects = self.websocket = False
        self.length: int | None = 0
        self._version = ""
        self._read = upgrade = False
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(block)
        except httptools.HttpParserUpgrade:
            upgrade = True
        except httptools.HttpParserError as fault:
            raise MalformedMessage(type(fault).__name__) from None
        finally:
            self.method = self._parser.get_method()
            # The two refer to each other, and would wait for the collector.
            del self._parser
        if self._version not in (_CURRENT, _OLD):
            raise MalformedMessage("HTTP version")
        if upgrade or not self._read:
            self._study(upgrade=upgrade and self._version == _CURRENT)

    # What the parser calls.

    def on_url(self, url: bytes) -> None:
        self.target = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._version = self._parser.get_http_version()
        self.keep_alive = self._version == _CURRENT and self._parser.should_keep_alive()

    def on_message_complete(self) -> None:
        self._read = True

    def _study(self, *, upgrade: bool) -> None:
        for name, value in self.headers:
            if name not in _STUDIED:
                continue
            if name == b"content-length":
                self.length = int(value)
                continue
            said = value.strip().lower()
            if name == b"upgrade":
                self.websocket = upgrade and said == b"websocket"
            elif name == b"expect":
                self.expects = said == _CONTINUE and self._version == _CURRENT
            elif said == b"chunked" and self._version == _CURRENT:
                self.length = None
            else:
                raise MalformedMessage("transfer coding")


class SizedBody:
    """A body whose length was announced (RFC 9112, section 6.2)."""

    __slots__ = ("_length", "content")

    def __init__(self, length: int) -> None:
        self._length = length
        self.content = bytearray()

    @property
    def complete(self) -> bool:
        return len(self.content) == self._length

    def feed(self, data: bytes) -> bytes:
        """Take what belongs to the body; return what follows it."""
        wanted = self._length - len(self.content)
        self.content += data[:wanted]
        return data[wanted:]


class ChunkedBody:
    """A body in chunks (RFC 9112, section 7.1). Trailers are read and dropped."""

    __slots__ = ("_parser", "_sink")

    def __init__(self) -> None:
        self._sink = _Sink()
        self._parser = httptools.HttpRequestParser(self._sink)
        self._parser.feed_data(_CHUNKED_HEAD)

    @property
    def content(self) -> bytearray:
        return self._sink.content

    @property
    def complete(self) -> bool:
        return self._sink.complete

    def feed(self, data: bytes) -> bytes:
        """Take what belongs to the body; return what follows it.

        Raises:
            MalformedMessage: these are no chunks.
        """
        at = 0
        try:
            while at < len(data) and not self._sink.complete:
                # A message ends with a line: given line by line, the parser never sees more than this one.
                end = data.find(b"\n", at) + 1 or len(data)
                self._parser.feed_data(data[at:end])
                at = end
        except httptools.HttpParserError as fault:
            raise MalformedMessage(type(fault).__name__) from None
        return data[at:]


class _Sink:
    """Where a parser puts a body. It does not know the parser, so that neither waits for the collector."""

    __slots__ = ("complete", "content")

    def __init__(self) -> None:
        self.content = bytearray()
        self.complete = False

    def on_body(self, body: bytes) -> None:
        self.content += body

    def on_message_complete(self) -> None:
        self.complete = True


Body = SizedBody | ChunkedBody
