"""Judged rows as few bytes as what their metric needs of them, and back; never the answers where hits will do."""

from __future__ import annotations

import numpy as np

from optimizer.accuracy import Answers, right_rows

SHARE = "accuracy"
"""The metric that says of each row by itself whether it is right."""


HITS, PAIRS = b"h", b"p"
"""The first byte says which of the two it is."""


def pack(metric: str, given: Answers, right: Answers) -> bytes:
    """What the metric needs of so many rows: a byte each that says whether it is right, or both answers as numbers."""
    if metric == SHARE:
        return HITS + right_rows(given, right).tobytes()
    return PAIRS + np.stack([given, right]).astype("<f8").tobytes()


def unpack(metric: str, evidence: bytes, rows: int) -> tuple[Answers, Answers]:
    """Given and right answers of which the metric says what it says of those that were packed.

    Raises ValueError when the bytes are not those of so many rows, or not for this metric.
    """
    if evidence[:1] != (HITS if metric == SHARE else PAIRS):
        raise ValueError(f"no evidence for {metric}")
    if metric != SHARE:
        given, right = np.frombuffer(evidence, "<f8", offset=1).reshape(2, rows, -1)
        return given, right
    hits = np.frombuffer(evidence, np.bool_, offset=1)
    if len(hits) != rows:
        raise ValueError(f"{len(hits)} bytes of evidence are not {rows} rows")
    return hits, np.ones(rows, np.bool_)
