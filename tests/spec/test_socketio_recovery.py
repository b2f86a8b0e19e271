"""Contract, section 4, "Recovery": a client that comes back is told exactly what it missed, or that it cannot be."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.support.server import SECRET, Person, Server, forged, serving
from tests.support.sockets import NAMESPACE, Socket, opened
from tests.support.streams import read, start_job
from tidings.domain.ids import new_id
from tidings.domain.people import Role

NOTE = {"title": "Hello", "content": "News."}
EVENT, CONNECT = f"42{NAMESPACE},", f"40{NAMESPACE},"
STALE = "0000000000000000.1.0000000000000000.0"
HISTORY = 8
JOBS = 3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"history_events": HISTORY, "max_streams_per_user": JOBS}
    with serving(tmp_path_factory.mktemp("server"), settings) as running:
        yield running


@dataclass
class Visit:
    """One connection of a client: what CONNECT answered, and what was received since, in order."""

    socket: Socket
    sid: str
    pid: str
    ready: dict[str, Any]
    offset: str
    received: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def recovered(self) -> bool:
        return bool(self.ready["recovered"])

    async def hear(self, count: int) -> list[tuple[str, dict[str, Any]]]:
        """The next events, whatever they are."""
        heard = []
        for _ in range(count):
            name, data, self.offset = await next_event(self.socket)
            heard.append((name, data))
        self.received += heard
        return heard

    async def titles(self, count: int) -> list[str]:
        """The titles of the next notifications; each is followed by the new unread count."""
        heard = await self.hear(2 * count)
        assert [name for name, _ in heard] == ["notification:new", "notification:unread"] * count
        return [data["notification"]["title"] for _, data in heard[::2]]

    async def quiet(self) -> bool:
        return await self.socket.quiet()

    def cut(self) -> None:
        """The link is gone, without a word."""
        self.socket.wire.transport.abort()


async def next_event(socket: Socket) -> list[Any]:
    packet = await socket.packet(lambda packet: packet.startswith(EVENT))
    event: list[Any] = json.loads(packet[len(EVENT) :])
    return event


@asynccontextmanager
async def visit(server: Server, person: Person, **given: object) -> AsyncIterator[Visit]:
    """A client that was let in and is told that it is ready, with that ``pid`` and ``offset`` if any."""
    async with opened(server) as socket:
        await socket.connect({"token": person.token, **given})
        packet = await socket.packet(lambda packet: packet.startswith(CONNECT))
        answer = json.loads(packet[len(CONNECT) :])
        name, ready, offset = await next_event(socket)
        assert name == "notification:ready"
        yield Visit(socket, answer["sid"], answer["pid"], ready, offset)


async def notify(server: Server, person: Person, *titles: str, **more: str) -> None:
    async with server.http(person) as client:
        for title in titles:
            answer = await client.post("/notifications", json={**NOTE, "title": title, **more})
            assert answer.status_code == 201, answer.text


async def miss(server: Server, person: Person, *titles: str) -> None:
    """Notifications that have been published when this returns: another connection has heard them."""
    async with visit(server, person) as witness:
        await notify(server, person, *titles)
        assert await witness.titles(len(titles)) == list(titles)


# What comes back.


async def test_pid(server: Server) -> None:
    """ "CONNECT answers with ``sid`` and ``pid``; each event ends with its position"."""
    user = await server.person()
    async with visit(server, user) as here, visit(server, user) as there:
        assert here.sid == here.socket.handshake["sid"]
        assert len({here.sid, here.pid, there.sid, there.pid}) == 4
        assert here.recovered is False
        await notify(server, user, "one")
        for client in (here, there):
            before = client.offset
            await client.titles(1)
            assert client.offset != before


async def test_after_a_lost_transport(server: Server) -> None:
    """ "Reconnecting with ``{pid, offset}`` replays exactly what was missed, in order": of the user, the tenant, everyone."""
    admin, user = await server.people(Role.ADMIN, Role.USER)
    root = await server.person(Role.SUPER_ADMIN, of=user.tenant_id)
    async with visit(server, user) as first:
        await notify(server, user, "seen")
        assert await first.titles(1) == ["seen"]
        first.cut()
    await notify(server, user, "own")
    await notify(server, admin, "tenant", audience="tenant")
    await notify(server, root, "everyone", audience="global")
    await notify(server, user, "own again")
    async with visit(server, user, pid=first.pid, offset=first.offset) as second:
        assert (second.recovered, second.pid, second.offset) == (True, first.pid, first.offset)
        assert second.sid != first.sid
        heard = await second.hear(6)
        titles = [data["notification"]["title"] for name, data in heard if name == "notification:new"]
        # Between the counters of a tenant and of everyone there is no order.
        assert sorted(titles) == ["everyone", "own", "own again", "tenant"]
        assert [title for title in titles if title != "everyone"] == ["own", "tenant", "own again"]
        assert await second.quiet()
        await notify(server, user, "live")
        assert await second.titles(1) == ["live"]


async def test_three_times_in_a_row(server: Server) -> None:
    """ "Any number of times", with nothing missed in between too."""
    user = await server.person()
    async with visit(server, user) as client:
        client.cut()
    for turn in range(3):
        missed = [f"{turn}.{number}" for number in range(turn)]
        await notify(server, user, *missed)
        async with visit(server, user, pid=client.pid, offset=client.offset) as client:
            assert client.recovered
            assert await client.titles(turn) == missed
            assert await client.quiet()
            client.cut()


async def test_zero_events(server: Server) -> None:
    """ "With zero events received so far": "a known ``pid`` without an offset recovers from its connect"."""
    user = await server.person()
    async with visit(server, user) as client:
        client.cut()
    for turn in range(3):
        await notify(server, user, str(turn))
        async with visit(server, user, pid=client.pid) as client:
            assert client.recovered
            assert await client.titles(turn + 1) == [str(number) for number in range(turn + 1)]
            client.cut()


async def test_cut_at_every_event_of_a_replay(server: Server) -> None:
    """ "Never a partial replay", "exactly what was missed": whoever gets one event further each time gets each once."""
    user = await server.person()
    async with visit(server, user) as client:
        client.cut()
    missed = ["a", "b", "c", "d"]
    await notify(server, user, *missed)
    received = []
    for _ in range(2 * len(missed)):
        async with visit(server, user, pid=client.pid, offset=client.offset) as client:
            assert client.recovered
            received += await client.hear(1)
            client.cut()
    assert [data["notification"]["title"] for _, data in received[::2]] == missed
    async with visit(server, user, pid=client.pid, offset=client.offset) as client:
        assert client.recovered
        assert await client.quiet()


# What does not.


async def forgotten(server: Server, person: Person, **given: object) -> None:
    """That client begins anew: nothing is replayed, and it hears what is live."""
    async with visit(server, person, **given) as client:
        assert client.recovered is False
        assert client.pid != given["pid"]
        assert await client.quiet()
        await notify(server, person, "live")
        assert await client.titles(1) == ["live"]


async def test_stolen_pid(server: Server) -> None:
    """ "A stolen or unknown ``pid`` connects with ``recovered: false``", and the owner recovers all the same."""
    owner, colleague = await server.people(Role.USER, Role.USER)
    stranger = await server.person()
    async with visit(server, owner) as client:
        client.cut()
    await miss(server, owner, "secret")
    for thief in (colleague, stranger):
        await forgotten(server, thief, pid=client.pid, offset=client.offset)
    async with visit(server, owner, pid=client.pid, offset=client.offset) as client:
        assert client.recovered
        assert await client.titles(1) == ["secret"]


@pytest.mark.parametrize("pid", ["unknown", "", 7, None, ["x"], {"a": "b"}, "x" * 10_000])
async def test_no_pid(server: Server, pid: object) -> None:
    """Whatever stands for the ``pid``, it is no error: the client is let in and begins anew."""
    await forgotten(server, await server.person(), pid=pid, offset=STALE)


@pytest.mark.parametrize("offset", [STALE, "nonsense", "", 7, ["x"], {"a": "b"}, "x" * 10_000])
async def test_no_offset(server: Server, offset: object) -> None:
    """An offset that is none, or of another epoch: "otherwise ``recovered: false``"."""
    user = await server.person()
    async with visit(server, user) as client:
        client.cut()
    await miss(server, user, "missed")
    await forgotten(server, user, pid=client.pid, offset=offset)


async def test_trimmed_history(server: Server) -> None:
    """ "As long as the history holds it; otherwise ``recovered: false`` and the client reads its inbox"."""
    user = await server.person()
    async with visit(server, user) as client:
        client.cut()
    missed = [str(number) for number in range(HISTORY // 2 + 1)]
    await miss(server, user, *missed)
    await forgotten(server, user, pid=client.pid, offset=client.offset)
    async with visit(server, user, pid=client.pid, offset=client.offset) as client:
        assert client.recovered is False
        assert client.ready["unread"]["count"] == len(missed) + 1


async def test_another_process(tmp_path_factory: pytest.TempPathFactory) -> None:
    """On the embedded broker a restart is another epoch: what cannot be known is not claimed."""
    folder = tmp_path_factory.mktemp("server")
    with serving(folder) as before:
        user = await before.person()
        async with visit(before, user) as client:
            await notify(before, user, "seen")
            await client.titles(1)
    with serving(folder) as after:
        await miss(after, user, "missed")
        await forgotten(after, user, pid=client.pid, offset=client.offset)


async def test_changed_role(tmp_path_factory: pytest.TempPathFactory) -> None:
    """ "Authorisation is checked again on recovery": with other rights it is another session."""

    def token(role: Role) -> str:
        claims = {"sub": "ann", "exp": time.time() + 600, "tenant": "acme", "role": role.value}
        return forged({**claims, "jti": new_id()}, secret=SECRET)

    with serving(tmp_path_factory.mktemp("server"), {"identity": "claims"}) as server:
        nobody = await server.person()
        user = replace(nobody, token=token(Role.USER))
        async with visit(server, user) as client:
            client.cut()
        await miss(server, user, "missed")
        admin = replace(nobody, token=token(Role.ADMIN))
        await forgotten(server, admin, pid=client.pid, offset=client.offset)


# Jobs.


def types(heard: list[tuple[str, dict[str, Any]]]) -> list[str]:
    assert {name for name, _ in heard} <= {"job:event"}
    return [data["type"] for _, data in heard]


async def test_events_of_a_job(server: Server) -> None:
    """A session's jobs are remembered when it subscribes: what they brought is replayed, the terminal event too."""
    user = await server.person()
    job = await start_job(server, user, steps=3, delayMs=300)
    async with visit(server, user) as client:
        await client.socket.ask("job:subscribe", {"jobId": job})
        assert types(await client.hear(1)) == ["snapshot"]
        client.cut()
    story = await read(server, job, user, after=client.offset)
    assert story[-1].type == "completed"
    for received in range(len(story)):
        async with visit(server, user, pid=client.pid, offset=client.offset) as client:
            assert client.recovered
            assert [data for _, data in await client.hear(1)] == [story[received].data]
            assert client.offset == story[received].id
            client.cut()
    async with visit(server, user, pid=client.pid, offset=client.offset) as client:
        assert client.recovered
        assert await client.quiet()


async def test_a_job_that_runs_on(server: Server) -> None:
    """What is replayed and what is live follow each other without gap or double."""
    user = await server.person()
    job = await start_job(server, user, steps=12, delayMs=60)
    received = []
    async with visit(server, user) as client:
        await client.socket.ask("job:subscribe", {"jobId": job})
        received += await client.hear(1)
        client.cut()
    while received[-1][1]["type"] != "completed":
        async with visit(server, user, pid=client.pid, offset=client.offset) as client:
            assert client.recovered
            received += await client.hear(1)
            client.cut()
    steps = [data["message"] for _, data in received if data["type"] == "progress"]
    done = round(received[0][1]["progress"] * 12)
    assert steps == [f"step {step} of 12" for step in range(done + 1, 13)]


async def test_a_snapshot_that_did_not_arrive(server: Server) -> None:
    """ "The whole of what was missed": a subscription of which nothing was received begins with its snapshot again."""
    user = await server.person()
    job = await start_job(server, user, steps=1, delayMs=0)
    await read(server, job, user)
    async with visit(server, user) as client:
        offset = client.offset
        await client.socket.ask("job:subscribe", {"jobId": job})
        client.cut()
    for _ in range(2):
        async with visit(server, user, pid=client.pid, offset=offset) as client:
            assert client.recovered
            assert types(await client.hear(1)) == ["completed"]
            client.cut()
    async with visit(server, user, pid=client.pid, offset=client.offset) as client:
        assert client.recovered
        assert await client.quiet()


async def test_a_job_that_was_left(server: Server) -> None:
    """``job:unsubscribe`` is remembered as well."""
    user = await server.person()
    job = await start_job(server, user, steps=2, delayMs=100)
    async with visit(server, user) as client:
        await client.socket.ask("job:subscribe", {"jobId": job})
        await client.hear(1)
        await client.socket.ask("job:unsubscribe", {"jobId": job})
        client.cut()
    await read(server, job, user)
    async with visit(server, user, pid=client.pid, offset=client.offset) as client:
        assert client.recovered
        assert await client.quiet()


async def test_too_many_jobs(server: Server) -> None:
    """A session may be subscribed to as many unfinished jobs as a user may have streams; finished ones do not count."""
    user = await server.person()
    over = await start_job(server, user, steps=1, delayMs=0)
    await read(server, over, user)
    async with visit(server, user) as client:
        running = [await start_job(server, user, steps=100, delayMs=100) for _ in range(JOBS + 1)]
        for job in running[:JOBS]:
            assert "error" not in await client.socket.ask("job:subscribe", {"jobId": job})
        refused = await client.socket.ask("job:subscribe", {"jobId": running[-1]})
        assert refused["error"]["code"] == "TOO_MANY_CONNECTIONS"
        assert "error" not in await client.socket.ask("job:subscribe", {"jobId": over})
        await client.socket.ask("job:unsubscribe", {"jobId": running[0]})
        assert "error" not in await client.socket.ask("job:subscribe", {"jobId": running[-1]})
    async with server.http(user) as http:
        for job in running:
            await http.post(f"/jobs/{job}/cancel")


async def test_outcomes_are_counted(server: Server) -> None:
    """Contract, section 8: metrics tell the "recovery outcomes"."""
    user = await server.person()
    before = server.get("/metrics").text
    async with visit(server, user) as client:
        client.cut()
    async with visit(server, user, pid=client.pid, offset=client.offset):
        pass
    async with visit(server, user, pid="unknown"):
        pass
    after = server.get("/metrics").text
    for outcome in ("complete", "unknown"):
        line = f'tidings_resumes_total{{outcome="{outcome}"}}'
        assert value(after, line) == value(before, line) + 1


def value(exposition: str, line: str) -> float:
    return next((float(text.split()[-1]) for text in exposition.splitlines() if text.startswith(line)), 0.0)
