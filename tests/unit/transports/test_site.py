"""What the connections of one server share."""

import json
import time

import pytest
from uvicorn.server import ServerState

from tests.support.front_rig import LIMITS, Desk
from tidings import metrics
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.hub.wheel import Wheel
from tidings.transports.site import Site


def site(*paths: bytes) -> tuple[Site, list[Desk]]:
    """A site, and who is mounted on each of its paths."""
    desks = [Desk() for _ in paths]
    mounts = dict(zip(paths, desks, strict=True))
    return Site(LIMITS, Wheel(time.monotonic()), mounts, {"server_state": ServerState()}), desks


def test_mounts() -> None:
    """A request belongs to the mount with the longest path that its target begins with."""
    shared, (outer, inner) = site(b"/a/", b"/a/b/")
    assert shared.mount(b"GET /a/b/c") is inner
    assert shared.mount(b"DELETE /a/b HTTP/1.1") is outer
    assert shared.mount(b"M-SEARCH /a/") is outer
    for other in (b"GET /b/", b"get /a/", b"GET  /a/", b"GET http://x/a/", b"/a/", b"GET /%61/"):
        assert shared.mount(other) is None
    assert site()[0].mount(b"GET /a/") is None


@pytest.mark.parametrize("path", [b"/a.b/", b"/a"])
def test_first_bytes(path: bytes) -> None:
    """Every part of a mounted request's beginning may still become one, and no other bytes may."""
    shared, _ = site(path)
    line = b"OPTIONS " + path
    for end in range(len(line)):
        assert shared.undecided(line[:end])
        assert shared.mount(line[:end]) is None
    assert shared.mount(line) is not None
    for other in (b"GET /axb/", b"GET /x", b"G\x00", b"\x16\x03\x01", b"GET\r\n", b"A" * 21, b"GET  "):
        assert not shared.undecided(other)


def test_refusal() -> None:
    """A problem of the contract's shape, counted, with nothing said twice."""
    shared, _ = site()
    refusals = metrics.refusals.labels("http", "UNAVAILABLE")
    before = refusals._value.get()
    answer = shared.refusal(TidingsError(ErrorCode.UNAVAILABLE, retry_after=7), None)
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    names = [line.split(": ")[0].lower() for line in lines]
    assert first == "HTTP/1.1 503 Service Unavailable"
    assert len(names) == len(set(names))
    assert {"retry-after: 7", "connection: close", f"content-length: {len(body)}"} <= set(lines)
    assert json.loads(body)["code"] == "UNAVAILABLE"
    assert refusals._value.get() == before + 1
