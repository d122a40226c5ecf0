"""Contenders are played on the same requests, each as it is meant, and their figures are the outcome's."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.contenders import Contender
from simulator.intervals import interval
from simulator.playing import play
from simulator.scenario import Scenario, load
from simulator.timeline import OTHERS

TEXT = """\
seconds: 20
catalogue:
  tiers: [lambda-1769, container-cpu]
  tasks:
    - name: t
      slo: {latency_ms: 200, min_accuracy: 0.7, on_infeasible: strict}
      variants:
        - {name: small, accuracy: 0.8, service_ms: {1: 10, 8: 40}, load_ms: 20, init_ms: 300, memory_mb: 50}
        - {name: large, accuracy: 0.9, service_ms: {1: 60, 8: 400}, load_ms: 50, init_ms: 300, memory_mb: 200}
traffic:
  - {task: t, arrivals: {poisson: {rate: 3}}}
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    (tmp_path / "s.yaml").write_text(TEXT)
    return load(tmp_path / "s.yaml", lambda home: pytest.fail(f"{home} is nobody's"))


def ticking(step_s: float = 1e-6) -> Callable[[], float]:
    """A clock that goes on by as much whenever somebody looks."""
    ticks = itertools.count()
    return lambda: next(ticks) * step_s


@pytest.mark.parametrize("name", ["modelless", "static_cheapest", "slackfit", "cocktail"])
def test_a_contender_is_played(name: str, scenario: Scenario) -> None:
    shares: list[float] = []
    played = play(scenario, Contender(name), 4, clock=ticking(), progress=shares.append)
    over, count = played.timeline, len(scenario.streams(4)[0].times)
    assert (played.policy, played.seed, played.figures["requests"]) == (name, 4, count)
    assert played.figures["decision_us"] == pytest.approx(1.0)
    assert played.figures["attainment"] == pytest.approx(sum(over.kept) / count)
    assert played.figures["attainment"] > 0.5
    assert played.figures["cold_share"] == pytest.approx(sum(over.cold) / count)
    assert sum(over.requests) == count
    assert sum(map(sum, over.answered_by.values())) + sum(over.unanswered) == count
    assert played.dollars.total == pytest.approx(sum(played.by_tier.values())) == played.figures["usd"]
    assert shares[0] == 0.0


def test_the_same_seed_gives_the_same_figures(scenario: Scenario) -> None:
    first, again = (play(scenario, Contender("modelless"), 1, clock=ticking()) for _ in range(2))
    assert first == again
    assert first != play(scenario, Contender("modelless"), 2, clock=ticking())


def test_settings_reach_the_policy(scenario: Scenario) -> None:
    paid = [
        play(scenario, Contender("slackfit", (("copies", copies),)), 1, clock=ticking()).dollars.idle
        for copies in (1, 3)
    ]
    assert paid[1] == pytest.approx(3 * paid[0]) != 0.0


def test_many_variants_are_counted_together(tmp_path: Path) -> None:
    figures = "accuracy: 0.8, service_ms: 1, load_ms: 1, init_ms: 1, memory_mb: 1"
    tasks = "".join(f"    - {{name: t{i}, variants: [{{name: v{i}, {figures}}}]}}\n" for i in range(10))
    traffic = "".join(f"  - {{task: t{i}, arrivals: {{gamma: {{rate: {i + 1}, cv: 0}}}}}}\n" for i in range(10))
    (tmp_path / "many.yaml").write_text(
        f"seconds: 20\ncatalogue:\n  tiers: [lambda-1769]\n  tasks:\n{tasks}traffic:\n{traffic}"
    )
    scenario = load(tmp_path / "many.yaml", lambda home: pytest.fail(f"{home} is nobody's"))
    by = play(scenario, Contender("static_best"), 0, clock=ticking()).timeline.answered_by
    assert list(by) == ["v9", "v8", "v7", "v6", "v5", "v4", "v3", OTHERS]
    assert sum(by[OTHERS]) == pytest.approx(20 * (1 + 2 + 3), abs=3)


def test_one_sample_is_its_own_interval() -> None:
    assert interval([3.0]) == (3.0, 3.0, 3.0)
