"""Log entries as lines of JSON or of text; it decides nothing of what is logged."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class JsonLines(logging.Formatter):
    """Each entry as one line: when (seconds since the epoch), how bad, by whom, what, and of an exception its trace."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        line = {
            "at": record.created,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_to_stderr(kind: str) -> Callable[[str], object] | None:
    """Have warnings and worse logged as `text` or `json`; with the latter, what takes further lines of JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if kind == "json" else logging.Formatter(TEXT))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.captureWarnings(True)  # Python's own are entries too
    return (lambda line: sys.stderr.write(f"{line}\n")) if kind == "json" else None
