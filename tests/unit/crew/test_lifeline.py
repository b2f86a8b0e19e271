"""The worker's end of its lifeline: orders, signals and the supervisor's death."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tidings.crew.lifeline import DEPARTING, READY, Lifeline, Order
from tidings.domain.crew import Crew


@dataclass
class Server:
    """Notes what it is told."""

    told: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    def stop(self) -> None:
        self.told.put_nowait("stop")

    def leave(self) -> None:
        self.told.put_nowait("leave")

    def hurry(self) -> None:
        self.told.put_nowait("hurry")

    async def listen(self, number: int) -> None:
        self.told.put_nowait(f"listen {number}")

    def rest(self, number: int) -> None:
        self.told.put_nowait(f"rest {number}")


@dataclass
class Rig:
    """A worker's lifeline, and the supervisor's end of it."""

    lifeline: Lifeline
    supervisor: socket.socket
    crew: Crew
    abandoned: asyncio.Event


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Worker 1 of two, in a directory of their own."""
    directory = tmp_path / "crew"
    directory.mkdir()
    crew = Crew(1, 2, directory)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.set_inheritable(True)
        abandoned = asyncio.Event()
        yield Rig(Lifeline(theirs, crew, abandoned.set), ours, crew, abandoned)


async def test_orders_are_obeyed_in_turn(rig: Rig) -> None:
    """Each word, however the lines are cut."""
    server = Server()
    async with rig.lifeline.steering(server):
        said = f"{Order.LISTEN} 0\n{Order.REST} 0\n{Order.LEAVE} \n{Order.HURRY} \n".encode()
        rig.supervisor.sendall(said[:5])
        rig.supervisor.sendall(said[5:])
        told = [await asyncio.wait_for(server.told.get(), 5) for _ in Order]
    assert told == ["listen 0", "rest 0", "leave", "hurry"]


async def test_orders_wait_for_the_server(rig: Rig) -> None:
    """What was said while the worker started is not lost."""
    rig.supervisor.sendall(f"{Order.LEAVE} \n".encode())
    server = Server()
    async with rig.lifeline.steering(server):
        assert await asyncio.wait_for(server.told.get(), 5) == "leave"


async def test_signals_stop_and_never_hurry(rig: Rig) -> None:
    """A terminal and a service manager signal every process, beside what the supervisor passes on."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    server = Server()
    async with rig.lifeline.steering(server):
        for number in before:
            os.kill(os.getpid(), number)
            assert await asyncio.wait_for(server.told.get(), 5) == "stop"
    for number, handler in before.items():
        signal.signal(number, handler)


def test_readiness_is_said(rig: Rig) -> None:
    """And a departure: to the supervisor, and to nobody when it is gone."""
    rig.lifeline.ready()
    assert rig.supervisor.recv(100) == READY
    rig.lifeline.departing()
    assert rig.supervisor.recv(100) == DEPARTING
    rig.supervisor.close()
    rig.lifeline.ready()
    rig.lifeline.departing()


async def test_an_orphan_stops_and_tidies(rig: Rig) -> None:
    """Its own sockets go, and the directory with the last worker's."""
    server = Server()
    others = rig.crew.metrics(0)
    for path in (others, rig.crew.metrics(1), rig.crew.handover(1)):
        path.touch()
    async with rig.lifeline.steering(server):
        rig.supervisor.close()
        assert await asyncio.wait_for(server.told.get(), 5) == "stop"
    assert rig.abandoned.is_set()
    rig.lifeline.tidy()
    assert list(rig.crew.directory.iterdir()) == [others]
    others.unlink()
    rig.lifeline.tidy()
    assert not rig.crew.directory.exists()


async def test_a_supervised_worker_leaves_tidying_to_the_supervisor(rig: Rig) -> None:
    """Its successor may have the same paths already."""
    async with rig.lifeline.steering(Server()):
        pass
    assert not rig.abandoned.is_set()
    rig.crew.metrics(1).touch()
    rig.lifeline.tidy()
    assert rig.crew.metrics(1).exists()


def test_children_do_not_inherit_it(tmp_path: Path) -> None:
    """Otherwise a job's process would keep a dead worker's lifeline open."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.set_inheritable(True)
        Lifeline(theirs, Crew(0, 1, tmp_path), lambda: None)
        assert not theirs.get_inheritable()
