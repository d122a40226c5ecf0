"""Where tasks are kept unless a caller says."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelless import default_home


def test_the_environment_names_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODELLESS_HOME", str(tmp_path))
    assert default_home() == tmp_path
    monkeypatch.setenv("MODELLESS_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_home() == tmp_path / ".modelless"
