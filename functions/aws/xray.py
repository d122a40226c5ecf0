"""Traces as subsegments of Lambda's own segments, sent to the daemon beside the function; it waits for nobody.

The X-Ray SDK is no longer developed. What it did here is one JSON document for each subsegment in a UDP packet (AWS
X-Ray Developer Guide, "Segment documents"); Lambda makes the segment, decides what is sampled, and has the AWS SDK
carry the trace on to the functions that are invoked.
"""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from typing import NamedTuple

from registry.tracing import Span, Value

TRACE = "_X_AMZN_TRACE_ID"
DAEMON = "AWS_XRAY_DAEMON_ADDRESS"
"""Lambda's variables: the trace of the event under way, and where its daemon listens (host:port)."""

HEADER = b'{"format": "json", "version": 1}\n'

MOST_BYTES = 64_000
"""The daemon takes packets of 64 KB."""


class Under(NamedTuple):
    """What a span is part of."""

    trace: str
    parent: str


_under: ContextVar[Under | None] = ContextVar("xray", default=None)
"""The span that is under way; none where Lambda's segment is."""


class _Subsegment:
    """A Span whose attributes become annotations, which can be searched for."""

    __slots__ = ("annotations",)

    def __init__(self, attributes: Mapping[str, Value]) -> None:
        self.annotations = dict(attributes)

    def note(self, **attributes: Value) -> None:
        """See Span."""
        self.annotations |= attributes


class XRay:
    """A Tracer for one execution environment."""

    def __init__(
        self,
        daemon: socket.socket,
        variables: Mapping[str, str],
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._daemon = daemon
        self._variables = variables
        self._wall = wall

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> XRay | None:
        """As a function's environment variables say; None where they name no daemon."""
        host, _, port = variables.get(DAEMON, "").rpartition(":")
        if not host or not port.isdecimal():
            return None
        daemon = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        daemon.setblocking(False)
        daemon.connect((host, int(port)))
        return cls(daemon, variables)

    def close(self) -> None:
        """Send nothing more."""
        self._daemon.close()

    @contextmanager
    def span(self, name: str, **attributes: Value) -> Iterator[Span]:
        """See Tracer. Of what is raised the class is noted: a message may quote what was sent."""
        subsegment = _Subsegment(attributes)
        under = self._lambda_segment()
        if under is None:
            yield subsegment
            return
        # A span of an event before this one cannot have this one's.
        outer = _under.get()
        under = outer if outer is not None and outer.trace == under.trace else under
        id_, began, failed = secrets.token_hex(8), self._wall(), False
        token = _under.set(Under(under.trace, id_))
        try:
            yield subsegment
        except BaseException as error:
            failed = True
            subsegment.note(error=type(error).__name__)
            raise
        finally:
            _under.reset(token)
            self._tell(name, id_, under, began=began, annotations=subsegment.annotations, failed=failed)

    def continued(self, traceparent: str | None) -> nullcontext[None]:
        """Lambda has begun the trace already."""
        return nullcontext()

    def traceparent(self) -> str:
        """The trace as W3C has it; the id is the same but for two dashes."""
        under = _under.get() or self._lambda_segment()
        if under is None:
            return ""
        _, *trace = under.trace.split("-")
        return f"00-{''.join(trace)}-{under.parent}-01"

    def _lambda_segment(self) -> Under | None:
        """What Lambda says of the event under way; None where it is not sampled."""
        header = dict(part.partition("=")[::2] for part in self._variables.get(TRACE, "").split(";"))
        if header.get("Sampled") != "1" or "Root" not in header or "Parent" not in header:
            return None
        return Under(header["Root"], header["Parent"])

    def _tell(
        self, name: str, id_: str, under: Under, *, began: float, annotations: Mapping[str, Value], failed: bool
    ) -> None:
        document = {
            "type": "subsegment",
            "id": id_,
            "trace_id": under.trace,
            "parent_id": under.parent,
            "name": name,
            "start_time": began,
            "end_time": self._wall(),
            "annotations": annotations,
            "fault": failed,
        }
        packet = HEADER + json.dumps(document).encode()
        if len(packet) <= MOST_BYTES:
            with suppress(OSError):  # a daemon that is not there is no reason not to answer
                self._daemon.send(packet)
