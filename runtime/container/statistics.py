"""What a version's requests and runs came to, in counters; never a clock, and nothing grows with the requests."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any

BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency histogram, in seconds."""


@dataclass(slots=True)
class Duration:
    """A number of times and their sum in seconds."""

    count: int = 0
    s: float = 0.0

    @property
    def document(self) -> dict[str, int]:
        """As Triton's statistics have it, in nanoseconds."""
        return {"count": self.count, "ns": round(self.s * 1e9)}

    def add(self, seconds: float, count: int = 1) -> None:
        """So many times that took `seconds` together."""
        self.count += count
        self.s += seconds


@dataclass(slots=True)
class Tally:
    """The counters of one version."""

    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    infer: Duration = field(default_factory=Duration)
    """Of answered requests: each is given the whole of its run."""
    rows: int = 0
    """Of answered requests."""
    runs: int = 0
    batches: dict[int, Duration] = field(default_factory=dict)
    """Runs by rows, sizes rounded up to a power of two above 64 so that they stay few."""
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    """Answered requests by what they took from arrival to outcome."""
    faults: dict[str, int] = field(default_factory=dict)
    """Requests that were not answered, by the fault's name."""
    last: float = -math.inf
    """When a request was answered last, on the clock of whoever counts."""

    @property
    def asked(self) -> bool:
        """Whether there was a request for it."""
        return bool(self.success.count or self.fail.count)

    def answered(self, rows: int, queue_s: float, run_s: float, total_s: float, now: float) -> None:
        """Count an answer."""
        self.last = now
        self.rows += rows
        success, queue, infer = self.success, self.queue, self.infer
        success.count += 1
        success.s += total_s
        queue.count += 1
        queue.s += queue_s
        infer.count += 1
        infer.s += run_s
        self.buckets[bisect_left(BUCKETS_S, total_s)] += 1

    def failed(self, fault: str, total_s: float) -> None:
        """Count a request that got no answer."""
        self.fail.add(total_s)
        self.faults[fault] = self.faults.get(fault, 0) + 1

    def document(self, model: str, version: str, epoch: float) -> dict[str, Any]:
        """As Triton's statistics have it; what is not told apart here (inputs and outputs of a run) is zero.

        `epoch` is what the clock said at the start of 1970.
        """
        zero = Duration().document
        last_ms = 0 if self.last == -math.inf else round((self.last - epoch) * 1e3)
        return {
            "name": model,
            "version": version,
            "last_inference": last_ms,
            "inference_count": self.rows,
            "execution_count": self.runs,
            "inference_stats": {
                "success": self.success.document,
                "fail": self.fail.document,
                "queue": self.queue.document,
                "compute_input": zero,
                "compute_infer": self.infer.document,
                "compute_output": zero,
                "cache_hit": zero,
                "cache_miss": zero,
            },
            "batch_stats": [
                {
                    "batch_size": size,
                    "compute_input": zero,
                    "compute_infer": batch.document,
                    "compute_output": zero,
                }
                for size, batch in sorted(self.batches.items())
            ],
        }

    def ran(self, rows: int, took_s: float, ok: bool) -> None:
        """Count a run."""
        if ok:
            self.runs += 1
            size = rows if rows <= 64 else 1 << (rows - 1).bit_length()
            batch = self.batches.get(size)
            if batch is None:
                batch = self.batches[size] = Duration()
            batch.add(took_s)
