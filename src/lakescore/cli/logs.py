"""Progress on stderr: short lines for people, one JSON object a line for machines."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """The message alone; warnings say that they are."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = "warning: " if record.levelno == logging.WARNING else ""
        return f"{prefix}{record.getMessage()}"


def writes_json() -> bool:
    """Whether `start_logging` chose JSON lines."""
    handlers = logging.getLogger("lakescore").handlers
    return any(isinstance(handler.formatter, JsonFormatter) for handler in handlers)


def start_logging(log_format: str) -> None:
    """Send what lakescore logs to stderr. Called again, it only changes the format."""
    logger = logging.getLogger("lakescore")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
