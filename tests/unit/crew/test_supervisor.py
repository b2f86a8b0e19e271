"""The supervisor, with small programs as workers: real processes that write down what they are told."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.server import eventually
from tidings.crew import backoff
from tidings.crew.listeners import bind
from tidings.crew.supervisor import Supervisor

WORKER = """
import os, signal, socket, sys
from pathlib import Path
folder, number, lifeline = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
stubborn = (folder / "stubborn").exists()
def say(word):
    with (folder / f"said{number}").open("a") as said:
        said.write(word + "\\n")
def stop(*_):
    say("stop")
    if not stubborn:
        sys.exit(0)
signal.signal(signal.SIGTERM, stop)
(folder / f"pid{number}").write_text(str(os.getpid()))
say("start")
if (folder / f"fail{number}").exists():
    sys.exit(int((folder / f"fail{number}").read_text()))
sock = socket.socket(fileno=lifeline)
if not (folder / f"slow{number}").exists():
    sock.sendall(b"ready\\n")
signal.signal(signal.SIGUSR1, lambda *_: sock.sendall(b"departing\\n"))
for line in sock.makefile():
    say(line.strip())
    if line.strip() in ("leave", "hurry") and not stubborn:
        sys.exit(0)
say("orphaned")
"""


class Rig:
    """A supervisor of two."""

    def __init__(self, folder: Path, listeners: list[socket.socket]) -> None:
        self.folder = folder
        self.announced = 0
        self.supervisor = Supervisor(self._command, listeners, stop_seconds=0.5)
        self._running: asyncio.Task[int] | None = None

    def begin(self) -> None:
        self._running = asyncio.create_task(self.supervisor.run(self._announce))

    async def start(self) -> None:
        """Begin, and wait until both serve."""
        self.begin()
        await eventually(lambda: self.announced == 1)

    async def code(self) -> int:
        """The exit code, waited for."""
        assert self._running is not None
        return await asyncio.wait_for(self._running, 10)

    async def close(self) -> None:
        if self._running is not None and not self._running.done():
            self.supervisor.stop()
            await self.code()

    def set(self, name: str, text: str = "") -> None:
        """Make the workers that start from now on behave in a way."""
        (self.folder / name).write_text(text)

    def said(self, number: int) -> list[str]:
        """What a worker and its successors did."""
        path = self.folder / f"said{number}"
        return path.read_text().splitlines() if path.exists() else []

    def pid(self, number: int) -> int:
        return int((self.folder / f"pid{number}").read_text())

    def _announce(self) -> None:
        self.announced += 1

    def _command(self, number: int, lifeline: int) -> list[str]:
        return [sys.executable, "-S", "-c", WORKER, str(self.folder), str(number), str(lifeline)]


@pytest.fixture
def handlers() -> Iterator[None]:
    """What the supervisor makes of signals ends with it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
async def rig(tmp_path: Path, handlers: None) -> AsyncIterator[Rig]:
    with ExitStack() as stack:
        listeners = [stack.enter_context(listener) for listener in bind("127.0.0.1", 0, 2)]
        made = Rig(tmp_path, listeners)
        yield made
        await made.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_all(rig: Rig, number: signal.Signals) -> None:
    """Contract 9, SIGTERM: "exit 0". Each worker is asked once."""
    await rig.start()
    os.kill(os.getpid(), number)
    assert await rig.code() == 0
    assert rig.said(0)[-1] == rig.said(1)[-1] == "stop"


async def test_a_second_signal_hurries(rig: Rig) -> None:
    """It is passed on."""
    await rig.start()
    os.kill(rig.pid(0), signal.SIGSTOP)
    rig.supervisor.stop()
    rig.supervisor.stop()
    await eventually(lambda: rig.said(1)[-1] == "stop")
    os.kill(rig.pid(0), signal.SIGCONT)
    assert await rig.code() == 0


async def test_a_worker_that_does_not_end_is_killed(rig: Rig) -> None:
    """Contract 9, SIGTERM: "exit 0 within 30 s", whatever a worker does. It was told to hurry before."""
    rig.set("stubborn")
    await rig.start()
    rig.supervisor.stop()
    rig.supervisor.stop()
    assert await rig.code() == 0
    assert sorted(rig.said(0)[-2:]) == ["hurry", "stop"]


async def test_a_dead_worker_is_replaced(rig: Rig) -> None:
    """Under its number; while it is missing, the other listens on its socket too."""
    await rig.start()
    dead = rig.pid(0)
    os.kill(dead, signal.SIGKILL)
    await eventually(lambda: rig.said(1)[-1] == "rest 0")
    assert rig.said(1) == ["start", "listen 1", "listen 0", "rest 0"]
    assert rig.pid(0) != dead
    await eventually(lambda: rig.said(0)[-1] == "listen 0")


async def test_one_that_ends_by_itself_is_replaced(rig: Rig) -> None:
    """A signal to one worker ends that one alone, and not for long."""
    await rig.start()
    os.kill(rig.pid(1), signal.SIGTERM)
    await eventually(lambda: rig.said(1).count("start") == 2)


async def test_one_that_dies_again_and_again(rig: Rig) -> None:
    """Is tried again and again, while the other serves."""
    await rig.start()
    rig.set("fail0", "70")
    os.kill(rig.pid(0), signal.SIGKILL)
    await eventually(lambda: rig.said(0).count("start") == 4)
    (rig.folder / "fail0").unlink()
    await eventually(lambda: rig.said(1)[-1] == "rest 0")
    assert rig.said(1).count("start") == 1


async def test_what_is_wrong_with_all_is_told_once(rig: Rig) -> None:
    """By the first, with whose exit code all ends; the others are not even started."""
    rig.set("fail0", "78")
    rig.set("fail1", "78")
    rig.begin()
    assert await rig.code() == 78
    assert rig.announced == 0
    assert (rig.said(0), rig.said(1)) == (["start"], [])


async def test_one_that_cannot_start_ends_all(rig: Rig) -> None:
    """A crew that was never whole is not served with."""
    rig.set("fail1", "71")
    rig.begin()
    assert await rig.code() == 71
    assert rig.announced == 0
    assert (rig.said(0)[-1], rig.said(1)) == ("stop", ["start"])


async def test_one_that_was_killed_at_its_start(rig: Rig) -> None:
    """Gives the exit code that a shell gives."""
    rig.set("slow0")
    rig.begin()
    await eventually(lambda: bool(rig.said(0)))
    os.kill(rig.pid(0), signal.SIGKILL)
    assert await rig.code() == 128 + signal.SIGKILL


async def test_a_stop_during_the_start(rig: Rig) -> None:
    """Is no failure, and nothing is announced."""
    rig.set("slow1")
    rig.begin()
    await eventually(lambda: bool(rig.said(1)))
    rig.supervisor.stop()
    assert await rig.code() == 0
    assert rig.announced == 0


async def test_a_restart_replaces_one_after_the_other(rig: Rig) -> None:
    """SIGHUP: each leaves its clients to the others, and the next one leaves when its successor serves."""
    await rig.start()
    before = [rig.pid(number) for number in range(2)]
    os.kill(os.getpid(), signal.SIGHUP)
    await eventually(lambda: rig.said(0).count("rest 1") == 2)
    alone = ["start", "listen 0", "listen 1", "rest 1"]
    assert rig.said(0) == [*alone, "leave", *alone]
    assert rig.said(1)[:5] == ["start", "listen 1", "listen 0", "rest 0", "leave"]
    assert not set(before) & {rig.pid(number) for number in range(2)}


async def test_one_that_departs_is_replaced_at_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an order that came to it alone: others take its clients; it is no crash, and there is no waiting."""
    monkeypatch.setattr(backoff, "FIRST_SECONDS", 60.0)
    await rig.start()
    before = [rig.pid(number) for number in range(2)]
    with capture_logs() as logged:
        os.kill(before[0], signal.SIGUSR1)
        await eventually(lambda: rig.said(1)[-1] == "rest 0")
    assert rig.said(1) == ["start", "listen 1", "listen 0", "rest 0"]
    assert rig.said(0)[:6] == ["start", "listen 0", "listen 1", "rest 1", "leave", "start"]
    assert rig.pid(0) != before[0]
    assert rig.pid(1) == before[1]
    assert [line["event"] for line in logged] == ["worker departs", "worker ready"]
    assert {line["log_level"] for line in logged} == {"info"}


async def test_the_last_one_that_departs(rig: Rig) -> None:
    """Tells new clients so itself, for as long as there is nobody else."""
    await rig.start()
    rig.set("slow1")
    os.kill(rig.pid(1), signal.SIGKILL)
    await eventually(lambda: rig.said(1).count("start") == 2)
    os.kill(rig.pid(0), signal.SIGUSR1)
    await eventually(lambda: rig.said(0).count("start") == 2)
    assert "stop" in rig.said(0)
    assert "leave" not in rig.said(0)


async def test_one_that_departs_and_does_not_end(rig: Rig) -> None:
    """Contract 9: "exit 0 within 30 s", or else it is killed; its successor starts all the same."""
    rig.set("stubborn")
    await rig.start()
    (rig.folder / "stubborn").unlink()
    os.kill(rig.pid(0), signal.SIGUSR1)
    await eventually(lambda: rig.said(0).count("start") == 2)
    assert rig.said(1).count("start") == 1


async def test_one_restart_at_a_time(rig: Rig) -> None:
    """Asked again meanwhile, it goes on as it was."""
    await rig.start()
    rig.supervisor.restart()
    rig.supervisor.restart()
    await eventually(lambda: rig.said(0).count("rest 1") == 2)
    assert [rig.said(number).count("start") for number in range(2)] == [2, 2]


async def test_one_that_does_not_leave_is_killed(rig: Rig) -> None:
    """And its successor starts."""
    rig.set("stubborn")
    await rig.start()
    (rig.folder / "stubborn").unlink()
    rig.supervisor.restart()
    await eventually(lambda: rig.said(1).count("start") == 2)
