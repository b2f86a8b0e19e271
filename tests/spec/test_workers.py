"""Contract, sections 1, 9 and 11: ``tidings serve --workers N``, several processes on one port."""

import asyncio
import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from tests.support import redis
from tests.support.installed import TIDINGS
from tests.support.processes import free_port, running, wait_until
from tests.support.server import SECRET, Server, eventually, serving
from tests.support.sockets import ready
from tidings.crew.metrics import summed
from tidings.domain.crew import Crew
from tidings.domain.people import Role

_READY = re.compile(r'"number":(\d+),"pid":(\d+),.*"event":"worker ready"')


@dataclass
class Workers:
    """A server of two workers. ``pids`` are those that are under way or were the last, by number."""

    server: Server

    @property
    def pids(self) -> dict[int, int]:
        return {int(number): int(pid) for number, pid in _READY.findall(self.server.child.output)}

    def healthy(self) -> bool:
        """Asked on a connection of its own, as by a new client."""
        return self.server.get("/healthz").status_code == 200

    def said(self, event: str) -> bool:
        return f'"event":"{event}"' in self.server.child.output


@contextmanager
def working(folder: Path, **settings: object) -> Iterator[Workers]:
    with redis.serving() as broker:
        given = {"broker_url": broker.url, "workers": 2, **settings}
        with serving(folder, given) as server:
            yield Workers(server)


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    with working(tmp_path) as running_workers:
        yield running_workers


def directory(pid: int) -> Path:
    """What the workers share; it is among the words of a worker's command."""
    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    (found,) = [Path(word) for word in words if Path(word).name.startswith("tidings-")]
    return found


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def asked(registry: CollectorRegistry) -> float:
    """How often the workers of that registry were asked for their health."""
    labels = {"method": "GET", "route": "/healthz", "status": "200"}
    return registry.get_sample_value("tidings_http_requests_total", labels) or 0.0


async def test_metrics_are_those_of_all(tmp_path: Path) -> None:
    """Connections are spread over the workers; a scrape of any of them, and the port of its own, sums all."""
    port = free_port()
    with working(tmp_path, metrics_port=port) as workers:
        server = workers.server
        folder = directory(workers.pids[0])
        each = [summed(Crew(0, 2, folder))]
        for _ in range(60):
            assert workers.healthy()
        (everyone,) = each
        assert asked(everyone) == 60
        line = 'tidings_http_requests_total{method="GET",route="/healthz",status="200"} 60.0'
        texts = [server.get("/metrics").text for _ in range(6)]
        texts.append(Server(server.child, port, tmp_path).get("/metrics").text)
        for text in texts:
            assert line in text.splitlines()
            assert "tidings_workers 2.0" in text.splitlines()
        # A crew of one, and it is worker 0: less than the whole, and not nothing.
        assert 0 < asked(summed(Crew(0, 1, folder))) < 60
        async with server.http(await server.person()) as client:
            assert (await client.get("/notifications")).status_code == 200
    for said in server.child.output.splitlines():
        json.loads(said)


async def test_a_killed_worker_is_replaced(workers: Workers) -> None:
    """A supervisor "restarts a dead one": nobody who comes meanwhile is turned away."""
    before = workers.pids
    os.kill(before[0], signal.SIGKILL)
    for _ in range(20):
        assert workers.healthy()
    await eventually(lambda: workers.pids[0] != before[0])
    for _ in range(20):
        assert workers.healthy()
    assert '"signal":"SIGKILL"' in workers.server.child.output
    assert workers.pids[1] == before[1]


async def test_sigterm_ends_all(workers: Workers) -> None:
    """ "SIGTERM: clients told and released, exit 0 within 30 s"; no process and no directory is left."""
    pids = workers.pids
    folder = directory(pids[0])
    user = await workers.server.person()
    async with ready(workers.server, user) as one, ready(workers.server, user) as two:
        workers.server.child.send(signal.SIGTERM)
        for socket in (one, two):
            assert "reconnectAfterMs" in await socket.event("system:draining")
    assert await asyncio.to_thread(workers.server.child.wait) == 0
    assert all(map(gone, pids.values()))
    assert not folder.exists()


async def test_workers_do_not_outlive_the_supervisor(workers: Workers) -> None:
    """They drain, and leave neither a process nor the port nor the directory behind."""
    pids = workers.pids
    folder = directory(pids[0])
    user = await workers.server.person()
    async with ready(workers.server, user) as socket:
        workers.server.child.send(signal.SIGKILL)
        await socket.event("system:draining")
    await eventually(lambda: all(map(gone, pids.values())))
    assert not folder.exists()
    with pytest.raises(httpx.ConnectError):
        workers.server.get("/healthz")


async def test_a_rolling_restart(workers: Workers) -> None:
    """SIGHUP replaces one worker after the other, and every new client is served meanwhile."""
    before = workers.pids
    user = await workers.server.person()
    async with ready(workers.server, user) as socket:
        workers.server.child.send(signal.SIGHUP)
        while not workers.said("restarted"):
            assert workers.healthy()
        await socket.event("system:draining")
    assert not set(before.values()) & set(workers.pids.values())
    assert all(map(gone, before.values()))
    assert not workers.said("worker ended")


async def test_a_worker_that_is_drained_by_order(workers: Workers) -> None:
    """It is replaced at once and is no crash; every new client is served meanwhile, by the others."""
    before = workers.pids
    root = await workers.server.person(Role.SUPER_ADMIN)

    async def order() -> httpx.Response:
        async with workers.server.http(root) as client:
            listed = (await client.get("/admin/nodes")).json()["items"]
            (name,) = [node["id"] for node in listed if node["pid"] == before[0]]
            return await client.post(f"/admin/nodes/{name}/drain")

    assert (await order()).status_code == 202
    while workers.pids[0] == before[0]:
        assert workers.healthy()
    assert gone(before[0])
    assert workers.pids[1] == before[1]
    assert workers.said("worker departs")
    assert not workers.said("worker ended")


def test_a_fault_of_all_is_told_once(tmp_path: Path) -> None:
    """A worker that cannot start ends all: one message, and its exit code."""
    env = {
        "PATH": os.environ["PATH"],
        "TIDINGS_VAR": str(tmp_path),
        "TIDINGS_BROKER_URL": "redis://127.0.0.1:6379/no-number",
        "TIDINGS_JWT_SECRET": SECRET,
    }
    with running([TIDINGS, "serve", "--workers", "2", "--port", "0"], env=env, cwd=tmp_path) as child:
        assert child.wait() == 78
        wait_until(lambda: "TIDINGS_BROKER_URL" in child.output)
    assert child.output.count("tidings: ") == 1
    assert "listening" not in child.output
