"""However the network cuts what a client says, and whichever worker it is for, the answers are the same."""

import asyncio
import re
import socket
from collections.abc import Sequence
from contextlib import closing, suppress
from itertools import pairwise

import pytest
import uvloop
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.crew_rig import crew_directory, handover_of
from tests.support.front_rig import LIMITS, MAX_BODY, Rig, chunked, get, post, until
from tidings.domain.crew import Crew

WORKERS = 3
TARGETS = ["/desk/", "/desk/@0", "/desk/@1", "/desk/@2", "/desk/pend@1", "/desk/pend@2", "/desk/none@1"]
BODIES = [b"", b"x" * MAX_BODY, b"GET /desk/@1 HTTP/1.1\r\n\r\n", bytes(range(MAX_BODY)), b"\r\n0\r\n\r\n"]
CHUNKS = [b"x", b"0\r\n\r\n", bytes(range(MAX_BODY - 1))]
REST = get("/rest")
UPGRADE = get("/desk/@2", "Connection: Upgrade", "Upgrade: websocket") + b"what follows"

REQUESTS = st.one_of(
    st.builds(get, st.sampled_from(TARGETS)),
    st.builds(post, st.sampled_from(TARGETS), st.sampled_from(BODIES)),
    st.builds(chunked, st.sampled_from(TARGETS), st.sampled_from(CHUNKS), st.just(b"x")),
    st.just(REST),
)


OWN = re.compile(rb"(?:x-request-id|date): [^\r]*\r\n|\"requestId\":\"[^\"]*\"", re.IGNORECASE)
"""What no two answers have in common."""


async def _said(rigs: Sequence[Rig], pieces: Sequence[bytes], answers: int, end: bytes) -> bytes:
    """What a client hears that says these pieces to the first worker, up to so many answers and that end."""
    ours, theirs = socket.socketpair()
    said = b""

    def complete() -> bool:
        nonlocal said
        for rig in rigs:
            while rig.desk.pending:
                rig.desk.pending.pop(0).answer(200, [], b"at last")
        with suppress(BlockingIOError):
            said += ours.recv(2**16)
        return len(re.findall(rb"HTTP/1\.1 \d+ |upgraded", said)) >= answers and said.endswith(end)

    with ours:
        ours.setblocking(False)
        await asyncio.get_running_loop().connect_accepted_socket(rigs[0].protocol, theirs)
        for piece in pieces:
            ours.sendall(piece)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await until(complete)
    await until(lambda: not any(rig.connections for rig in rigs))
    return OWN.sub(b"", said)


async def _by_workers(pieces: Sequence[bytes], answers: int, end: bytes) -> bytes:
    with crew_directory() as directory:
        rigs = [Rig(LIMITS, Crew(number, WORKERS, directory)) for number in range(WORKERS)]
        for rig in rigs:
            handover_of(rig).listen(rig.inherit)
        said = await _said(rigs, pieces, answers, end)
        for rig in rigs:
            await handover_of(rig).close()
            assert all(rig.desk.elsewhere(asked.target) is None for asked in rig.desk.requests)
        return said


@pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
@settings(max_examples=60, deadline=None)
@given(
    requests=st.lists(REQUESTS, max_size=5),
    last=st.sampled_from([get("/desk/@1"), UPGRADE]),
    at=st.sets(st.integers(0, 10_000), max_size=30),
)
@example(requests=[post("/desk/@1", b"12"), REST, get("/desk/@2")], last=UPGRADE, at=set(range(10_000)))
def test_any_cut(
    new_loop: type[asyncio.AbstractEventLoop], requests: list[bytes], last: bytes, at: set[int]
) -> None:
    """The same bytes get the same answers from three workers as from one, wherever they are cut."""
    stream = b"".join(requests) + last
    marks = sorted({0, *(mark % len(stream) for mark in at), len(stream)})
    pieces = [stream[start:end] for start, end in pairwise(marks)]
    answers = len(requests) + 1
    end = b"upgraded what follows" if last is UPGRADE else b"GET /desk/@1 "
    with closing(new_loop()) as loop:
        alone = loop.run_until_complete(_said([Rig(LIMITS)], [stream], answers, end))
        assert loop.run_until_complete(_by_workers(pieces, answers, end)) == alone
