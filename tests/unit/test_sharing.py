"""What nodes share, as the settings make it."""

from tidings.cluster.vitals import Vitals
from tidings.settings import Settings
from tidings.sharing import sharing


async def test_workers_that_begin_without_redis() -> None:
    """Contract, section 9: "no fail-open": each of four processes of one ``serve`` takes a quarter of a limit."""
    settings = Settings(broker_url="redis://127.0.0.1:1", workers=4)
    made = sharing(settings, Vitals("node", 0, lambda: False))
    assert [await made.users.acquire("ann", 20) for _ in range(6)] == [True] * 5 + [False]
    limiter = made.limiter(20, 60)
    assert [(await limiter.hit("ann")).allowed for _ in range(6)] == [True] * 5 + [False]
