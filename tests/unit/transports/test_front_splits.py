"""However the network cuts a stream of bytes into pieces, what is said is the same, and so is the answer."""

import asyncio
import re
import socket
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.front_rig import LIMITS, MAX_BODY, Rig, chunked, get, post, request

UPGRADE = get("/desk/", "Connection: Upgrade", "Upgrade: websocket")
REQUESTS = [
    get("/desk/"),
    b"\r\n" + get("/desk/pend"),
    get("/desk/none"),
    get("/desk/refuse"),
    request("HEAD", "/desk/"),
    post("/desk/", b""),
    post("/desk/", b"GET /desk/ HTTP/1.1\r\n\r\n"),
    post("/desk/pend", b"\r\n\r\n"),
    chunked("/desk/", b"a\n", b"\r\n0\r\n\r\n", b"c"),
    chunked("/desk/", b"x" * MAX_BODY, trailer=b"X-Trailer: a\r\n"),
    chunked("/desk/unread"),
    post("/desk/", b"GET / HTTP/1.1\r\n\r\n", "Connection: Upgrade", "Upgrade: h2c"),
]
LAST = [
    b"",
    b"GET /des",
    get("/desk/", "Connection: close"),
    get("/desk/", "Name x"),
    get("/desk/", "X: " + "x" * LIMITS.header_bytes),
    post("/desk/early", b"early"),
    post("/desk/", b"x" * (MAX_BODY + 1)),
    chunked("/desk/", b"x" * MAX_BODY, b"x"),
    chunked("/desk/", b"nonsense", trailer=b"nonsense"),
    get("/rest"),
    get("/re") + get("/st"),
    UPGRADE + b"what follows",
    post("/desk/", b"x", "Connection: Upgrade", "Upgrade: websocket"),
]
BODIES = {
    get("/desk/"): b"GET /desk/ ",
    post("/desk/", b"12"): b"POST /desk/ 12",
    get("/rest"): b"app /rest 0",
    post("/rest", b"\r\n12\r\n"): b"app /rest 6",
    chunked("/rest", b"1\n", b"2"): b"app /rest 3",
    get("/rest", "Connection: Upgrade", "Upgrade: h2c"): b"app /rest 0",
}
REQUEST_ID = re.compile(rb'"requestId":"[^"]*"|x-request-id: [^\r]*\r\n')


async def _turn(times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def _answers(pieces: list[bytes]) -> bytes:
    """What a server says to these pieces, each of which it reads before the next one comes."""
    rig = Rig(LIMITS)
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_accepted_socket(rig.protocol, theirs)
        for piece in pieces:
            ours.sendall(piece)
            await _turn(2)
        await _turn(60)
        while rig.desk.pending:
            rig.desk.pending.pop(0).answer(200, [], b"at last")
            await _turn(20)
        said = b""
        try:
            while part := ours.recv(2**16):
                said += part
        except BlockingIOError:
            pass
        transport.abort()
        await _turn(2)
    return REQUEST_ID.sub(b"", said)


def _cut(stream: bytes, at: set[int]) -> list[bytes]:
    marks = sorted({0, *(mark % (len(stream) or 1) for mark in at), len(stream)})
    return [stream[start:end] for start, end in pairwise(marks)]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(REQUESTS), max_size=4),
    st.sampled_from(LAST),
    st.sets(st.integers(0, 10_000), max_size=30),
)
@example(REQUESTS, get("/rest"), set())
@example(REQUESTS, UPGRADE + b"what follows", set(range(10_000)))
def test_any_cut(requests: list[bytes], last: bytes, at: set[int]) -> None:
    """The same bytes get the same answers, wherever they are cut."""
    stream = b"".join(requests) + last
    whole = asyncio.run(_answers([stream]))
    assert asyncio.run(_answers(_cut(stream, at))) == whole
    assert len(re.findall(rb"HTTP/1.1 \d+ ", whole)) >= len(requests)


@given(st.lists(st.sampled_from(sorted(BODIES)), max_size=6), st.sets(st.integers(0, 10_000), max_size=20))
@settings(max_examples=150, deadline=None)
def test_mount_and_application_in_any_order(requests: list[bytes], at: set[int]) -> None:
    """RFC 9112, section 9.3.2: pipelined requests are answered in their order, whoever answers them."""
    said = asyncio.run(_answers(_cut(b"".join(requests), at)))
    answers = re.findall(rb"app /rest \d|(?:GET|POST) /desk/ (?:12)?", said)
    assert answers == [BODIES[asked] for asked in requests]
