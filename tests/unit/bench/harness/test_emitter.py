"""What the benchmark's Python servers share."""

import asyncio
import json
from collections.abc import Sequence

from bench.harness.emitter import PAYLOAD_BYTES, Emitter, Payload, make_payload


def test_a_payload_has_exactly_its_size() -> None:
    """Whatever the width of its numbers, and with the time first, where the receiver looks for it."""
    for sequence in (0, 9, 10, 123456):
        text = json.dumps(make_payload(sequence), separators=(",", ":"))
        assert len(text) == PAYLOAD_BYTES
        assert text.startswith('{"t":')


async def test_emit_never_exceeds_the_window() -> None:
    """The slowest connection is at most a window behind, and an acknowledgement lets the emitter go on."""
    behind: list[int] = []
    sent = acknowledged = 0

    async def publish(payloads: Sequence[Payload]) -> None:
        nonlocal sent, acknowledged
        sent += len(payloads)
        behind.append(sent - acknowledged)
        if sent - acknowledged > 6:
            acknowledged = sent
            asyncio.get_running_loop().call_soon(emitter.acknowledge, sent)

    emitter = Emitter(publish)
    count, _ = await emitter.emit(milliseconds=20, burst=2, window=8)
    assert count == sent > 8
    assert max(behind) == 8


async def test_a_run_begins_with_nothing_acknowledged() -> None:
    """What was acknowledged of the run before opens no larger window in this one."""
    numbers: list[Payload] = []
    full = asyncio.Event()

    async def publish(payloads: Sequence[Payload]) -> None:
        numbers.extend(payloads)
        if len(numbers) == 3:
            full.set()

    emitter = Emitter(publish)
    emitter.acknowledge(100)
    task = asyncio.create_task(emitter.emit(milliseconds=60_000, burst=1, window=3))
    await full.wait()
    for _ in range(10):
        await asyncio.sleep(0)
    assert [payload["n"] for payload in numbers] == [0, 1, 2]
    task.cancel()
