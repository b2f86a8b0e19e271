"""What one node may do by itself."""

import pytest

from tidings.cluster.share import alone, share


@pytest.mark.parametrize(
    ("limit", "nodes", "part"), [(20, 1, 20), (20, 3, 6), (20, 20, 1), (20, 30, 1), (20, 0, 20), (1, 5, 1)]
)
def test_parts_of_a_limit(limit: int, nodes: int, part: int) -> None:
    """All parts together are no more than the limit, but nobody is left with nothing."""
    assert share(limit, lambda: nodes) == part


def test_a_node_without_others_has_it_all() -> None:
    """Which is how it is until somebody says how many there are."""
    assert share(20, alone) == 20
