"""HTTP/1.1 requests as bytes (RFC 9112)."""

import gc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.front_rig import chunked, get, post, request
from tidings.transports.message import HEAD_END, ChunkedBody, Head, MalformedMessage, SizedBody


def head(said: bytes) -> Head:
    """The head of a request."""
    return Head(said[: said.index(HEAD_END) + len(HEAD_END)])


def test_head() -> None:
    """RFC 9112, section 3: a request line and header fields; names in lower case, in their order."""
    said = head(get("/a?b=%20", "B: 1", "a:  2 ", "B: 3", "X: \xe9"))
    assert (said.method, said.target, said.length) == (b"GET", b"/a?b=%20", 0)
    assert said.headers == [
        (b"host", b"x"),
        (b"b", b"1"),
        (b"a", b"2 "),
        (b"b", b"3"),
        (b"x", "\xe9".encode()),
    ]
    assert (said.keep_alive, said.websocket, said.expects) == (True, False, False)


@pytest.mark.parametrize(
    ("said", "length"),
    [
        (post("/", b""), 0),
        (post("/", b"12"), 2),
        (request("POST", "/"), 0),
        (get("/", "Content-Length: 10 "), 10),
        (get("/", f"Content-Length: {2**64 - 1}"), 2**64 - 1),
        (request("POST", "/", "Transfer-Encoding: Chunked"), None),
        (post("/", b"12", "Connection: Upgrade", "Upgrade: h2c"), 2),
        (request("POST", "/", "Transfer-Encoding: chunked", "Connection: Upgrade", "Upgrade: h2c"), None),
    ],
)
def test_length(said: bytes, length: int | None) -> None:
    """RFC 9112, section 6.3: how long the body is, which no upgrade changes."""
    assert head(said).length == length


@pytest.mark.parametrize(
    ("said", "keep_alive"),
    [
        (get("/"), True),
        (get("/", "Connection: close"), False),
        (get("/", "Connection: Keep-Alive, Close"), False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", False),
    ],
)
def test_persistence(said: bytes, *, keep_alive: bool) -> None:
    """RFC 9112, section 9.3; that of HTTP/1.0 is not offered."""
    assert head(said).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("headers", "websocket"),
    [
        (("Connection: Upgrade", "Upgrade: websocket"), True),
        (("Connection: keep-alive, upgrade", "Upgrade: WebSocket "), True),
        (("Connection: Upgrade",), False),
        (("Upgrade: websocket",), False),
        (("Connection: Upgrade", "Upgrade: h2c"), False),
    ],
)
def test_websocket(headers: tuple[str, ...], *, websocket: bool) -> None:
    """RFC 6455, section 4.2.1, items 3 and 4."""
    assert head(get("/", *headers)).websocket is websocket
    assert not head(get("/", *headers).replace(b"1.1", b"1.0")).websocket


def test_expectation() -> None:
    """RFC 9110, section 10.1.1: from a client of HTTP/1.0 it must be ignored."""
    said = post("/", b"12", "Expect: 100-Continue")
    assert head(said).expects
    assert not head(said.replace(b"1.1", b"1.0")).expects
    assert not head(post("/", b"12", "Expect: wonders")).expects


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/3.7\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / x HTTP/1.1\r\n\r\n",
        b"GOT / HTTP/1.1\r\n\r\n",
        b"PRI / HTTP/1.1\r\n\r\n",
        get("/", "Name x"),
        get("/", "X: a\x00b"),
        get("/", "X: a", " folded"),
        get("/", "X : a"),
        b"GET / HTTP/1.1\r\nX: a\n\r\n\r\n",
        request("POST", "/", "Content-Length: -1"),
        request("POST", "/", "Content-Length: 1x"),
        request("POST", "/", "Content-Length: 1", "Content-Length: 1"),
        request("POST", "/", "Content-Length: 1, 1"),
        request("POST", "/", "Content-Length: 1", "Transfer-Encoding: chunked"),
        request("POST", "/", "Transfer-Encoding: chunked", "Content-Length: 1"),
        request("POST", "/", "Transfer-Encoding: gzip, chunked"),
        request("POST", "/", "Transfer-Encoding: gzip"),
        request("POST", "/", "Transfer-Encoding: chunked").replace(b"1.1", b"1.0"),
    ],
)
def test_malformed(said: bytes) -> None:
    """What breaks the grammar is refused, and what others might understand in another way."""
    with pytest.raises(MalformedMessage):
        Head(said)


@given(st.binary(max_size=60))
def test_anything(junk: bytes) -> None:
    """Whatever comes is read as a head or refused."""
    for block in (junk + HEAD_END, b"GET / HTTP/1.1\r\n" + junk + HEAD_END):
        try:
            Head(block)
        except MalformedMessage:
            continue


def test_nothing_waits_for_the_collector() -> None:
    """Heads come by the thousand, and bodies break off: a parser goes with what it was for, at once."""
    gc.collect()
    before = len(gc.get_objects())
    gc.disable()
    try:
        for _ in range(1000):
            Head(get("/"))
            ChunkedBody().feed(b"1\r\na")
        assert len(gc.get_objects()) < before + 100
    finally:
        gc.enable()


@given(st.binary(max_size=40), st.binary(max_size=40), st.integers(0, 80))
def test_sized_body(body: bytes, behind: bytes, cut: int) -> None:
    """RFC 9112, section 6.2: so many bytes, and not one of what follows."""
    said = SizedBody(len(body))
    stream = body + behind
    left = said.feed(stream[:cut])
    assert left + said.feed(stream[cut:]) == behind
    assert said.complete
    assert said.content == body


@given(
    st.lists(st.binary(min_size=1, max_size=20), max_size=5),
    st.sampled_from([b"", b"X: a\r\n", b"X: a\r\nY: \r\n"]),
    st.binary(max_size=40),
    st.sets(st.integers(0, 300)),
)
def test_chunked_body(chunks: list[bytes], trailer: bytes, behind: bytes, cuts: set[int]) -> None:
    """RFC 9112, section 7.1: the chunks' data, and not one byte of what follows, wherever it is cut."""
    said = chunked("/", *chunks, trailer=trailer)
    stream = said[said.index(HEAD_END) + len(HEAD_END) :] + behind
    body = ChunkedBody()
    left = b""
    marks = [0, *sorted(cuts), len(stream)]
    for start, end in pairwise(marks):
        left = left + stream[start:end] if body.complete else body.feed(stream[start:end])
    assert body.complete
    assert body.content == b"".join(chunks)
    assert left == behind


@pytest.mark.parametrize("said", [b"zz\r\n", b"-1\r\n", b"1\r\nab", b"1\nab\r\n", b"0\r\nX\r\n\r\n"])
def test_malformed_chunks(said: bytes) -> None:
    """What is no chunk ends the body."""
    with pytest.raises(MalformedMessage):
        ChunkedBody().feed(said)
