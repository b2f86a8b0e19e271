"""Database URLs: which we speak to, and with which driver. What engines do is in the contract tests."""

import pytest

from tidings.store.engine import driver_url


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("sqlite:///var/tidings.db", "sqlite+aiosqlite:///var/tidings.db"),
        ("sqlite:////srv/tidings.db", "sqlite+aiosqlite:////srv/tidings.db"),
        ("postgresql://u:p@h:5433/d", "postgresql+asyncpg://u:p@h:5433/d"),
        ("postgres://h/d", "postgresql+asyncpg://h/d"),
        ("postgresql://h/d?sslmode=require", "postgresql+asyncpg://h/d?ssl=require"),
    ],
)
def test_driver(url: str, driver: str) -> None:
    """``sqlite:///...`` and ``postgresql://...``, and what others call the latter."""
    assert driver_url(url).render_as_string(hide_password=False) == driver


@pytest.mark.parametrize(
    "url",
    [
        "",
        "secret",
        "mysql://u:secret@h/d",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:secret?uri=true",
        "postgresql+psycopg://u:secret@h/d",
    ],
)
def test_no_database_of_ours(url: str) -> None:
    """Anything else is refused, without repeating what may hold a password."""
    with pytest.raises(ValueError, match=r"^the (database|SQLite) URL ") as caught:
        driver_url(url)
    assert "secret" not in str(caught.value)
