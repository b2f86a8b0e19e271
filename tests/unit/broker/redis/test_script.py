"""The name that Redis knows a script by."""

from tests.support.redis import serving
from tidings.broker.redis.script import Script


def test_redis_knows_a_script_by_the_same_name() -> None:
    """What ``EVALSHA`` is given is what ``SCRIPT LOAD`` answers."""
    script = Script("return 'é'")
    with serving() as server:
        assert server.say("SCRIPT", "LOAD", script.text) == repr(script.sha.encode())
