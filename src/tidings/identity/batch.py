"""Many look-ups, few loads: whoever asks while a load is under way is served by the next one.

It caches nothing: an answer is never older than the question. What is kept, and for how long, is for whoever
asks.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from itertools import islice
from typing import Generic, TypeVar

from tidings.domain.errors import ErrorCode, TidingsError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_CROWD = 8
"""From how many keys on a load counts as one of a storm, in which latency is worth less than their number."""


class Batcher(Generic[K, V]):
    """Joins look-ups of single keys into loads of at most ``limit`` keys, one load at a time.

    A load that fails fails those who wait for it and nobody else. Whoever is cancelled hurts nobody.
    """

    def __init__(
        self,
        load: Callable[[Collection[K]], Awaitable[Mapping[K, V]]],
        *,
        limit: int = 500,
        linger: float = 0.0,
    ) -> None:
        """``linger`` is how many seconds a load waits for more to ask, behind one that many had asked for."""
        self._load = load
        self._limit = limit
        self._linger = linger
        self._waiting: dict[K, list[asyncio.Future[V | None]]] = {}
        self._task: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V | None:
        """What a load that began after this call says of the key; None when it says nothing.

        Raises:
            TidingsError: UNAVAILABLE, closed meanwhile.
            Exception: whatever the load raised.
        """
        # A future each, though one for all would do: to share it safely costs more than to make another.
        future: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="batcher")
        return await future

    async def close(self) -> None:
        """Give up what is under way. Those who wait are told UNAVAILABLE."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            # A task that is cancelled before its first step never reaches its own ``finally``.
            self._give_up()

    async def _run(self) -> None:
        try:
            crowd = 0
            while self._waiting:
                if self._linger and crowd >= _CROWD:
                    await asyncio.sleep(self._linger)
                keys = tuple(islice(self._waiting, self._limit))
                crowd = len(keys)
                await self._serve({key: self._waiting.pop(key) for key in keys})
        finally:
            self._give_up()

    def _give_up(self) -> None:
        self._task = None
        _abandon(self._waiting)
        self._waiting.clear()

    async def _serve(self, batch: "Mapping[K, list[asyncio.Future[V | None]]]") -> None:
        try:
            found = await self._load(batch.keys())
            for key, futures in batch.items():
                value = found.get(key)
                for future in futures:
                    if not future.done():
                        future.set_result(value)
        except Exception as error:  # noqa: BLE001 - it is raised again where it was asked for
            _fail(batch, error)
        finally:
            _abandon(batch)


def _fail(batch: Mapping[K, "list[asyncio.Future[V | None]]"], error: Exception) -> None:
    for futures in batch.values():
        for future in futures:
            if not future.done():
                future.set_exception(error)


def _abandon(batch: Mapping[K, "list[asyncio.Future[V | None]]"]) -> None:
    """Nobody is left waiting for ever, even where a load was cancelled."""
    _fail(batch, TidingsError(ErrorCode.UNAVAILABLE, retry_after=1, detail="the load was given up"))
