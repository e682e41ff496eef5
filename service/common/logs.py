"""Logs: one JSON object per line on stderr, with the id of the request."""

from __future__ import annotations

import json
import logging
import re
import sys
import uuid
import warnings
from contextvars import ContextVar
from datetime import datetime, timezone

REQUEST_ID = "x-request-id"
"""The metadata that carries a request's id from hop to hop, and back to the caller."""

request_id: ContextVar[str] = ContextVar("request_id", default="")
log = logging.getLogger("service")


class JsonFormatter(logging.Formatter):
    """Formats records as JSON, with the fields given as `extra={"fields": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line."""
        when = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        line = {"time": when, "level": record.levelname.lower(), "message": record.getMessage()}
        if request_id.get():
            line["request_id"] = request_id.get()
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line | getattr(record, "fields", {}), ensure_ascii=False, default=str)


def begin_logs() -> None:
    """Send every logger's records, those of libraries from warnings on, to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    log.setLevel(logging.INFO)
    # Callers get the errors of decoders. Warnings are ignored, not only hidden: Python stores the text of each new
    # warning for ever, and these texts contain numbers that a sender of images can choose.
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")


def take_request_id(given: str) -> str:
    """Set this task's request id and return it: the id that came with the call if it is valid, else a new one."""
    found = given if re.fullmatch(r"[\w.:/+=-]{1,128}", given, re.ASCII) else uuid.uuid4().hex
    request_id.set(found)
    return found
