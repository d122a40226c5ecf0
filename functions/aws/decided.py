"""What a function that decides tells of each request: its metrics and its line of log, as one; it calls nobody."""

from __future__ import annotations

import os
from collections.abc import Mapping

from functions.aws.emf import Emf
from gateway.decisions import Record
from gateway.lines import DETAILED, line_of
from gateway.measures import measures_of


class Decided:
    """Observes a service (`Service.watch_with`); one event at a time, as an environment has them."""

    def __init__(self, emf: Emf, *, detailed: float = DETAILED, variables: Mapping[str, str] = os.environ) -> None:
        """`variables` are the environment's: Lambda keeps the trace of the event under way in one of them."""
        self._emf = emf
        self._detailed = detailed
        self._variables = variables
        self.request_id = ""
        """Lambda's, of the event under way; its own log lines carry it too."""

    def observe(self, record: Record) -> None:
        """Write one request down."""
        trace = self._variables.get("_X_AMZN_TRACE_ID", "").partition(";")[0].removeprefix("Root=")
        correlated = {"request_id": self.request_id, "trace_id": trace}
        self._emf.put(measures_of(record), {**line_of(record, self._detailed), **correlated})
