"""Logs: a JSON object a line on stderr, each with the id of the request that it is about."""

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


class Json(logging.Formatter):
    """Records as JSON, with the fields given as `extra={"fields": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
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
    handler.setFormatter(Json())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    log.setLevel(logging.INFO)
    # What decoders say of others' bytes is told to the callers. Ignored, not hidden: Python keeps each new warning's
    # text for ever, and these texts hold numbers that whoever sends images can choose.
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")


def take_request_id(given: str) -> str:
    """The id that came with a call if it is one, else a new one; it is this task's from now on."""
    found = given if re.fullmatch(r"[\w.:/+=-]{1,128}", given, re.ASCII) else uuid.uuid4().hex
    request_id.set(found)
    return found
