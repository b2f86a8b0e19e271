"""The settings as the command line takes them: flags before the environment, and faults told line by line."""

import re

from pydantic import ValidationError

from tidings.cli.exits import Exit, Failure
from tidings.settings import Settings
from tidings.settings import load as load_settings

_PREFIX = "TIDINGS_"
_BETWEEN_FAULTS = re.compile(rf"; (?={_PREFIX})")
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  read, not bound


def load(**given: object) -> Settings:
    """The settings; what is given and not None wins over the environment.

    Raises:
        Failure: CONFIG, with a line for each fault. No value is repeated: it may be a secret.
    """
    try:
        return load_settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as fault:
        lines = ("the settings are wrong:", *_faults(fault))
        raise Failure(Exit.CONFIG, "\n  ".join(lines)) from None


def address(settings: Settings, port: int | None = None) -> str:
    """Where a server with these settings is reached from its own machine; ``port`` is the one it really took."""
    host = _EVERY_ADDRESS.get(settings.host, settings.host)
    named = f"[{host}]" if ":" in host else host
    return f"http://{named}:{settings.port if port is None else port}"


def _faults(fault: ValidationError) -> list[str]:
    lines: list[str] = []
    for error in fault.errors(include_url=False, include_context=False, include_input=False):
        message = error["msg"].removeprefix("Value error, ")
        if error["loc"]:
            name = str(error["loc"][0])
            lines.append(f"{name if name.startswith(_PREFIX) else _PREFIX + name.upper()}: {message}")
        else:
            # A fault of the settings together names them itself, and there may be several in one message.
            lines += _BETWEEN_FAULTS.split(message)
    return lines
