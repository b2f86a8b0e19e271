"""What the contract tests of brokers share."""

from collections.abc import Iterator

import pytest

from tests.support.broker_rig import ARRANGEMENTS
from tests.support.redis import Arrangement


@pytest.fixture(scope="module", params=["memory", *ARRANGEMENTS])
def broker_servers(request: pytest.FixtureRequest) -> Iterator[Arrangement | None]:
    """What a broker needs to run: nothing for that of one process."""
    if request.param == "memory":
        yield None
        return
    with ARRANGEMENTS[request.param]() as arrangement:
        yield arrangement
