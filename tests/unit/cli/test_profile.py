"""`profile` refuses what it cannot measure before it opens anything, and says what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from click.testing import Result

Invoke = Callable[..., Result]


def test_an_unknown_task_suggests_the_nearest(invoke: Invoke, home: Path) -> None:
    result = invoke("profile", "flowrs", "--home", str(home))

    assert result.exit_code == 2
    assert "did you mean 'flowers'?" in result.stderr


def test_an_unknown_tier_is_told_which_there_are(invoke: Invoke, home: Path) -> None:
    result = invoke("profile", "flowers", "--tier", "inlne", "--home", str(home))

    assert result.exit_code == 2
    assert "no tier of flowers 'inlne'; did you mean 'inline'?" in result.stderr
    assert not (home / "blobs").exists()


def test_a_task_whose_rows_were_not_kept_is_a_failure(invoke: Invoke, home: Path) -> None:
    result = invoke("profile", "flowers", "--home", str(home))

    assert result.exit_code == 1
    assert "register it again" in result.stderr
