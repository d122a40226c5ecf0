"""What artefacts are measured as: the template's functions with the template's variables, each within its budget."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import artefacts
from benchmarks.artefacts import EVERYTHING, ROOT, Start
from benchmarks.deployed import Resources, all_resources


@pytest.fixture(scope="module")
def resources() -> Resources:
    """A stack with every function."""
    return all_resources(ROOT / "template.yaml", **EVERYTHING)


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """A function that imports a little and does nothing."""
    app = tmp_path / "functions" / "little" / "app.py"
    app.parent.mkdir(parents=True)
    app.write_text("import os\nassert os.environ['TABLE_NAME'] == 'facts'\nsum(range(200_000))\n")
    return Start("little", tmp_path, sys.executable, {"PYTHONPATH": str(tmp_path), "TABLE_NAME": "facts"}, [])


def test_every_recipe_is_measured(resources: Resources) -> None:
    recipes = artefacts._module("recipes").RECIPES

    assert set(artefacts._functions(resources)) == set(recipes)
    assert all(0 < recipe.budget_ms < 3000 for recipe in recipes.values())


def test_of_the_workers_the_smallest_is_measured(resources: Resources) -> None:
    assert artefacts._functions(resources)["worker"]["MemorySize"] == 1769


def test_a_function_gets_the_variables_that_the_template_gives_it(resources: Resources) -> None:
    environ = artefacts._environ("/builds", "api", artefacts._functions(resources)["api"])

    assert set(json.loads(environ["WORKERS"])) == {"lambda-1769", "lambda-3538", "lambda-5307", "lambda-10240"}
    assert environ["WARM_BUDGET_USD_PER_HOUR"] == "0.5"
    assert environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "512"
    assert environ["PYTHONPATH"] == "/builds/api"
    assert all(isinstance(value, str) and value for value in environ.values())


def test_an_import_is_timed_and_its_processor_too(start: Start) -> None:
    took = start.once()

    assert took > 0
    assert len(start.cpu_ms) == 1
    assert start.cpu_ms[0] > 0


def test_what_does_not_start_is_no_figure(start: Start) -> None:
    (start.root / "functions" / "little" / "app.py").write_text("import nowhere\n")

    with pytest.raises(RuntimeError, match=r"(?s)little does not start: .*nowhere"):
        start.once()
    assert start.cpu_ms == []


def test_what_is_over_budget_is_said(start: Start) -> None:
    recipe = artefacts._module("recipes").Recipe("little", "x86_64", budget_mb=1, budget_ms=61)
    start.cpu_ms.extend([60.0, 61.0, 62.0])
    within = artefacts._row(recipe, start, [70.0, 80.0, 90.0])
    start.cpu_ms.extend([70.0, 80.0])
    slow = artefacts._row(recipe, start, [70.0, 80.0, 90.0])
    (start.root / "large").write_bytes(bytes(artefacts.MIB))
    start.cpu_ms.clear()
    start.cpu_ms.append(1.0)
    large = artefacts._row(recipe, start, [70.0, 80.0, 90.0])

    assert [row["within"] for row in (within, slow, large)] == [True, False, False]
    assert (within["function"], within["budget_ms"], within["cpu_ms"], within["import_ms"]) == (
        "little",
        61,
        61.0,
        80.0,
    )
