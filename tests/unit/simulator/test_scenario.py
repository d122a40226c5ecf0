"""Scenarios: everything wrong is said at once, with its place; nothing is ignored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from registry.catalogue import Catalogue
from registry.errors import InvalidManifest, NotFound
from registry.model import LEVELS, Slo, StartMode
from simulator.policies.capacity import Budget
from simulator.scenario import Scenario, load
from simulator.workload import Gamma, Modulated, Poisson, Trace

GOOD = """\
seconds: 120
seeds: [3, 5]
catalogue:
  tiers: [lambda-1769, lambda-3538-snapstart, container-cpu]
  tasks:
    - name: t
      slo: {latency_ms: 500}
      variants:
        - name: small
          accuracy: 0.8
          service_ms: {1: 10, 8: 40}
          load_ms: 20
          init_ms: 300
          restore_ms: 100
          memory_mb: 50
          spread: 0.2
        - name: large
          accuracy: 0.9
          service_ms: 60
          parallel: 0.5
          load_ms: 200
          init_ms: 300
          restore_ms: 100
          memory_mb: 200
          tiers: [lambda-3538-snapstart]
    - name: many
      copies: 3
      variants:
        - {name: only, accuracy: 1, service_ms: 5, load_ms: 1, init_ms: 1, restore_ms: 1, memory_mb: 1}
hardware:
  overhead_ms: 2
  tiers:
    lambda-1769: {idle: {uniform: {low_s: 100, high_s: 300}}, provisioned: 1}
    lambda-3538-snapstart: {snapshots: [t/large]}
    container-cpu: {provisioned: 0, start_s: 60, scale_in_s: 30}
traffic:
  - {task: t, rows: 4, slo: {objective: cost}, arrivals: {poisson: {rate: 2}}}
  - {task: t, arrivals: {modulated: {rates: [1, 9], stay_s: 10}}}
  - {task: many, arrivals: {gamma: {rate: 1, cv: 3}}}
  - {task: many, arrivals: {trace: {format: azure_2019, path: counts.csv, from_s: 60, speed: 2}}}
policies: [modelless, static_best, slackfit: {copies: 2}, slackfit]
capacity: {warm_budget_usd_per_h: 0.01}
"""

COUNTS = "HashApp,1,2,3,4,5\na,1,2,0,1,9\nb,0,0,1,0,0\nc,7,0,0,0,0\nd,1,1,1,1,1\n"

Read = Callable[..., Scenario]
Faults = Callable[..., list[str]]


def no_home(path: Path) -> Catalogue:
    raise NotFound("catalogue in", path.name)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(text: str, open_home: Callable[[Path], Catalogue] = no_home) -> Scenario:
        (tmp_path / "counts.csv").write_text(COUNTS)
        file = tmp_path / "scenario.yaml"
        file.write_text(text)
        return load(file, open_home)

    return read


@pytest.fixture
def faults(read: Read, tmp_path: Path) -> Faults:
    """The faults of a text, each as `line: field: message`."""

    def faults(text: str) -> list[str]:
        with pytest.raises(InvalidManifest) as caught:
            read(text)
        return [f.removeprefix(f"{tmp_path / 'scenario.yaml'}:") for f in caught.value.faults]

    return faults


def test_a_good_scenario(read: Read, tmp_path: Path) -> None:
    found = read(GOOD)
    assert (found.seconds, found.seeds, found.capacity) == (120.0, (3, 5), Budget(0.01))
    assert [c.label for c in found.policies] == ["modelless", "static_best", "slackfit copies=2", "slackfit"]
    assert [(t.tasks, t.rows, t.arrivals) for t in found.traffic] == [
        (("t",), 4, Poisson(2.0)),
        (("t",), 1, Modulated((1.0, 9.0), 10.0)),
        (("many-1", "many-2", "many-3"), 1, Gamma(1.0, 3.0)),
        (
            ("many-1", "many-2", "many-3"),
            1,
            Trace("azure_2019", tmp_path / "counts.csv", from_s=60.0, speed=2.0),
        ),
    ]
    assert found.traffic[0].slo == Slo(latency_ms=500.0).with_hints({"objective": "cost"})
    hardware, tiers = found.hardware, found.catalogue.tiers
    assert (hardware.overhead_ms, hardware.provisioned) == (2.0, {"lambda-1769": 1, "container-cpu": 0})
    assert hardware.lifetime(tiers["lambda-1769"])(0.5) == 200.0
    assert hardware.snapshots == {"lambda-3538-snapstart": ("t/large",)}
    assert (hardware.start_s, hardware.scale_in_s) == ({"container-cpu": 60.0}, {"container-cpu": 30.0})


def test_described_variants_have_profiles_on_their_tiers(read: Read) -> None:
    catalogue = read(GOOD).catalogue
    assert set(catalogue.tasks) == {"t", "many-1", "many-2", "many-3"}
    assert {p.tier for p in catalogue.placements.values() if p.variant == "t/large"} == {"lambda-3538-snapstart"}
    (large,) = (p for p in catalogue.placements.values() if p.variant == "t/large")
    profile = catalogue.profiles[large.id]
    # Two threads share half of the work; no spread: always the same.
    assert (large.threads, large.max_batch) == (2, 1)
    assert profile.service[0].latency.ms == (60.0 * 0.75,) * len(LEVELS)
    assert catalogue.tiers[large.tier].start_mode is StartMode.SNAPSTART
    assert profile.init.mean == 100.0
    small = catalogue.profiles["t/small@lambda-1769:1"]
    assert [s.rows for s in small.service] == [1, 8]
    median, tail = (small.service[0].latency.ms[LEVELS.index(level)] for level in (0.5, 0.95))
    assert median == pytest.approx(10.0)
    assert tail == pytest.approx(10.0 * np.exp(0.2 * 1.6448536))
    assert small.service[0].billed_ms == pytest.approx(10.0 * np.exp(0.02) + 0.5)  # in whole milliseconds
    assert catalogue.profiles["t/small@container-cpu:1"].init.mean == 0.0  # it is always there


def test_streams_are_the_same_for_the_same_seed_and_each_tasks_own(read: Read) -> None:
    scenario = read(GOOD)
    first, again, other = scenario.streams(3), scenario.streams(3), scenario.streams(5)
    assert [s.task for s in first] == ["t", "t", *["many-1", "many-2", "many-3"] * 2]
    assert all((a.times == b.times).all() for a, b in zip(first, again, strict=True))
    assert first[0].times.tolist() != other[0].times.tolist()
    assert first[2].times.tolist() != first[3].times.tolist()
    # The trace's functions a and d, b, and c: from its second minute on, in half the time.
    assert [(s.times // 30).astype(int).tolist() for s in first[5:]] == [[0, 0, 0, 1, 2, 2, *[3] * 10], [1], []]


def test_a_home_is_a_catalogue(read: Read, tmp_path: Path) -> None:
    described = read(GOOD).catalogue
    text = (
        "seconds: 1\ncatalogue: {home: there}\ntraffic:\n  - {task: t, arrivals: {poisson: {rate: 1}}}\n"
        "policies: [modelless]\n"
    )
    opened: list[Path] = []

    def open_home(path: Path) -> Catalogue:
        opened.append(path)
        return described

    scenario = read(text, open_home)
    assert (scenario.catalogue, opened) == (described, [tmp_path / "there"])
    assert (scenario.seeds, scenario.capacity) == ((0,), None)


def test_policies_that_cannot_play_are_left_out_of_the_usual_ones(read: Read) -> None:
    usual = GOOD.partition("policies:")[0]
    assert [c.name for c in read(usual).policies] == ["modelless", "static_best", "static_cheapest", "infaas"]
    functions = usual.replace(", container-cpu]", "]").replace("    container-cpu: {provisioned: 0,", "    gone: {")
    only = functions.replace("    gone: { start_s: 60, scale_in_s: 30}\n", "")
    assert [c.name for c in read(only).policies] == ["modelless", "static_best", "static_cheapest"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("seconds: 120", "second: 120", "1: seconds: is missing"),
        ("seconds: 120", "second: 120", "1: second: is not a key of the scenario; did you mean seconds?"),
        ("seconds: 120", "seconds: 0", "1: seconds: 0 is impossible"),
        ("[3, 5]", "[3, 3]", "2: seeds[1]: 3 is listed already"),
        ("[3, 5]", "[-1]", "2: seeds[0]: -1 is no seed"),
        ("[3, 5]", "[]", "2: seeds: is empty"),
        ("lambda-1769, ", "lambda-1768, ", "did you mean lambda-1769?"),
        (
            "accuracy: 0.8",
            "accuracy: 80",
            "10: catalogue.tasks[0].variants[0].accuracy: 80 is out of range; give 0 to 1",
        ),
        ("accuracy: 0.8", "accurcy: 0.8", "accuracy: is missing"),
        ("{1: 10, 8: 40}", "{one: 10}", "service_ms.one: is no number of rows"),
        ("{1: 10, 8: 40}", "{}", "service_ms: is empty"),
        ("name: large", "name: small", "'small' is taken already"),
        ("name: many", "name: t", "'t' is taken already"),
        (
            "[lambda-3538-snapstart]",
            "[lambda-3538]",
            "'lambda-3538' is no tier here; did you mean lambda-3538-snapstart?",
        ),
        ("overhead_ms: 2", "overhead_ms: -2", "overhead_ms: -2.0 is impossible"),
        ("provisioned: 1}", "provisioned: -1}", "give a whole number from 0"),
        ("provisioned: 1}", "start_s: 1}", "start_s: means nothing on lambda-1769 (lambda, ondemand)"),
        ("container-cpu: {", "container-cpo: {", "container-cpo: is no tier of the catalogue"),
        ("[t/large]", "[t/larg]", "'t/larg' is no variant; did you mean t/large?"),
        ("uniform:", "normal:", "idle: needs one distribution; give one of constant, uniform, lognormal"),
        ("high_s: 300", "high: 300", "uniform.high: is not a key of hardware.tiers.lambda-1769.idle.uniform"),
        ("{task: t, rows: 4", "{task: u, rows: 4", "traffic[0].task: 'u' is no task"),
        ("rows: 4", "rows: 9", "traffic[0].rows: 9 are more than any variant of t takes; give 8 or fewer"),
        ("objective: cost", "objectiv: cost", "did you mean objective?"),
        ("rate: 2", "rate: -2", "poisson.rate: -2.0 is impossible"),
        ("poisson: {rate: 2}", "poison: {rate: 2}", "arrivals.poison: is no kind of arrivals; did you mean poisson?"),
        ("poisson: {rate: 2}", "", "traffic[0].arrivals: needs one kind of arrivals"),
        ("[1, 9], stay_s: 10", "[1, x], stay_s: 10", "modulated.rates[1]: 'x' is wrong; give a number"),
        ("stay_s: 10", "stay_s: 0", "modulated.stay_s: 0.0 is impossible"),
        ("counts.csv", "gone.csv", "gone.csv cannot be read: No such file"),
        ("format: azure_2019", "format: azure_2020", "'azure_2020' is no format; did you mean azure_2021?"),
        ("format: azure_2019", "format: azure_2021", "line 1: no column 'func'; give a file of format azure_2021"),
        ("speed: 2", "functions: [a, b]", "trace.functions: 2 are too few for 3 tasks"),
        ("speed: 2", "functions: [a, b, x]", "trace.functions[2]: 'x' is no function; the trace names 4"),
        ("speed: 2", "speed: 0", "trace.speed: 0.0 is impossible"),
        ("from_s: 60", "from_s: 60, to_s: 30", "trace.to_s: 30 is not after from_s"),
        ("static_best,", "static_bets,", "policies[1]: 'static_bets' is no policy; did you mean static_best?"),
        ("static_best,", "modelless,", "policies[1]: 'modelless' is listed already"),
        ("{copies: 2}", "{copys: 2}", "slackfit.copys: is no setting of slackfit; did you mean copies?"),
        ("{copies: 2}", "{copies: 0}", "slackfit.copies: 0 is wrong; give a whole number from 1"),
        ("static_best,", "static_best: {copies: 2},", "copies: is no setting of static_best; it has none"),
        ("_usd_per_h: 0.01", "_usd_per_h: -1", "capacity.warm_budget_usd_per_h: -1.0 is impossible"),
    ],
)
def test_a_fault_is_named_with_its_place(old: str, new: str, expected: str, faults: Faults) -> None:
    assert old in GOOD
    found = faults(GOOD.replace(old, new, 1))
    assert any(expected in fault for fault in found), found


def test_all_faults_are_said_at_once_in_the_order_of_lines(faults: Faults) -> None:
    text = (
        GOOD.replace("seconds: 120", "seconds: -1").replace("accuracy: 1,", "accuracy: 2,").replace("cv: 3", "cv: -3")
    )
    lines = [int(fault.partition(":")[0]) for fault in faults(text)]
    assert len(lines) == 3
    assert lines == sorted(lines)


def test_a_home_and_a_description_do_not_go_together(faults: Faults) -> None:
    found = faults(GOOD.replace("catalogue:\n", "catalogue:\n  home: there\n"))
    assert any("catalogue.home: no catalogue in 'there'" in fault for fault in found)
    assert sum("does not go with home" in fault for fault in found) == 2


def test_a_policy_that_needs_containers_says_so(faults: Faults) -> None:
    text = GOOD.replace(", container-cpu]", "]").replace(
        "    container-cpu: {provisioned: 0, start_s: 60, scale_in_s: 30}\n", ""
    )
    assert any("slackfit cannot play here: it runs on containers" in fault for fault in faults(text))
