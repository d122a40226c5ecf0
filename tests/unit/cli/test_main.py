"""The table of commands: light to start, helpful when mistyped."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from cli.main import COMMANDS, main
from registry.stores.sqlite import SqliteStore


def test_help_lists_every_command(invoke: Callable[..., Result]) -> None:
    result = invoke("--help")

    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.partition("Commands:")[2].strip().splitlines()] == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_json(command: str, invoke: Callable[..., Result]) -> None:
    result = invoke(command, "--help")

    assert result.exit_code == 0
    assert "--json" in result.output


def test_mistyped_command_is_answered_with_the_nearest(invoke: Callable[..., Result]) -> None:
    result = invoke("pedict")

    assert result.exit_code == 2
    assert "did you mean 'predict'?" in result.stderr


def test_unknown_option_is_bad_input(invoke: Callable[..., Result]) -> None:
    assert invoke("tasks", "--nonsense").exit_code == 2


def test_start_up_imports_nothing_heavy() -> None:
    probe = "import sys, cli.main; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True).stdout.split()

    assert main.name == "main"
    assert not {"numpy", "onnxruntime", "httpx", "rich", "starlette", "uvicorn", "sklearn", "boto3"} & set(loaded)


def test_what_the_system_refuses_is_a_message(
    invoke: Callable[..., Result], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(SqliteStore, "history", full)
    result = invoke("history", "--home", str(home))

    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
