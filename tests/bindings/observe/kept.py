"""A log handler that keeps what it was given."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipebus_anyio.observe.logs import JsonFormatter, RequestIdFilter


class Kept(logging.Handler):
    """Keeps the records that it is given, filtered, and their lines."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(RequestIdFilter())
        self.setFormatter(JsonFormatter())
        self.records: list[logging.LogRecord] = []
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.lines.append(self.format(record))

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    def of(self, name: str) -> list[dict[str, Any]]:
        """Return what was logged to one logger."""
        return [one for one in self.objects if one["logger"] == name]


@contextmanager
def keeping(name: str = "") -> Iterator[Kept]:
    """Keep what goes to a logger, from INFO on."""
    handler = Kept()
    logger = logging.getLogger(name)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
