"""The threat model names the test that holds each mitigation; each of them is there."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from infra.rehearsal.report import tables

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "security.md").read_text()
NAMED = re.findall(r"`([a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`", DOCUMENT)


def named_in(path: Path) -> set[str]:
    """Names of a file's test functions."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, functions)}


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_each_named_test_is_there(file: str, name: str) -> None:
    path = ROOT / "tests" / file

    assert path.is_file()
    assert name in named_in(path)


def test_each_threat_names_one() -> None:
    threats = DOCUMENT[DOCUMENT.index("## Threats") : DOCUMENT.index("## Out of scope")]
    rows = [line for line in threats.splitlines() if line.startswith("| ") and not line.startswith("| threat")]

    assert len(rows) == len(NAMED) > 25
    for row in rows:
        assert re.search(r"\.py::test_", row), row


def test_each_kind_of_threat_is_looked_at() -> None:
    kinds = re.findall(r"^### ([A-Z][a-z]+)", DOCUMENT, re.MULTILINE)

    assert [kind[0] for kind in kinds] == list("STRIDE")


def test_the_tables_of_permissions_are_the_last_run_s() -> None:
    report = json.loads((ROOT / "benchmarks" / "results" / "iam.json").read_text())

    assert "\n".join(tables(report)) in DOCUMENT
    assert len(report["broken"]) > 60
    assert all(broken["denied"] for broken in report["broken"])
