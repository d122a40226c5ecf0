"""What the keep-alive benchmark reports, on an hour that is made up."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks import keepalive
from benchmarks.harness import Row
from benchmarks.keepalive import DETAILS, OURS, ROOM, Case, cases, main, play, rows
from simulator.keepalive.policy import EventDriven, Plans
from simulator.keepalive.trace import one_a_minute
from simulator.traces import PerMinute

MINUTES = 60
FIELDS = {"policy", "cold_share", "experienced_cold_share", "idle_hours", "q3_app_cold_share", "usd"}


@pytest.fixture(scope="module")
def counted() -> PerMinute:
    """A timer, what is always asked for, and what hardly ever is."""
    counts = np.zeros((3, MINUTES), dtype=np.int64)
    counts[0, ::10], counts[1], counts[2, [5, 55]] = 1, 2, 1
    return PerMinute(("timer", "always", "rare"), counts)


SIZES_MB = {"timer": 100.0, "always": 150.0, "rare": 1200.0}


@pytest.fixture(scope="module")
def full(counted: PerMinute) -> Iterator[Sequence[Row]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keepalive, "RATIOS", (0.02, 0.5))
        patch.setattr(keepalive, "SHARED_RATIOS", (0.5,))
        patch.setattr(keepalive, "SEEDS", 2)
        yield rows(counted, SIZES_MB, quick=False)


@pytest.fixture(scope="module")
def quick(counted: PerMinute) -> Sequence[Row]:
    return rows(counted, SIZES_MB, quick=True)


def test_every_policy_has_a_row_of_the_promised_fields_and_ours_has_one(full: Sequence[Row]) -> None:
    policies = [row["policy"] for row in full]
    assert len(set(policies)) == len(policies)
    assert {OURS, "none", "hybrid_histogram", "lsth", "icebreaker", "oracle"} <= set(policies)
    for row in full:
        assert row.keys() >= FIELDS | set(DETAILS)
        assert row["requests"] == 6 + 60 + 2
        assert row["applications"] == 3
        assert row["uniform_cold_share_low"] <= row["uniform_cold_share"] <= row["uniform_cold_share_high"]


def test_only_ours_has_substitutes_and_pays_for_their_environment(counted: PerMinute) -> None:
    trace = one_a_minute(counted, "minute")
    for case in (case for case in cases(SIZES_MB) if not case.swept):
        outcome = play(case, trace, SIZES_MB)
        if case.name.startswith(OURS):
            assert outcome.experienced == 0.0 < outcome.replayed.cold_share
            if case.name != OURS:
                assert outcome.idle_hours == outcome.replayed.idle_hours + MINUTES / 60
        else:
            assert outcome.experienced == outcome.replayed.cold_share
            if case.name != "packed_always_on":
                assert outcome.idle_hours == outcome.replayed.idle_hours


def test_bounds_hold_on_both_sides(quick: Sequence[Row]) -> None:
    by_name = {row["policy"]: row for row in quick}
    assert by_name["none"]["cold_share"] == 1.0
    assert by_name["none"]["idle_hours"] == 0.0
    assert all(row["cold_share"] >= by_name["oracle"]["cold_share"] for row in by_name.values())
    assert by_name["fixed_60min"]["usd"] > by_name["fixed_1min"]["usd"] > by_name["none"]["usd"]


def test_classes_by_activity_add_up_to_the_row(quick: Sequence[Row]) -> None:
    for row in quick:
        classes = row["by_activity"]
        assert [each["applications"] for each in classes] == [2, 0, 1, 0, 0, 0, 0]
        assert sum(each["colds"] for each in classes) == round(row["cold_share"] * row["requests"])
        shared = MINUTES / 60 if row["policy"].startswith(OURS) else 0.0
        if row["policy"] not in (
            OURS,
            "packed_always_on",
        ):  # whose idle hours are of environments that applications share
            assert sum(each["idle_hours"] for each in classes) == pytest.approx(row["idle_hours"] - shared)


def test_who_shares_environments_is_idle_for_less_than_who_is_apart(quick: Sequence[Row]) -> None:
    by_name = {row["policy"]: row for row in quick}
    assert by_name[OURS]["idle_hours"] < by_name[f"{OURS} apart"]["idle_hours"]
    assert by_name[OURS]["idle_hours"] > MINUTES / 60


def test_a_quick_run_leaves_the_families_out(full: Sequence[Row], quick: Sequence[Row]) -> None:
    left_out = {row["policy"] for row in full} - {row["policy"] for row in quick}
    above = {f"icebreaker above={threshold:g}" for threshold in keepalive.THRESHOLDS}
    assert left_out == above | {f"{OURS} apart ratio=0.02", f"{OURS} apart ratio=0.5", f"{OURS} ratio=0.5"}


def test_a_lower_ratio_is_idle_for_longer(full: Sequence[Row]) -> None:
    by_name = {row["policy"]: row for row in full}
    assert by_name[f"{OURS} apart ratio=0.02"]["idle_hours"] > by_name[f"{OURS} apart ratio=0.5"]["idle_hours"]


def test_a_policy_is_not_asked_about_fewer_requests(counted: PerMinute, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing(EventDriven):
        def asked(self, application: str, now: float) -> Plans:
            return {}

    trace, other = one_a_minute(counted, "minute"), one_a_minute(counted, "minute")
    object.__setattr__(other, "places", other.places[:-1])
    object.__setattr__(other, "times", other.times[:-1])
    replayed = keepalive.replay(other, Nothing())
    monkeypatch.setattr(keepalive, "replay", lambda trace, policy: replayed)
    with pytest.raises(AssertionError, match="fewer"):
        play(Case("fewer", lambda trace: Nothing(), room=ROOM), trace, SIZES_MB)


def test_the_command_reads_a_folder_and_draws(
    counted: PerMinute, quick: Sequence[Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / keepalive.FILE
    file.parent.mkdir(parents=True)
    minutes = [str(minute + 1) for minute in range(MINUTES)]
    lines = [",".join(["HashApp", "AverageMemUsageMB", *minutes])]
    lines += [
        ",".join([name, str(SIZES_MB[name]), *map(str, row)])
        for name, row in zip(counted.names, counted.counts.tolist(), strict=True)
    ]
    file.write_text("\n".join(lines))
    png, out = tmp_path / "plot.png", tmp_path / "out.json"
    assert main(["--traces", str(tmp_path), "--quick", "--png", str(png), "--json", str(out)]) == 0
    assert png.read_bytes().startswith(b"\x89PNG")
    found = json.loads(out.read_text())
    assert found["rows"] == [dict(row) for row in quick]
    assert OURS in capsys.readouterr().out


def test_without_the_trace_it_says_where_it_looked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--traces", str(tmp_path)]) == 2
    assert "--traces FOLDER" in capsys.readouterr().err


def test_packed_environments_hold_everything_and_never_go(quick: Sequence[Row]) -> None:
    """100, 150 and 1,200 MB fit into two environments, which leave 1,415 MB each."""
    (packed,) = (row for row in quick if row["policy"] == "packed_always_on")
    assert packed["idle_hours"] == 2 * MINUTES / 60
    assert packed["cold_share"] == pytest.approx(3 / 68)
    assert packed["idle_gb_hours"] == pytest.approx(2 * MINUTES / 60 * 1769 / 1024)
