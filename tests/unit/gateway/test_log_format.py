"""Log entries as lines of JSON."""

from __future__ import annotations

import json
import logging
import sys

from gateway.log_format import JsonLines


def test_an_entry_is_one_line_with_its_trace():
    try:
        raise ValueError("two\nlines")
    except ValueError:
        entry = logging.LogRecord("gateway", logging.WARNING, "f.py", 1, "tier %s\nis gone", ("a",), sys.exc_info())
    text = JsonLines().format(entry)
    line = json.loads(text)
    assert "\n" not in text
    assert (line["level"], line["logger"], line["message"]) == ("WARNING", "gateway", "tier a\nis gone")
    assert "ValueError: two" in line["exception"]
