"""`tasks` and `variants` show what a home's catalogue holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from registry.lineage import Outcome, Tried
from registry.model import Recipe
from registry.store import update
from registry.stores.sqlite import SqliteStore

Invoke = Callable[..., Result]


def test_tasks_as_json(invoke: Invoke, home: Path) -> None:
    result = invoke("tasks", "--home", str(home), "--json")
    document = json.loads(result.stdout)

    assert result.exit_code == 0
    assert document["catalogue_version"] == 2
    (task,) = document["tasks"]
    assert (task["name"], task["variants"], task["best_accuracy"]) == ("flowers", 2, 0.97)
    assert task["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 4], "finite": True}]


def test_tasks_as_a_table(invoke: Invoke, home: Path) -> None:
    result = invoke("tasks", "--home", str(home))

    assert "flowers" in result.stdout
    assert "features:FP32[n,4]" in result.stdout
    assert "latency_ms=100.0" in result.stdout


def test_home_is_taken_from_the_environment(invoke: Invoke, home: Path) -> None:
    result = invoke("tasks", "--json", env={"MODELLESS_HOME": str(home)})

    assert json.loads(result.stdout)["catalogue_version"] == 2


def test_a_home_without_catalogue_says_how_to_make_one(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("tasks", "--home", str(tmp_path / "nowhere"))

    assert result.exit_code == 2
    assert "modelless register digits" in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "nowhere").exists()


def test_variants_as_json_best_first(invoke: Invoke, home: Path) -> None:
    document = json.loads(invoke("variants", "flowers", "--home", str(home), "--json").stdout)

    assert [v["name"] for v in document["variants"]] == ["large", "small"]
    (placement,) = document["variants"][0]["placements"]
    assert (placement["tier"], placement["p50_ms"], placement["p95_ms"], placement["memory_mb"]) == (
        "inline",
        4.0,
        4.0,
        5.0,
    )


def test_variants_as_a_table(invoke: Invoke, home: Path) -> None:
    result = invoke("variants", "flowers", "--home", str(home))

    assert "0.9700" in result.stdout
    assert "2.5 MB" in result.stdout
    assert "4.00" in result.stdout


def test_what_was_measured_on_other_hardware_is_marked(invoke: Invoke, home: Path) -> None:
    document = json.loads(invoke("variants", "flowers", "--home", str(home), "--json").stdout)
    drawn = invoke("variants", "flowers", "--home", str(home)).stdout

    assert all(placement["stale"] for variant in document["variants"] for placement in variant["placements"])
    assert "4.00*" in drawn
    assert "modelless profile flowers" in drawn


def test_what_was_tried_is_listed_with_the_variants(invoke: Invoke, home: Path) -> None:
    attempt = Tried("flowers", "tiny", Recipe("trees", "small"), Outcome.FAILED, "no ensemble", (("accuracy", 0.5),))
    store = SqliteStore(home / "catalogue.db")
    update(store, lambda base: base.with_tried(attempt))
    store.close()
    document = json.loads(invoke("variants", "flowers", "--home", str(home), "--json").stdout)
    drawn = invoke("variants", "flowers", "--home", str(home)).stdout

    assert [(t["name"], t["outcome"], t["numbers"]) for t in document["tried"]] == [
        ("tiny", "failed", {"accuracy": 0.5})
    ]
    assert any("tiny" in line and "no ensemble" in line and "accuracy 0.5" in line for line in drawn.splitlines())


def test_unknown_task_suggests_the_nearest(invoke: Invoke, home: Path) -> None:
    result = invoke("variants", "flowrs", "--home", str(home))

    assert result.exit_code == 2
    assert "did you mean 'flowers'?" in result.stderr


def test_a_file_that_is_no_catalogue_is_a_failure(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "catalogue.db").write_text("not a database, and long enough to be read as one" * 20)
    result = invoke("tasks", "--home", str(tmp_path))

    assert result.exit_code == 1
    assert "catalogue.db" in result.stderr
