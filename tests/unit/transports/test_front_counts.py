"""What is counted of the answers to mounted paths, and the id by which each can be asked about."""

import json

import pytest

from tests.support.front_rig import MAX_BODY, get, post, request, rigged, until
from tidings import metrics
from tidings.domain.errors import ErrorCode, TidingsError

ROUTE = "/desk/"
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")


def counted(method: str, status: int, route: str = ROUTE) -> float:
    labels = {"method": method, "route": route, "status": str(status)}
    return metrics.REGISTRY.get_sample_value("tidings_http_requests_total", labels) or 0.0


@pytest.mark.parametrize(
    ("asked", "method", "status"),
    [
        (get("/desk/"), "GET", 200),
        (get("/desk/some/where?sid=1"), "GET", 200),
        (post("/desk/", b"hello"), "POST", 200),
        (request("OPTIONS", "/desk/none"), "OPTIONS", 204),
        (request("M-SEARCH", "/desk/"), "other", 200),
        (get("/desk/refuse"), "GET", 409),
        (get("/desk/boom"), "GET", 500),
        (post("/desk/", b"x" * (MAX_BODY + 1)), "POST", 413),
        (get("/desk/", "Long: " + "x" * 2000), "GET", 431),
        (get("/desk/", "No: header\x00"), "GET", 400),
    ],
)
async def test_answers(asked: bytes, method: str, status: int) -> None:
    """Contract, section 8: each answer is counted once, by what is bounded: never a path, nor a made-up method."""
    before = counted(method, status)
    async with rigged() as rig, rig.line() as line:
        await line.say(asked)
        assert (await line.answer())[0] == status
    assert counted(method, status) == before + 1


async def test_upgrades() -> None:
    """An opening handshake is counted with its answer: 101, or why not."""
    before = counted("GET", 101), counted("GET", 503)
    async with rigged() as rig:
        async with rig.line() as line:
            await line.say(get("/desk/", *UPGRADE))
            await line.reader.readexactly(8)
        rig.desk.refusal = TidingsError(ErrorCode.UNAVAILABLE, retry_after=1)
        async with rig.line() as line:
            await line.say(get("/desk/", *UPGRADE))
            assert (await line.answer())[0] == 503
    assert (counted("GET", 101), counted("GET", 503)) == (before[0] + 1, before[1] + 1)


async def test_polls() -> None:
    """A poll is counted when it is answered, and not if nobody is there to be answered."""
    before = counted("GET", 200)
    async with rigged() as rig:
        async with rig.line() as line:
            await line.say(get("/desk/pend"))
            await until(lambda: bool(rig.desk.pending))
            assert counted("GET", 200) == before
            rig.desk.pending.pop().answer(200, [], b"at last")
            assert await line.body() == b"at last"
            assert counted("GET", 200) == before + 1
            await line.say(get("/desk/pend"))
            await until(lambda: bool(rig.desk.pending))
        await until(lambda: bool(rig.desk.lost))
        rig.desk.pending.pop().answer(200, [], b"too late")
    assert counted("GET", 200) == before + 1


@pytest.mark.parametrize(
    ("begun", "method", "route"), [(b"GET /de", "other", "none"), (b"GET /desk/ HTTP/1.1", "GET", ROUTE)]
)
async def test_half_a_head(begun: bytes, method: str, route: str) -> None:
    """As much is counted of a late head as has come of it."""
    before = counted(method, 408, route)
    async with rigged() as rig, rig.line() as line:
        await line.say(begun)
        await until(lambda: bool(rig.connections and rig.connections[0]._data))
        rig.pass_seconds(11)
        assert (await line.answer())[0] == 408
    assert counted(method, 408, route) == before + 1


@pytest.mark.parametrize("path", ["/desk/", "/desk/refuse", "/desk/boom"])
async def test_request_ids(path: str) -> None:
    """Contract, section 3: "the detail goes to the log under the same ``requestId``"; each request has its own."""
    ids = set()
    async with rigged() as rig, rig.line() as line:
        for _ in range(2):
            await line.say(get(path))
            status, headers, body = await line.answer()
            ids.add(headers["x-request-id"])
            if status != 200:
                assert json.loads(body)["requestId"] == headers["x-request-id"]
            if status == 500:
                return
    assert len(ids) == 2
