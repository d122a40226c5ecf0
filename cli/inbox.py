"""Questions with inputs that may be too large to send: those are put where the platform says, and asked by reference.

Where there is no such place, as on one machine, they are sent like any others; it never sends anything twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from cli.client import Server, writable
from cli.output import Step, progress, size

SENT = 5_500_000
"""Most bytes of inputs that are sent with a request to a stack: Lambda takes an event of 6 MB, and more is in it."""

PART = 2**16
"""Bytes after which the progress of an upload is shown."""

PATH = "/v1/inbox"


def ask(
    server: Server, path: str, inputs: Any, hints: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> Any:
    """The answer to inputs under hints, which go by reference where they are large and the platform has an inbox.

    Raises BadInput for a refusal, and Failed when there is no good answer or the inputs could not be put there.
    """
    with writable():
        data = json.dumps(inputs, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    offer = server.post_if_there(PATH, {"bytes": len(data)}) if _in_event(data) > SENT else None
    if offer is None:
        return server.post(path, {"inputs": inputs, "slo": hints}, headers)
    with progress(f"Uploading {size(len(data))}") as step:
        server.put(offer["url"], _parts(data, step), offer["headers"])
    return server.post(path, {"inputs_ref": offer["inputs_ref"], "slo": hints}, headers)


def _in_event(data: bytes) -> int:
    """What a body takes as a string in a function's event, with whatever may be escaped there escaped."""
    return len(json.dumps(data.decode()))


def _parts(data: bytes, step: Step) -> Iterator[bytes]:
    for start in range(0, len(data), PART):
        yield data[start : start + PART]
        done = min(start + PART, len(data))
        step(size(done), done, len(data))
