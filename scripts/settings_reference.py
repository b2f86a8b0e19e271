"""Writes ``docs/settings.md`` from the settings themselves, so that the two cannot disagree.

It knows no single setting: name, type, default, limits and description are read from the model. The values
of the environment it runs in are never looked at.

Usage: ``python -m scripts.settings_reference``.
"""

import enum
import types
import typing
from pathlib import Path
from typing import Any

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from tidings.settings import Settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"

_HEAD = """\
# Settings

Made from `src/tidings/settings.py` by `make docs`; change it there. Each setting is an environment variable;
outside production a `.env` file is read too. An empty value is the same as none.

| variable | type | default | limits | what it is |
|---|---|---|---|---|
"""

_BOUNDS: dict[type, str] = {Ge: "≥ {.ge}", Gt: "> {.gt}", Le: "≤ {.le}", Lt: "< {.lt}"}
_LENGTHS: dict[type, str] = {MinLen: "at least {.min_length} long", MaxLen: "at most {.max_length} long"}
_TYPES: dict[object, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
    SecretStr: "secret text",
}


def page(settings: type[BaseSettings]) -> str:
    """The whole page for a class of settings, in the order in which it lists them."""
    prefix = settings.model_config.get("env_prefix", "")
    return _HEAD + "".join(
        _row(names(name, field, prefix), field) for name, field in settings.model_fields.items()
    )


def names(name: str, field: FieldInfo, prefix: str) -> list[str]:
    """The environment variables a field is read from, the first of them its proper name."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [alias if isinstance(alias, str) else f"{prefix}{name}".upper()]


def type_name(annotation: object) -> str:
    """A type in words; an optional one is named without its None."""
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return " or ".join(f"`{member.value}`" for member in annotation)
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(type_name(each) for each in inner if each is not types.NoneType)
    if origin in {tuple, list, set, frozenset}:
        return f"{type_name(inner[0])}, comma-separated"
    return _TYPES[annotation]


def default(field: FieldInfo) -> str:
    """The default as one would write it into the environment."""
    if field.is_required():
        return "none: must be set"
    value: Any = field.default
    if field.default_factory is not None or value in (None, "", (), []):
        return ""
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, bool):
        value = str(value).lower()
    return f"`{value}`"


def limits(field: FieldInfo) -> str:
    """The bounds that pydantic checks, in words."""
    words = []
    for limit in field.metadata:
        form = _BOUNDS.get(type(limit)) or _LENGTHS.get(type(limit))
        pattern = getattr(limit, "pattern", None)
        if form is not None:
            words.append(form.format(limit))
        elif pattern is not None:
            words.append(f"`{pattern}`")
    return ", ".join(words)


def _row(variables: list[str], field: FieldInfo) -> str:
    proper, *older = (f"`{variable}`" for variable in variables)
    variable = f"{proper}, also {', '.join(older)}" if older else proper
    cells = (variable, type_name(field.annotation), default(field), limits(field), field.description or "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def main() -> None:
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(Settings), encoding="utf-8")


if __name__ == "__main__":
    main()
