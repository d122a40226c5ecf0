"""What the overload benchmark counts: goodput, what was refused, degraded and late, and its requests and answers."""

from __future__ import annotations

import json
from math import inf
from pathlib import Path

import numpy as np
import pytest

from benchmarks import overload
from benchmarks.ladder import Made
from benchmarks.load_measured import Measured
from benchmarks.overload_rows import DETAILS, Case, Sample, rows_of, sample_of
from runtime.container.repository import Folder

SLO_MS = 100.0


def measured(*requests: tuple[float, int, float], sent: float = 0.001) -> Measured:
    """Requests as (due in s, status, latency in ms)."""
    due = np.array([at for at, _, _ in requests])
    return Measured(
        intended=due,
        sent=due + sent,
        done=due + np.array([ms for _, _, ms in requests]) / 1e3,
        status=np.array([status for _, status, _ in requests], dtype=np.int64),
        index=np.arange(len(requests)),
        bodies=[],
        refused={500: b"it failed"},
        cpu_share=0.25,
        seconds=2.0,
    )


def sample(in_time: int = 10, requests: int = 10, **changes: object) -> Sample:
    values = {
        "seconds": 2.0,
        "requests": requests,
        "in_time": in_time,
        "refused": 0,
        "expired": 0,
        "degraded": 0,
        "accepted_ms": np.full(in_time, 20.0),
        "client_cpu": 0.1,
        "lag_p99_ms": 1.0,
    }
    return Sample(**{**values, **changes})  # type: ignore[arg-type]


def test_only_what_was_due_after_the_beginning_counts() -> None:
    found = sample_of(
        measured((0.1, 200, 10.0), (0.4, 429, 1.0), (0.5, 200, 20.0), (1.9, 200, 99.0)),
        {0: "small", 2: "large", 3: "small"},
        largest="large",
        slo_ms=SLO_MS,
        since=0.5,
    )
    assert (found.requests, found.in_time, found.refused, found.degraded, found.seconds) == (2, 2, 0, 1, 1.5)
    assert found.accepted_ms.tolist() == pytest.approx([20.0, 99.0])
    assert (found.share, found.client_cpu, found.lag_p99_ms) == (1.0, 0.25, pytest.approx(1.0))


def test_what_is_late_refused_given_up_or_never_answered_is_no_goodput() -> None:
    found = sample_of(
        measured((0.5, 200, 101.0), (0.6, 429, 1.0), (0.7, 504, 95.0), (0.8, 0, 1000.0), (0.9, 200, 99.0)),
        {0: "large", 4: "large"},
        largest="large",
        slo_ms=SLO_MS,
        since=0.0,
    )
    assert (found.requests, found.in_time, found.refused, found.expired, found.degraded) == (5, 1, 2, 1, 0)
    assert found.accepted_ms.tolist() == pytest.approx([101.0, inf, 99.0])
    assert found.share == 0.2


def test_a_server_that_fails_is_not_measured() -> None:
    with pytest.raises(ValueError, match=r"statuses \[500\]: .*it failed"):
        sample_of(measured((0.5, 500, 1.0)), {}, largest="large", slo_ms=SLO_MS, since=0.0)


def test_nothing_that_was_due_is_no_sustained_rate() -> None:
    assert sample(0, 0).share == 0.0


CASE = Case("ladder", "modelless", 100.0, SLO_MS)


def test_rows_are_in_the_order_of_load_and_compared_with_the_best() -> None:
    rows = rows_of(CASE, {3.0: [sample(190, 600)], 0.5: [sample(100, 100)], 1.0: [sample(200, 200)]})
    assert [row["offered"] for row in rows] == [0.5, 1.0, 3.0]
    assert [row["offered_rps"] for row in rows] == [50.0, 100.0, 300.0]
    assert [row["goodput"] for row in rows] == [50.0, 100.0, 95.0]
    assert [row["of_most"] for row in rows] == [0.5, 1.0, 0.95]


def test_shares_are_of_all_requests_of_all_rounds() -> None:
    first = sample(50, 100, refused=40, expired=10, degraded=30, accepted_ms=np.full(60, 30.0))
    second = sample(100, 100, accepted_ms=np.full(100, 90.0), client_cpu=0.3)
    [row] = rows_of(CASE, {2.0: [first, second]})
    assert (row["goodput"], row["goodput_low"], row["goodput_high"]) == (37.5, 25.0, 50.0)
    assert (row["refused_share"], row["expired_share"], row["late_share"]) == (0.2, 0.05, 0.05)
    assert row["degraded_share"] == 30 / 160
    assert (row["accepted_p99_ms"], row["slo_ms"], row["client_cpu"], row["rounds"]) == (90.0, SLO_MS, 0.3, 2)


def test_a_latency_without_an_end_is_none() -> None:
    unanswered = sample(98, 100, accepted_ms=np.array([20.0] * 98 + [inf] * 2), lag_p99_ms=inf)
    rows = rows_of(CASE, {1.0: [unanswered], 2.0: [sample(0, 5, refused=5, accepted_ms=np.empty(0))]})
    assert (rows[0]["accepted_p99_ms"], rows[0]["late_share"], rows[0]["lag_p99_ms"]) == (None, 0.02, None)
    assert (rows[1]["accepted_p99_ms"], rows[1]["degraded_share"]) == (None, None)
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
    assert set(DETAILS) < set(rows[0])
    json.dumps(rows, allow_nan=False)


QUESTIONS = overload.Questions([[0.5, 2.25] * overload.ROWS] * 2, {"large": [[1] * 8, [2] * 8], "small": [[1] * 8] * 2})


def answer(variant: str, labels: list[int]) -> bytes:
    return json.dumps({"model_version": variant, "outputs": [{"name": "label", "data": labels}]}).encode()


def test_a_request_has_its_rows_and_parameters() -> None:
    body = json.loads(QUESTIONS.body(1, {"latency_ms": 95.0}))
    assert body["parameters"] == {"latency_ms": 95.0}
    [tensor] = body["inputs"]
    assert (tensor["shape"], len(tensor["data"]), tensor["data"][:2]) == ([8, 2], 16, [0.5, 2.25])


def test_who_answered_is_read_and_what_they_said_is_checked() -> None:
    place = overload.REQUESTS + 1
    assert QUESTIONS.variants([(0, answer("small", [1] * 8)), (place, answer("large", [2] * 8))]) == {
        0: "small",
        place: "large",
    }
    with pytest.raises(AssertionError, match="small answered request 1"):
        QUESTIONS.variants([(place, answer("small", [2] * 8))])


def test_variants_are_versions_that_the_container_may_choose_among(tmp_path: Path) -> None:
    graph = tmp_path / "graph"
    graph.write_bytes(b"onnx")
    overload.lay_out([Made("large", graph, 0.9), Made("small", graph, 0.8)], tmp_path / "models" / "digits")
    versions = Folder(tmp_path / "models").versions("digits")
    assert {version.name: version.accuracy for version in versions} == {"large": 0.9, "small": 0.8}


def test_loads_go_from_half_to_three_times_the_capacity() -> None:
    assert overload.FULL.loads == (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
    assert set(overload.BRIEF.loads) < set(overload.FULL.loads)
