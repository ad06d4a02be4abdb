"""The daemon's log: one line an event, as the Go containerd writes it (text) or as JSON.

Fields come with a record as ``extra={"fields": {...}}``. The standard library's logging serves: a richer library would
cost a cold start more than all of the kernel.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "panic": logging.CRITICAL,
}
_NAMES = {"WARNING": "warning", "CRITICAL": "fatal"}


def _values(record: logging.LogRecord, formatter: logging.Formatter) -> dict[str, object]:
    values: dict[str, object] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "level": _NAMES.get(record.levelname, record.levelname.lower()),
        "msg": record.getMessage(),
        **getattr(record, "fields", {}),
    }
    if record.exc_info:
        values["traceback"] = formatter.formatException(record.exc_info)
    return values


class TextFormatter(logging.Formatter):
    """``time="…" level=info msg="…" key=value``."""

    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{key}={_quote(value)}" for key, value in _values(record, self).items())


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_values(record, self), default=str)


def _quote(value: object) -> str:
    text = str(value)
    return (
        text
        if text.replace("-", "").replace("_", "").replace(".", "").isalnum()
        else json.dumps(text, ensure_ascii=False)
    )


def configure(level: str, style: str, stream: TextIO = sys.stderr) -> None:
    """Log to ``stream`` at ``level`` (a name of containerd's) in ``style`` ``text`` or ``json``."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS.get(level, logging.INFO))
    for name in ("stevedore", "asyncio", "grpc"):  # their debugging is not ours
        logging.getLogger(name).setLevel(logging.WARNING)
