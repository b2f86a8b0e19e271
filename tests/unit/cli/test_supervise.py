"""What the supervisor makes of the settings. ``tests/spec/test_workers.py`` sees it at work."""

import pytest

from tests.support.terminal import Terminal
from tidings.cli.supervise import stop_seconds


@pytest.mark.parametrize("drain", [0, 10, 25])
def test_the_whole_ends_in_time(terminal: Terminal, drain: int) -> None:
    """Contract 9: "exit 0 within 30 s"; a worker that drains has time left to finish."""
    assert drain < stop_seconds(terminal.settings(drain_seconds=drain)) < 30
