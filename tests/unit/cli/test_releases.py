"""`history` and `rollback`: a rollback is one command and a new release."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Invoke = Callable[..., Result]


def test_history_is_newest_first(invoke: Invoke, home: Path) -> None:
    document = json.loads(invoke("history", "--home", str(home), "--json").stdout)

    assert [(r["version"], r["note"]) for r in document["releases"]] == [(2, "add large"), (1, "register flowers")]


def test_history_as_a_table(invoke: Invoke, home: Path) -> None:
    assert "add large" in invoke("history", "--home", str(home)).stdout


def test_rollback_goes_to_the_release_before_the_newest(invoke: Invoke, home: Path) -> None:
    result = invoke("rollback", "--home", str(home), "--json")
    variants = json.loads(invoke("variants", "flowers", "--home", str(home), "--json").stdout)

    assert json.loads(result.stdout) == {"version": 3, "rolled_back_to": 1, "tasks": ["flowers"]}
    assert [v["name"] for v in variants["variants"]] == ["small"]
    assert variants["catalogue_version"] == 3


def test_rollback_to_a_named_release_says_what_it_did(invoke: Invoke, home: Path) -> None:
    assert "Release 3 is release 1 again" in invoke("rollback", "1", "--home", str(home)).stdout


@pytest.mark.parametrize("version", ["2", "7"])
def test_rollback_forward_is_refused_and_changes_nothing(version: str, invoke: Invoke, home: Path) -> None:
    result = invoke("rollback", version, "--home", str(home))
    history = json.loads(invoke("history", "--home", str(home), "--json").stdout)

    assert result.exit_code == 2
    assert "choose 1 to 1" in result.stderr
    assert len(history["releases"]) == 2
