"""`up` refuses to be reachable from elsewhere without API keys, before it opens anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Invoke = Callable[..., Result]


def test_binding_beyond_this_machine_without_keys_is_refused(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("up", "--host", "0.0.0.0", "--home", str(tmp_path / "home"))

    assert result.exit_code == 2
    assert "MODELLESS_API_KEYS_FILE" in result.stderr
    assert not (tmp_path / "home").exists()


def test_a_keys_file_that_cannot_be_read_is_bad_input(invoke: Invoke, tmp_path: Path) -> None:
    missing = str(tmp_path / "keys.json")
    result = invoke("up", "--home", str(tmp_path / "home"), env={"MODELLESS_API_KEYS_FILE": missing})

    assert result.exit_code == 2
    assert "keys.json" in result.stderr


def test_a_budget_that_is_no_amount_is_bad_input(invoke: Invoke, tmp_path: Path) -> None:
    for budget in ("-1", "nan", "much"):
        result = invoke("up", "--home", str(tmp_path / "home"), "--warm-budget", budget)

        assert result.exit_code == 2
        assert "--warm-budget" in result.stderr


def test_a_setting_that_is_no_number_is_bad_input(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("up", "--home", str(tmp_path / "home"), env={"MODELLESS_BODY_LIMIT": "lots"})

    assert result.exit_code == 2
    assert "MODELLESS_BODY_LIMIT" in result.stderr


@pytest.mark.parametrize(("kind", "said"), [("text", "Stopped.\n"), ("json", "")])
def test_with_json_logs_nothing_else_is_said_on_stderr(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, said: str
) -> None:
    monkeypatch.setattr("gateway.server.run", lambda *_, **__: None)
    result = invoke("up", "--home", str(tmp_path), "--log-format", kind)

    assert (result.exit_code, result.stderr) == (0, said)
