"""Logging: JSON lines on stdout from structlog, standard library loggers included.

One line is one event with ``timestamp``, ``level``, ``logger`` and what is known. A formatter for people is
used on a terminal outside production. Nothing here decides what is worth a line.
"""

import logging
import sys
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, Processor

Logger = structlog.stdlib.BoundLogger


def configure(*, level: str = "INFO", for_people: bool = False) -> None:
    """Set up structlog and the standard library's root logger, once per process."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_formatter(shared, for_people=for_people))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("uvicorn", "uvicorn.error", "uvicorn.access", "websockets", "aiosqlite", "alembic"):
        logging.getLogger(noisy).handlers.clear()
        logging.getLogger(noisy).propagate = True
        logging.getLogger(noisy).setLevel("WARNING")


def get(name: str) -> Logger:
    """The logger of one room, named as the room."""
    logger: Logger = structlog.stdlib.get_logger(name)
    return logger


def _formatter(shared: list[Processor], *, for_people: bool) -> logging.Formatter:
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if for_people:
        last.append(structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty()))
    else:
        last += [structlog.processors.format_exc_info, _render]
    return structlog.stdlib.ProcessorFormatter(processors=last, foreign_pre_chain=shared)


def _render(_logger: Any, _name: str, event: EventDict) -> str:
    return orjson.dumps(event, default=str).decode()
