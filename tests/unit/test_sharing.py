"""What nodes share, as the settings make it."""

import pytest

from tidings.cluster.vitals import Vitals
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.settings import Settings
from tidings.sharing import sharing


async def test_workers_that_begin_without_redis() -> None:
    """Contract, section 9: "no fail-open": each of four processes of one ``serve`` takes a quarter of a limit."""
    settings = Settings(broker_url="redis://127.0.0.1:1", workers=4)
    made = sharing(settings, Vitals("node", 0, lambda: False))
    assert [await made.users.acquire("ann", 20) for _ in range(6)] == [True] * 5 + [False]
    limiter = made.limiter(20, 60)
    assert [(await limiter.hit("ann")).allowed for _ in range(6)] == [True] * 5 + [False]


async def test_a_node_that_is_alone() -> None:
    """It is the only one that there is."""
    made = sharing(Settings(), Vitals("node", 0, lambda: False))
    found = await made.node("node")
    assert found is not None
    assert found["id"] == "node"
    assert await made.node("other") is None


async def test_a_node_by_name_while_redis_is_away() -> None:
    """What was known is told, this process at least; of any other nobody can say that it does not live."""
    made = sharing(Settings(broker_url="redis://127.0.0.1:1"), Vitals("node", 0, lambda: False))
    found = await made.node("node")
    assert found is not None
    assert found["id"] == "node"
    with pytest.raises(TidingsError) as caught:
        await made.node("other")
    assert caught.value.code is ErrorCode.UNAVAILABLE
