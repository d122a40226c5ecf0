"""A home that cannot be written is told with what to name instead, and nothing is made on the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelless.homes import check_home, default_home, make_home
from registry.errors import InvalidValue

FIX = r"--home FOLDER or MODELLESS_HOME"


def test_the_environment_names_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODELLESS_HOME", str(tmp_path))
    assert default_home() == tmp_path
    monkeypatch.setenv("MODELLESS_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_home() == tmp_path / ".modelless"


def test_a_home_that_can_be_made_is_made_when_it_is_wanted(tmp_path: Path) -> None:
    home = tmp_path / "a" / "b"
    check_home(home)
    assert not home.parent.exists()
    make_home(home)
    make_home(home)
    assert home.is_dir()


@pytest.mark.parametrize("inside", ["", "deep/er"])
def test_a_file_is_no_home(inside: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidValue, match=rf"home: .* cannot be written \(.*file is no folder\); .*{FIX}"):
        make_home(tmp_path / "file" / inside)


def test_a_folder_of_others_is_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # who runs as root may write anywhere
    with pytest.raises(InvalidValue, match=rf"may not be written\); .*{FIX}"):
        check_home(tmp_path / "home")


def test_what_only_shows_when_it_is_made_is_told_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(InvalidValue, match=rf"cannot be written \(No space left on device\); .*{FIX}"):
        make_home(tmp_path / "home")
