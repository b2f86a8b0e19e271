"""The scripts as files, and the name that Redis knows them by."""

import pytest

from tests.support.redis import serving
from tidings.cluster.commands import Script, load


def test_redis_knows_a_script_by_the_same_name() -> None:
    """What ``EVALSHA`` is given is what ``SCRIPT LOAD`` answers."""
    script = Script("return 'é'")
    with serving() as server:
        assert server.say("SCRIPT", "LOAD", script.text) == repr(script.sha.encode())


@pytest.mark.parametrize("name", ["limiter.lua", "slots.lua"])
def test_scripts_lie_beside_the_code(name: str) -> None:
    """Each uses the one key that it is given."""
    assert "KEYS[1]" in load(name).text
    assert "KEYS[2]" not in load(name).text
