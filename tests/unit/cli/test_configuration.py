"""Settings on the command line: flags win, faults are named one by one, addresses can be opened."""

import pytest

from tidings.cli import configuration
from tidings.cli.exits import Exit, Failure
from tidings.settings import Settings


@pytest.fixture(autouse=True)
def _alone(terminal: object) -> None:
    """In a directory without a ``.env``."""


def test_flags_win(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is given stands before the environment, under whichever name that has it."""
    monkeypatch.setenv("PORT", "5000")
    assert configuration.load(port=4100, host=None).port == 4100
    assert configuration.load(port=None).port == 5000


def test_each_fault_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract 1: refuses to start, naming each fault."""
    monkeypatch.setenv("PORT", "high")
    monkeypatch.setenv("TIDINGS_HEARTBEAT", "-1")
    with pytest.raises(Failure) as caught:
        configuration.load()
    assert caught.value.end is Exit.CONFIG
    _, *faults = str(caught.value).splitlines()
    assert [fault.strip().partition(":")[0] for fault in faults] == ["TIDINGS_PORT", "TIDINGS_HEARTBEAT"]


def test_faults_of_the_settings_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract 1: ``TIDINGS_ENV=production`` refuses, naming each fault: each is a line of its own."""
    monkeypatch.setenv("TIDINGS_ENV", "production")
    monkeypatch.setenv("TIDINGS_JWT_SECRET", "hunter2")
    monkeypatch.setenv("TIDINGS_DEBUG", "1")
    with pytest.raises(Failure) as caught:
        configuration.load(workers=2)
    _, *faults = str(caught.value).splitlines()
    assert {fault.strip().partition(":")[0] for fault in faults} == {
        "TIDINGS_JWT_SECRET",
        "TIDINGS_DEBUG",
        "TIDINGS_WORKERS",
        "TIDINGS_DATABASE_URL",
    }
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:4000"),
        ("0.0.0.0", "http://127.0.0.1:4000"),
        ("::", "http://[::1]:4000"),
        ("fe80::1", "http://[fe80::1]:4000"),
        ("news.example", "http://news.example:4000"),
    ],
)
def test_address(host: str, url: str) -> None:
    """ "Every address" is none to connect to, and IPv6 stands in brackets (RFC 3986, section 3.2.2)."""
    settings = Settings(host=host)
    assert configuration.address(settings) == url
    assert configuration.address(settings, 9) == url.replace(":4000", ":9")
