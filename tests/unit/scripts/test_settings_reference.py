"""The page of settings: made from the model, and the one in docs/ is of today."""

from enum import StrEnum
from pathlib import Path
from typing import Literal

import pytest
from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from scripts.settings_reference import PAGE, page
from tidings.settings import Settings


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Example(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="X_")

    needed: str = Field(description="has no default")
    colour: Colour = Field(Colour.RED, description="one of two")
    mode: Literal["on", "off"] = "on"
    level: int = Field(3, ge=1, lt=9, validation_alias=AliasChoices("X_LEVEL", "LEVEL"))
    word: str = Field("a", pattern="^(a|b)$", min_length=1, max_length=9)
    flag: bool | None = None
    folder: Path = Path("var")
    names: tuple[str, ...] = ()
    token: SecretStr | None = Field(None, validation_alias="TOKEN")
    made: list[int] = Field(default_factory=list)


def test_docs_are_current() -> None:
    """Contract 1: each setting is listed once in ``docs/settings.md``, generated from the code."""
    assert PAGE.read_text(encoding="utf-8") == page(Settings), "run `make docs`"


@pytest.mark.parametrize(
    "row",
    [
        "| `X_NEEDED` | text | none: must be set |  | has no default |",
        "| `X_COLOUR` | `red` or `blue` | `red` |  | one of two |",
        "| `X_MODE` | `on` or `off` | `on` |  |  |",
        "| `X_LEVEL`, also `LEVEL` | whole number | `3` | ≥ 1, < 9 |  |",
        "| `X_WORD` | text | `a` | at least 1 long, at most 9 long, `^(a\\|b)$` |  |",
        "| `X_FLAG` | true or false |  |  |  |",
        "| `X_FOLDER` | path | `var` |  |  |",
        "| `X_NAMES` | text, comma-separated |  |  |  |",
        "| `TOKEN` | secret text |  |  |  |",
        "| `X_MADE` | whole number, comma-separated |  |  |  |",
    ],
)
def test_each_setting_is_a_row(row: str) -> None:
    """Name, older names, type, default, limits and description, as one would write them by hand."""
    assert row in page(Example).splitlines()


def test_environment_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is the same on every machine."""
    before = page(Example)
    monkeypatch.setenv("X_COLOUR", "blue")
    assert page(Example) == before
