"""The scripts as files."""

import pytest

from tidings.cluster.commands import load


@pytest.mark.parametrize("name", ["limiter.lua", "slots.lua"])
def test_scripts_lie_beside_the_code(name: str) -> None:
    """Each uses the keys that it is given, and no second one that is something else."""
    assert "KEYS" in load(name).text
    assert "KEYS[2]" not in load(name).text
