"""Counters: what they add up to, and the form that Triton's clients read."""

from __future__ import annotations

from runtime.container.statistics import BUCKETS_S, Tally


def test_answers_faults_and_runs_add_up() -> None:
    tally = Tally()
    tally.answered(rows=2, queue_s=0.001, run_s=0.002, total_s=0.004, now=10.0)
    tally.answered(rows=3, queue_s=0.003, run_s=0.002, total_s=99.0, now=11.0)
    tally.failed("Expired", 0.5)
    tally.failed("Expired", 0.5)
    tally.ran(5, 0.002, ok=True)
    tally.ran(5, 0.004, ok=True)
    tally.ran(100, 0.1, ok=True)
    tally.ran(7, 9.0, ok=False)

    document = tally.document("m", "2", epoch=-1000.0)

    assert (document["name"], document["version"]) == ("m", "2")
    assert document["last_inference"] == 1_011_000
    assert (document["inference_count"], document["execution_count"]) == (5, 3)
    stats = document["inference_stats"]
    assert stats["success"] == {"count": 2, "ns": 99_004_000_000}
    assert stats["fail"] == {"count": 2, "ns": 1_000_000_000}
    assert stats["queue"] == {"count": 2, "ns": 4_000_000}
    assert stats["compute_infer"] == {"count": 2, "ns": 4_000_000}
    assert {batch["batch_size"]: batch["compute_infer"] for batch in document["batch_stats"]} == {
        5: {"count": 2, "ns": 6_000_000},
        128: {"count": 1, "ns": 100_000_000},
    }
    assert tally.faults == {"Expired": 2}


def test_latencies_fall_into_buckets_bounds_included() -> None:
    tally = Tally()
    for total_s in (0.0001, BUCKETS_S[0], BUCKETS_S[-1], BUCKETS_S[-1] + 1):
        tally.answered(1, 0.0, 0.0, total_s, 0.0)
    assert (tally.buckets[0], tally.buckets[-2], tally.buckets[-1]) == (2, 1, 1)


def test_what_never_answered_says_so() -> None:
    assert Tally().document("m", "1", epoch=0.0)["last_inference"] == 0
