"""Settings: one place, frozen, and production refuses nonsense, naming each fault."""

import stat
from pathlib import Path

import pytest
from pydantic import ValidationError

from tidings.settings import Settings, jwt_secret, load

GOOD = {
    "TIDINGS_ENV": "production",
    "TIDINGS_JWT_SECRET": "kX9!vQ2$mN7@pL4#wR8%tY1^zB5&cD3*",
    "TIDINGS_ALLOWED_ORIGINS": "https://app.example.com",
}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the environment nor a ``.env`` of whoever runs the tests."""
    import os

    for name in list(os.environ):
        if name.startswith("TIDINGS_") or name in {
            "JWT_SECRET",
            "REDIS_URL",
            "DATABASE_URL",
            "FRONTEND_URL",
            "PORT",
        }:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def given(monkeypatch: pytest.MonkeyPatch, **environment: str) -> None:
    for name, value in {**GOOD, **environment}.items():
        monkeypatch.setenv(name, value)


def faults(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    given(monkeypatch, **environment)
    with pytest.raises(ValidationError) as caught:
        load()
    return str(caught.value)


def test_production_starts_when_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least that production asks for."""
    given(monkeypatch)
    settings = load()
    assert settings.production
    assert settings.origins == {"https://app.example.com"}


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"TIDINGS_JWT_SECRET": ""}, "TIDINGS_JWT_SECRET: not set"),
        ({"TIDINGS_JWT_SECRET": "short"}, "TIDINGS_JWT_SECRET: shorter than 32 bytes"),
        ({"TIDINGS_JWT_SECRET": "a" * 40}, "TIDINGS_JWT_SECRET: too weak"),
        ({"TIDINGS_JWT_SECRET": "your-secret-key-your-secret-key-1234"}, "TIDINGS_JWT_SECRET: too weak"),
        ({"TIDINGS_ALLOWED_ORIGINS": "*"}, "a wildcard is no origin"),
        ({"TIDINGS_ALLOWED_ORIGINS": "https://*.example.com"}, "a wildcard is no origin"),
        ({"TIDINGS_ALLOWED_ORIGINS": "http://app.example.com"}, "only https origins"),
        ({"TIDINGS_PUBLIC_URL": "http://app.example.com"}, "only https origins"),
        ({"TIDINGS_DEBUG": "true"}, "TIDINGS_DEBUG: off in production"),
        ({"TIDINGS_WORKERS": "2"}, "needs a Redis broker"),
        ({"TIDINGS_WORKERS": "2", "REDIS_URL": "redis://h"}, "SQLite serves one process"),
    ],
)
def test_production_refuses(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], named: str) -> None:
    """Contract, section 1: "refuses to start, naming each fault, on: no or weak secret (< 32 bytes), ..."."""
    assert named in faults(monkeypatch, **environment)


def test_each_fault_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract, section 1: "naming each fault"."""
    text = faults(
        monkeypatch,
        TIDINGS_JWT_SECRET="short",
        TIDINGS_ALLOWED_ORIGINS="*,http://a.example.com",
        TIDINGS_DEBUG="1",
        TIDINGS_WORKERS="2",
    )
    for name in ("JWT_SECRET", "ALLOWED_ORIGINS", "DEBUG", "WORKERS", "DATABASE_URL"):
        assert f"TIDINGS_{name}" in text


def test_no_secret_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault names the setting, never its value."""
    assert "hunter2" not in faults(monkeypatch, TIDINGS_JWT_SECRET="hunter2", TIDINGS_PORT="hunter2")


def test_older_names_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract, section 1: "The names ``JWT_SECRET``, ``REDIS_URL``, ... work as aliases"."""
    older = {
        "JWT_SECRET": "0123456789abcdef0123456789abcdef",
        "REDIS_URL": "redis://localhost/1",
        "DATABASE_URL": "postgresql://localhost/x",
        "FRONTEND_URL": "http://a.example.com:3000",
        "MAX_WEBSOCKET_CONNECTIONS": "11",
        "WS_RATE_LIMIT_POINTS": "12",
        "WS_RATE_LIMIT_DURATION": "13",
        "PORT": "4100",
    }
    for name, value in older.items():
        monkeypatch.setenv(name, value)
    settings = load()
    assert jwt_secret(settings) == older["JWT_SECRET"]
    assert settings.broker_url == older["REDIS_URL"]
    assert settings.database == older["DATABASE_URL"]
    assert "http://a.example.com:3000" in settings.origins
    assert (settings.max_connections, settings.rate_limit_points) == (11, 12)
    assert (settings.rate_limit_seconds, settings.port) == (13, 4100)


def test_development_allows_two_local_origins() -> None:
    """Contract, section 4: "in development also ``http://localhost:3000`` and ``:5000``"."""
    settings = load(port=4100)
    assert settings.origins - settings.own_origins == {"http://localhost:3000", "http://localhost:5000"}
    assert settings.own_origins == {"http://127.0.0.1:4100", "http://localhost:4100"}


def test_the_server_s_own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract, section 4: "the server's own address, never taken from ``Host``"; where nobody told it, it has none."""
    public = load(public_url="https://tidings.example.com/")
    assert public.own_origins == {"https://tidings.example.com"} < public.origins
    assert load(port=0).own_origins == frozenset()
    given(monkeypatch)
    assert load().own_origins == frozenset()


def test_a_file_is_read_in_development_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Contract, section 1: "``.env`` read in development"."""
    (tmp_path / ".env").write_text("TIDINGS_PORT=4321\n")
    assert load().port == 4321
    given(monkeypatch)
    assert load().port == 4000


def test_the_development_secret_is_made_once_and_kept(tmp_path: Path) -> None:
    """Contract, section 1: "in development made once and kept under ``./var`` when unset"."""
    settings = load()
    first = jwt_secret(settings)
    assert first == jwt_secret(settings)
    assert len(first) >= 32
    assert stat.S_IMODE((tmp_path / "var" / "jwt-secret").stat().st_mode) == 0o600


def test_settings_are_frozen() -> None:
    """What a process runs with does not change while it runs."""
    with pytest.raises(ValidationError):
        load().port = 1  # type: ignore[misc]  # that it is refused is the test


def test_every_setting_says_what_it_is_for() -> None:
    """Each is listed in docs/settings.md with its reason."""
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"JWKS_URL": "https://issuer.example/keys"}, "TIDINGS_JWT_ALGORITHM is to be"),
        ({"JWT_ALGORITHM": "RS256"}, "needs either"),
        (
            {
                "JWT_ALGORITHM": "RS256",
                "JWKS_URL": "https://issuer.example/keys",
                "JWT_PUBLIC_KEY": "key.pem",
            },
            "needs either",
        ),
        ({"JWT_ALGORITHM": "RS256", "JWKS_URL": "ftp://issuer.example/keys"}, "not https"),
        ({"JWT_ALGORITHM": "RS256", "JWKS_URL": "http://issuer.example/keys"}, "only https in production"),
    ],
)
def test_where_keys_come_from(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], named: str
) -> None:
    """One source of keys, that fits the algorithm; a key set comes by https in production."""
    assert named in faults(monkeypatch, **{f"TIDINGS_{name}": value for name, value in environment.items()})


def test_a_key_set_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """No secret is asked for then; outside production it may come by http."""
    url = "http://127.0.0.1:9/keys"
    given(monkeypatch, TIDINGS_JWT_ALGORITHM="ES256", TIDINGS_JWKS_URL=url, TIDINGS_ENV="development")
    assert load().jwks_url == url


@pytest.mark.parametrize(
    "url",
    [
        "file:///srv/artifacts",
        "s3://bucket",
        "s3://bucket/prefix?endpoint=http://127.0.0.1:9000&region=eu-central-1&downloads=proxy",
    ],
)
def test_where_artifacts_are_kept(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """A directory or a bucket."""
    monkeypatch.setenv("TIDINGS_ARTIFACTS_URL", url)
    assert load().artifacts_url == url


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("artifacts", "neither"),
        ("https://bucket.example", "neither"),
        ("s3:///prefix", "neither"),
        ("file://host/directory", "not file:///directory"),
        ("s3://key:hunter2@bucket", "credentials"),
        ("s3://bucket?secret=hunter2", "unknown option"),
        ("s3://bucket?downloads=maybe", "redirect or proxy"),
    ],
)
def test_where_artifacts_cannot_be_kept(monkeypatch: pytest.MonkeyPatch, url: str, fault: str) -> None:
    """It is refused at the start, and what may be a secret is not repeated."""
    text = faults(monkeypatch, TIDINGS_ARTIFACTS_URL=url)
    assert fault in text
    assert "hunter2" not in text
