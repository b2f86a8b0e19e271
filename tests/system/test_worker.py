"""``tidings worker`` and ``serve --app``: real processes, a real Redis, and kinds of a user's own (section 1)."""

import asyncio
import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import redis
from tests.support.installed import TIDINGS, Installed
from tests.support.processes import Child, free_port, running
from tests.support.server import SECRET, Person, Server, eventually, serving
from tests.support.streams import streaming
from tidings.cli.exits import Exit
from tidings.domain.people import Role

KINDS = """
import os, time
from pydantic import BaseModel
import tidings

class Order(BaseModel):
    seconds: float = 0.0
    deaf: bool = False

@tidings.job("shop.pack")
async def pack(ctx: tidings.JobContext, order: Order) -> int:
    ctx.progress(0.5, "packing")
    return os.getpid()

@tidings.job("shop.count", attempts=5)
def count(ctx: tidings.JobContext, order: Order) -> int:
    ctx.progress(0.5, f"counting {os.getpid()}")
    until = time.monotonic() + (order.seconds if ctx.attempt == 1 else 0)
    while time.monotonic() < until:
        if not order.deaf:
            ctx.progress(0.5, f"counting {os.getpid()}")
    return ctx.attempt
"""


@dataclass
class Shop:
    """A server that runs no jobs itself, and what its workers share with it."""

    server: Server
    folder: Path
    env: dict[str, str]

    async def order(self, person: Person, kind: str = "shop.count", **payload: object) -> str:
        """A job; its id."""
        async with self.server.http(person) as client:
            answer = await client.post("/jobs", json={"kind": kind, "payload": payload})
            assert answer.status_code == 202, answer.text
            return str(answer.json()["id"])

    async def job(self, person: Person, name: str) -> dict[str, Any]:
        async with self.server.http(person) as client:
            found: dict[str, Any] = (await client.get(f"/jobs/{name}")).json()
            return found

    async def ended(self, person: Person, name: str) -> dict[str, Any]:
        """The job, once it is over."""

        def over() -> bool:
            answer = self.server.get(f"/jobs/{name}", **person.headers)
            return answer.status_code == 200 and answer.json()["finishedAt"] is not None

        await eventually(over, 60)
        return await self.job(person, name)

    async def cancel(self, person: Person, name: str) -> None:
        async with self.server.http(person) as client:
            assert (await client.post(f"/jobs/{name}/cancel")).status_code == 202

    async def counting(self, person: Person, name: str) -> int:
        """Wait until the job runs; the process that runs it."""
        async with streaming(self.server, f"/jobs/{name}/events", person) as stream:
            while True:
                said = re.fullmatch(r"counting (\d+)", (await stream.message()).data["message"] or "")
                if said is not None:
                    return int(said[1])

    @contextmanager
    def working(self, *words: str, **settings: object) -> Iterator[Child]:
        """A worker that has begun to work; ``settings`` without their prefix, in lower case."""
        env = {**self.env, **{f"TIDINGS_{name.upper()}": str(value) for name, value in settings.items()}}
        command: list[str | Path] = [TIDINGS, "worker", "--app", "shop_kinds", *words]
        with running(command, env=env, cwd=self.folder) as worker:
            worker.wait_for_output('"event":"working"')
            yield worker


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop_kinds.py").write_text(KINDS)
    with redis.serving() as broker:
        settings = {"broker_url": broker.url, "job_lease_seconds": 1, "job_cancel_grace": 0.2}
        with serving(folder, settings) as server:
            given = {**settings, "env": "test", "var": folder, "jwt_secret": SECRET, "drain_seconds": 0}
            env = {f"TIDINGS_{name.upper()}": str(value) for name, value in given.items()}
            yield Shop(server, folder, {**Installed(folder).env, **env})


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


async def stopped(worker: Child, *, within: float = 20) -> int:
    """Send SIGTERM; the exit code."""
    return await asyncio.to_thread(worker.stop, seconds=within)


async def test_kinds_of_one_s_own(shop: Shop) -> None:
    """``--app module`` "loads the user's own job kinds", from the current directory too; async and plain run."""
    user = await shop.server.person()
    with shop.working("--concurrency", "3") as worker:
        told = json.loads(worker.wait_for_output(r'^.*"event":"working".*$')[0])
        assert told["kinds"] == ["demo.steps", "shop.count", "shop.pack"]
        assert told["concurrency"] == 3
        packed = await shop.ended(user, await shop.order(user, "shop.pack"))
        assert (packed["status"], packed["result"]) == ("succeeded", worker.pid)
        counted = await shop.ended(user, await shop.order(user))
        assert (counted["status"], counted["maxAttempts"]) == ("succeeded", 5)
        assert await stopped(worker) == 0
        assert '"event":"stopped"' in worker.output


async def test_sigterm_lets_a_job_finish(shop: Shop) -> None:
    """ "SIGTERM | accepted work finished": what ends within ``TIDINGS_DRAIN_SECONDS`` does."""
    user = await shop.server.person()
    with shop.working(drain_seconds=20) as worker:
        job = await shop.order(user, seconds=3)
        await shop.counting(user, job)
        assert await stopped(worker) == 0
    ended = await shop.job(user, job)
    assert (ended["status"], ended["attempt"]) == ("succeeded", 1)


async def test_sigterm_hands_a_job_back(shop: Shop) -> None:
    """ "... or handed back": another worker begins it anew at once, at no cost to its attempts."""
    user = await shop.server.person()
    with shop.working() as first:
        job = await shop.order(user, seconds=60)
        await shop.counting(user, job)
        with shop.working():
            assert await stopped(first) == 0
            ended = await shop.ended(user, job)
    assert (ended["status"], ended["result"], ended["maxAttempts"]) == ("succeeded", 2, 6)


async def test_a_second_signal_hurries(shop: Shop) -> None:
    """Who does not want to wait for the drain says so again; the exit code is 0 still."""
    user = await shop.server.person()
    with shop.working(drain_seconds=25) as worker:
        job = await shop.order(user, seconds=60)
        await shop.counting(user, job)
        worker.send(signal.SIGINT)
        worker.wait_for_output('"event":"draining"')
        assert await stopped(worker) == 0
    assert (await shop.job(user, job))["status"] == "queued"
    await shop.cancel(user, job)


async def test_sigkill_loses_no_job(shop: Shop) -> None:
    """ "a worker killed with SIGKILL loses no job; it runs again on another worker within 15 s"."""
    user = await shop.server.person()
    with shop.working() as first:
        job = await shop.order(user, seconds=60)
        child = await shop.counting(user, job)
        with shop.working():
            first.send(signal.SIGKILL)
            await eventually(lambda: gone(child))
            ended = await shop.ended(user, job)
    assert (ended["status"], ended["attempt"]) == ("succeeded", 2)


async def test_a_busy_child_keeps_its_job(shop: Shop) -> None:
    """ "leases renewed by the parent even while children burn CPU": three leases long, and one attempt."""
    user = await shop.server.person()
    with shop.working():
        ended = await shop.ended(user, await shop.order(user, seconds=3.2, deaf=True))
    assert (ended["status"], ended["attempt"]) == ("succeeded", 1)


@pytest.mark.parametrize("deaf", [False, True])
async def test_cancel_reaches_the_worker(shop: Shop, *, deaf: bool) -> None:
    """ "cancel from anywhere (running code sees it at its next progress report or is killed after a grace)"."""
    user = await shop.server.person()
    with shop.working():
        job = await shop.order(user, seconds=60, deaf=deaf)
        child = await shop.counting(user, job)
        await shop.cancel(user, job)
        assert (await shop.ended(user, job))["status"] == "cancelled"
        if deaf:
            await eventually(lambda: gone(child))


async def test_metrics_of_a_worker(shop: Shop) -> None:
    """``TIDINGS_METRICS_PORT`` is served by a worker too, which listens on nothing else."""
    user, port = await shop.server.person(), free_port()
    with shop.working(metrics_port=port):
        await shop.ended(user, await shop.order(user, "shop.pack"))
        async with httpx.AsyncClient(trust_env=False) as client:
            said = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    assert 'tidings_jobs_finished_total{kind="shop.pack",status="succeeded"} 1.0' in said


async def test_administrators_see_a_worker(shop: Shop) -> None:
    """ "GET /admin/nodes" tells of who runs jobs and nothing else, for as long as it does."""
    root = await shop.server.person(Role.SUPER_ADMIN)

    def roles() -> list[str]:
        return [node["role"] for node in shop.server.get("/admin/nodes", **root.headers).json()["items"]]

    with shop.working():
        await eventually(lambda: roles() == ["server", "worker"])
    await eventually(lambda: roles() == ["server"])


async def test_administrators_drain_a_worker(shop: Shop) -> None:
    """ "POST /admin/nodes/{id}/drain" does what SIGTERM does; a SIGTERM that comes meanwhile does not hurry it."""
    root, user = await shop.server.person(Role.SUPER_ADMIN), await shop.server.person()
    with shop.working(drain_seconds=20) as worker:
        job = await shop.order(user, seconds=3)
        await shop.counting(user, job)
        async with shop.server.http(root) as client:
            listed = (await client.get("/admin/nodes")).json()["items"]
            (name,) = [node["id"] for node in listed if node["pid"] == worker.pid]
            assert (await client.post(f"/admin/nodes/{name}/drain")).status_code == 202
        await eventually(lambda: '"event":"draining"' in worker.output)
        assert await stopped(worker) == 0
    ended = await shop.job(user, job)
    assert (ended["status"], ended["attempt"]) == ("succeeded", 1)


def refused(shop: Shop, *words: str, **settings: str) -> str:
    """What a command says that ends with 78."""
    here = Installed(shop.folder)
    here.env = {**shop.env, **{f"TIDINGS_{name.upper()}": value for name, value in settings.items()}}
    done = here.run(*words)
    assert done.returncode == Exit.CONFIG.number, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_no_worker_on_the_embedded_broker(shop: Shop) -> None:
    """With the in-process broker there is nobody to share with, and it is said what to do instead."""
    said = refused(shop, "worker", broker_url="memory://")
    assert said.startswith("tidings: TIDINGS_BROKER_URL: ")
    assert "`tidings serve` runs jobs itself" in said


def test_nothing_to_run(shop: Shop) -> None:
    """In production there are no kinds but one's own: a worker without any would wait for ever."""
    said = refused(shop, "worker", env="production", jwt_secret="Kj3-9dPq_Lm2xVw8Rt5Yb7Nz0Hc4Sf6Ga")
    assert "name your module with --app" in said


def test_a_module_that_cannot_be_imported(shop: Shop) -> None:
    """What is wrong with one's own module is told in a line, with the place, and not as our fault."""
    (shop.folder / "broken.py").write_text("x = 1\nx.y()")
    said = refused(shop, "worker", "--app", "broken")
    assert said.startswith("tidings: --app broken: ")
    assert "broken.py, line 2: AttributeError: " in said


def test_serve_tells_it_too(shop: Shop) -> None:
    """``serve`` does not begin to serve with a module that is missing, wherever it was named."""
    for words, settings in ((("--app", "nowhere"), {}), ((), {"app": "nowhere"})):
        said = refused(shop, "serve", "--port", "0", *words, **settings)
        assert "--app nowhere: there is no module nowhere, neither in " in said


async def test_serve_with_kinds_of_one_s_own(tmp_path: Path) -> None:
    """``serve`` on the embedded default runs the user's kinds itself."""
    (tmp_path / "shop_kinds.py").write_text(KINDS)
    with serving(tmp_path, {"app": "shop_kinds"}) as server:
        shop, user = Shop(server, tmp_path, {}), await server.person()
        for kind in ("shop.pack", "shop.count"):
            assert (await shop.ended(user, await shop.order(user, kind)))["status"] == "succeeded"
