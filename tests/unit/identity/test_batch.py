"""Joined look-ups: how many loads, who waits for which, and who is hurt by what."""

import asyncio
from collections.abc import Collection, Mapping

import pytest

from tidings.domain.errors import ErrorCode, TidingsError
from tidings.identity.batch import Batcher


class Loads:
    """A load that a test lets through one by one, answering the length of each key but not for ``""``."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.error: BaseException | None = None

    async def __call__(self, keys: Collection[str]) -> Mapping[str, int]:
        self.seen.append(list(keys))
        self.begun.set()
        await self.gate.wait()
        error, self.error = self.error, None
        if error is not None:
            raise error
        return {key: len(key) for key in keys if key}


def ask(batcher: Batcher[str, int], *keys: str) -> list[asyncio.Task[int | None]]:
    return [asyncio.create_task(batcher.get(key)) for key in keys]


async def test_a_thousand_look_ups_cost_a_handful_of_loads() -> None:
    """What arrives while one load is under way goes into one next load, up to the limit."""
    loads = Loads()
    batcher = Batcher(loads, limit=500)
    first = ask(batcher, "first")
    await loads.begun.wait()
    rest = ask(batcher, *(f"user-{number}" for number in range(1000)))
    await asyncio.sleep(0)
    loads.gate.set()
    assert await asyncio.gather(*first) == [5]
    assert await asyncio.gather(*rest) == [len(f"user-{number}") for number in range(1000)]
    assert [len(keys) for keys in loads.seen] == [1, 500, 500]


async def test_a_key_asked_for_twice_is_loaded_once() -> None:
    """Equal keys in one batch are one."""
    loads = Loads()
    loads.gate.set()
    assert await asyncio.gather(*ask(Batcher(loads), "a", "a", "bb")) == [1, 1, 2]
    assert loads.seen == [["a", "bb"]]


async def test_an_answer_is_never_older_than_the_question() -> None:
    """A key whose load has begun is loaded again for whoever asks later."""
    loads = Loads()
    batcher = Batcher(loads)
    early = ask(batcher, "a")
    await loads.begun.wait()
    late = ask(batcher, "a")
    await asyncio.sleep(0)
    loads.gate.set()
    assert await asyncio.gather(*early, *late) == [1, 1]
    assert loads.seen == [["a"], ["a"]]


async def test_a_key_the_load_does_not_know_is_none() -> None:
    """Nothing known is an answer, not an error."""
    loads = Loads()
    loads.gate.set()
    assert await Batcher(loads).get("") is None


async def test_a_failing_load_fails_its_callers_and_nobody_else() -> None:
    """The error goes to those who waited for that load; the next load goes on."""
    loads = Loads()
    loads.error = OSError("gone")
    batcher = Batcher(loads)
    first = ask(batcher, "a", "b")
    await loads.begun.wait()
    second = ask(batcher, "c")
    await asyncio.sleep(0)
    loads.gate.set()
    for task in first:
        with pytest.raises(OSError, match="gone"):
            await task
    assert await second[0] == 1


async def test_a_cancelled_caller_hurts_nobody() -> None:
    """Others who wait for the same key, the same load or the next one get their answers."""
    loads = Loads()
    batcher = Batcher(loads)
    leaver, same_key, same_load = ask(batcher, "a", "a", "bb")
    await loads.begun.wait()
    leaver.cancel()
    loads.gate.set()
    assert (await same_key, await same_load) == (1, 2)
    assert leaver.cancelled()
    assert await batcher.get("ccc") == 3


async def test_an_error_nobody_waits_for_is_no_noise() -> None:
    """When all callers have gone, their failing load ends quietly."""
    noise: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: noise.append(context))
    loads = Loads()
    loads.error = OSError("gone")
    batcher = Batcher(loads)
    (caller,) = ask(batcher, "a")
    await loads.begun.wait()
    caller.cancel()
    (following,) = ask(batcher, "b")
    await asyncio.sleep(0)
    loads.gate.set()
    assert await following == 1
    assert noise == []


async def test_a_load_that_is_cancelled_leaves_nobody_waiting() -> None:
    """A driver that cancels itself is an outage to its callers, and the next question is served."""
    loads = Loads()
    loads.error = asyncio.CancelledError()
    batcher = Batcher(loads)
    first = ask(batcher, "a")
    await loads.begun.wait()
    waiting = ask(batcher, "b")
    await asyncio.sleep(0)
    loads.gate.set()
    for task in (*first, *waiting):
        with pytest.raises(TidingsError) as caught:
            await task
        assert caught.value.code is ErrorCode.UNAVAILABLE
    assert await batcher.get("c") == 1


@pytest.mark.parametrize("started", [True, False])
async def test_closing_tells_those_who_wait(*, started: bool) -> None:
    """Nobody waits for ever, whether the load had begun or not, and closing again does nothing."""
    loads = Loads()
    batcher = Batcher(loads)
    callers = ask(batcher, "a", "b")
    await asyncio.sleep(0)
    if started:
        await loads.begun.wait()
    await batcher.close()
    for caller in callers:
        with pytest.raises(TidingsError) as caught:
            await caller
        assert caught.value.code is ErrorCode.UNAVAILABLE
    await batcher.close()
