"""`simulate` compares policies on the same requests, in a table, a plot, a figure or a document."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from PIL import Image

from cli import players

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted((ROOT / "examples" / "scenarios").glob("*.yaml"))
SWITCHING = str(ROOT / "examples" / "scenarios" / "switching.yaml")

Invoke = Callable[..., Result]


def document(invoke: Invoke, *arguments: str) -> dict[str, Any]:
    result = invoke("simulate", *arguments, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def timeless(found: dict[str, Any]) -> dict[str, Any]:
    """Without how long decisions took, which is the machine's."""
    for policy in found["policies"]:
        del policy["figures"]["decision_us"]
        for seed in policy["seeds"]:
            del seed["decision_us"]
    return found


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_scenarios(example: Path) -> None:
    scenario = players.read(example)
    assert f"modelless simulate examples/scenarios/{example.name}" in example.read_text()
    assert len(scenario.policies) > 2


def test_an_example_end_to_end(invoke: Invoke) -> None:
    found = document(invoke, SWITCHING, "--seconds", "2", "--jobs", "1")
    assert (found["scenario"], found["seconds"], found["seeds"]) == ("switching", 2.0, [1, 2, 3])
    (stream,) = found["workload"]
    assert (stream["tasks"], stream["slo"]["latency_ms"]) == (["digits"], 250.0)
    assert [p["policy"] for p in found["policies"]][:2] == ["modelless", "model_switching copies=1"]
    for policy in found["policies"]:
        figures = policy["figures"]
        assert all(f["low"] <= f["median"] <= f["high"] for f in figures.values())
        assert 0.5 < figures["attainment"]["median"] <= 1.0
        assert [seed["seed"] for seed in policy["seeds"]] == [1, 2, 3]
        assert set(policy["seeds"][0]) == {"seed", *figures}
        assert policy["mean_usd"]["idle"] == pytest.approx(policy["mean_usd_by_tier"]["container-cpu"])


def test_processes_find_what_one_after_the_other_does(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def counted(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(start(*arguments, **options))
        return started[-1]

    asked = (SWITCHING, "--seconds", "2", "--policy", "slackfit", "--policy", "jellyfish", "--seeds", "2")
    alone = timeless(document(invoke, *asked, "--jobs", "1"))
    monkeypatch.setattr(subprocess, "Popen", counted)
    assert timeless(document(invoke, *asked, "--jobs", "2")) == alone
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


def test_for_people_there_are_a_table_a_plot_and_reasons(invoke: Invoke, tmp_path: Path) -> None:
    png = tmp_path / "plot"
    asked = ("--seconds", "2", "--seeds", "1", "--policy", "slackfit", "--policy", "static_best", "--jobs", "1")
    result = invoke("simulate", SWITCHING, *asked, "--explain", "--png", str(png))
    assert result.exit_code == 0, result.output
    assert "switching: " in result.stdout
    for said in (
        "effective accuracy",
        "slackfit copies=1",
        "$ per 1,000 requests",
        "What was paid",
        "latency_ms=250.0",
    ):
        assert said in result.stdout
    with Image.open(png) as image:
        assert image.format == "PNG"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((SWITCHING, "--policy", "modeless"), "no policy 'modeless'; did you mean 'modelless'"),
        ((SWITCHING, "--seeds", "0"), "--seeds"),
        ((SWITCHING, "--seconds", "0"), "--seconds"),
        (("nowhere.yaml",), "nowhere.yaml"),
    ],
)
def test_what_cannot_be_simulated_is_bad_input(arguments: tuple[str, ...], message: str, invoke: Invoke) -> None:
    result = invoke("simulate", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_policy_without_its_tiers_says_so(invoke: Invoke) -> None:
    sporadic = str(ROOT / "examples" / "scenarios" / "sporadic.yaml")
    result = invoke("simulate", sporadic, "--policy", "slackfit")
    assert result.exit_code == 2
    assert "--policy slackfit: it cannot play here: it runs on containers" in result.stderr


def test_a_home_is_simulated_as_it_was_measured(invoke: Invoke, home: Path) -> None:
    scenario = home / "scenario.yaml"
    scenario.write_text(
        "seconds: 5\ncatalogue: {home: .}\ntraffic:\n  - {task: flowers, arrivals: {poisson: {rate: 5}}}\n"
        "policies: [modelless]\n"
    )
    (policy,) = document(invoke, str(scenario))["policies"]
    assert policy["figures"]["attainment"]["median"] == 1.0
    assert set(policy["timeline"]["answered_by"]) == {"large"}


def test_all_faults_of_a_scenario_are_said(invoke: Invoke, tmp_path: Path) -> None:
    scenario = tmp_path / "s.yaml"
    scenario.write_text("seconds: -1\ncatalogue: {home: nowhere}\nseeds: []\n")
    result = invoke("simulate", str(scenario))
    assert result.exit_code == 2
    for said in ("seconds: -1 is impossible", "no catalogue in", "seeds: is empty", "traffic: is missing"):
        assert said in result.stderr


def test_a_process_that_ends_by_itself_is_a_failure(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(players, "PROGRAM", "raise SystemExit(3)")
    result = invoke("simulate", SWITCHING, "--jobs", "2", "--policy", "slackfit")
    assert result.exit_code == 1
    assert "ended by itself" in result.stderr
