"""The comparison of policies: its scenarios from traces, its rows, and what it says where there are no traces."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from benchmarks import policies, vision
from simulator.policies import POLICIES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Traces of the three formats, as small as may be."""
    code = tmp_path / "azure_llm_2023"
    code.mkdir()
    stamps = [f"2023-11-16 18:{minute:02}:{second:02}.0,10,10" for minute in range(12) for second in (0, 1, 2)]
    (code / "AzureLLMInferenceTrace_code.csv").write_text(
        "\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *stamps])
    )
    nasa = tmp_path / "nasa_http_1995"
    nasa.mkdir()
    (nasa / "workload.tbz2").write_text(" ".join(["1"] + ["0"] * 99) + " " + "0 1 0 0 0 0 0 0 0 0 " * 8640)
    apps = tmp_path / "azure2019_femux"
    apps.mkdir()
    minutes = 120
    header = ",".join(["HashApp", *(str(i + 1) for i in range(minutes))])
    rows = [f"app{i}," + ",".join(str(int(m % (i + 5) == 0)) for m in range(minutes)) for i in range(24)]
    with gzip.open(apps / "containers_per_min_100apps.csv.gz", "wt") as file:
        file.write("\n".join([header, *rows]))
    return tmp_path


def test_each_trace_is_a_scenario_of_its_kind(folder: Path) -> None:
    bursty, diurnal, sporadic = (policies.TRACES[name](folder, True, 0) for name in ("bursty", "diurnal", "sporadic"))

    assert bursty.seconds == diurnal.seconds == policies.QUICK_S
    assert len(bursty.streams) == len(diurnal.streams) == 1
    assert 12 <= len(bursty.streams[0].times) <= 18
    # One in ten seconds, 24 times as fast, of which one in four is kept: 180 in five minutes.
    assert 130 < len(diurnal.streams[0].times) < 230
    assert len(sporadic.streams) == policies.APPLICATIONS
    assert all(len(stream.times) for stream in sporadic.streams)


def test_another_seed_is_another_scenario_and_the_same_one_the_same(folder: Path) -> None:
    first, again, other = (policies.bursty(folder, True, seed).streams[0].times for seed in (0, 0, 1))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_row_holds_each_figure_with_its_interval(folder: Path) -> None:
    rows = policies.compare("bursty", folder, True, ("modelless", "static_best", "slackfit", "cocktail", "oracle"))

    assert [row["policy"] for row in rows] == ["modelless", "static_best", "slackfit", "cocktail", "oracle"]
    for row in rows:
        assert row["trace"] == "bursty"
        for field in policies.FIELDS:
            assert row[f"{field}_low"] <= row[field] <= row[f"{field}_high"]
        assert row["utility_vs_oracle"] <= 1.0
    assert rows[-1]["utility_vs_oracle"] == 1.0


def test_every_policy_is_made_for_a_scenario(folder: Path) -> None:
    scenario = policies.sporadic(folder, True, 0)

    assert {name: policies.policy_of(name, scenario).name for name in POLICIES} == {name: name for name in POLICIES}


def test_missing_traces_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        policies.main(["--quick", "--traces", str(tmp_path / "nowhere")])

    said = capsys.readouterr().err
    assert "AzureLLMInferenceTrace_code.csv" in said
    assert "--traces" in said


def test_slower_models_are_more_accurate_and_span_fifty_times_in_service_time() -> None:
    catalogue = vision.catalogue()
    times = [
        catalogue.profiles[p.id].service[0].latency.ms[4]
        for model in vision.MODELS
        for p in catalogue.placements.values()
        if p.tier == "container-cpu" and p.variant == f"images/{model.name}"
    ]

    assert times == sorted(times)
    assert times[-1] / times[0] > 50
    assert [m.accuracy for m in vision.MODELS] == sorted(m.accuracy for m in vision.MODELS)
