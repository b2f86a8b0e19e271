"""What the Python servers share: the payload, the window, and the commands they are driven with.

Lines on stdin, one answer each on stdout (``node/server.js`` speaks the same):

    ready                    -> ready JSON           {"port", "version", "tokens"}
    emit MS BURST WINDOW     -> emitted N STARTED    for so long, BURST messages in each turn of the event loop
    pace N MS                -> paced N               N messages, one every MS milliseconds
    ack N                    -> (none)               every connection has received N messages of this run
    collect                  -> collected            garbage is gone, memory may be read
    end of file                                      ends the server

``STARTED`` is CLOCK_MONOTONIC in nanoseconds. ``emit`` waits for nothing but the next turn, unless the slowest
connection would be more than WINDOW messages behind. Nothing here knows a server.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TextIO

EVENT = "notification:new"
PAYLOAD_BYTES = 150

Payload = dict[str, int | str]
Publish = Callable[[Sequence[Payload]], Awaitable[None]]
"""Send the messages of one turn to everybody, in order."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What the driver has to know of a server: where it listens, what it is, which credentials it accepts."""

    port: int
    version: str
    tokens: tuple[str, ...]


def make_payload(sequence: int) -> Payload:
    """A message that knows when it was sent; as compact JSON it has exactly ``PAYLOAD_BYTES`` bytes."""
    moment = time.monotonic_ns()
    bare = len(f'{{"t":{moment},"n":{sequence},"pad":""}}')
    return {"t": moment, "n": sequence, "pad": "x" * (PAYLOAD_BYTES - bare)}


class Emitter:
    """Publishes as fast as the window allows, or at a fixed rate."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._acknowledged = 0
        self._moved = asyncio.Event()

    def acknowledge(self, count: int) -> None:
        """Every connection has this many messages of the present run."""
        self._acknowledged = count
        self._moved.set()

    async def emit(self, milliseconds: int, burst: int, window: int) -> tuple[int, int]:
        """How many messages it became, and when the first was sent (CLOCK_MONOTONIC, nanoseconds)."""
        self._acknowledged = sent = 0
        started = time.monotonic_ns()
        while time.monotonic_ns() - started < milliseconds * 1_000_000:
            if sent + burst - self._acknowledged > window:
                self._moved.clear()
                await self._moved.wait()
                continue
            await self._publish([make_payload(sent + index) for index in range(burst)])
            sent += burst
            await asyncio.sleep(0)
        return sent, started

    async def pace(self, count: int, milliseconds: int) -> None:
        """Each at its own time, however late the one before was."""
        started = time.monotonic_ns()
        for index in range(count):
            due = started + index * milliseconds * 1_000_000
            await asyncio.sleep((due - time.monotonic_ns()) / 1e9)
            await self._publish([make_payload(index)])


async def drive(publish: Publish, serving: Serving, answers: TextIO) -> None:
    """Carry out the commands on stdin until it ends."""
    emitter = Emitter(publish)

    def answer(text: str) -> None:
        print(text, file=answers, flush=True)

    async def emit(milliseconds: int, burst: int, window: int) -> None:
        count, started = await emitter.emit(milliseconds, burst, window)
        answer(f"emitted {count} {started}")

    async def pace(count: int, milliseconds: int) -> None:
        await emitter.pace(count, milliseconds)
        answer(f"paced {count}")

    async with asyncio.TaskGroup() as tasks:
        async for line in stdin_lines():
            match line.split():
                case ["ready"]:
                    answer(f"ready {json.dumps(asdict(serving))}")
                case ["emit", milliseconds, burst, window]:
                    tasks.create_task(emit(int(milliseconds), int(burst), int(window)))
                case ["pace", count, milliseconds]:
                    tasks.create_task(pace(int(count), int(milliseconds)))
                case ["ack", count]:
                    emitter.acknowledge(int(count))
                case ["collect"]:
                    gc.collect()
                    answer("collected")
                case _:
                    answer(f"error unknown command: {line}")


async def stdin_lines() -> AsyncIterator[str]:
    """Lines as they come; the last of them when the driver closes the pipe or ends."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        async for line in reader:
            yield line.decode().strip()
    finally:
        transport.close()
