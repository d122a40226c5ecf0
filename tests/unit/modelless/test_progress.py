"""Progress is shown to people only."""

from __future__ import annotations

import pytest

from modelless.progress import bar


@pytest.mark.parametrize("shown", [True, False])
def test_without_a_terminal_there_is_no_bar(shown: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with bar("Registering", shown=shown) as step:
        assert step is None
    assert capsys.readouterr() == ("", "")


def test_in_a_terminal_it_moves(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with bar("Registering digits", shown=True) as step:
        assert step is not None
        step("compile: made and judged", 3, 4)
    assert "compile: made and judged" in capsys.readouterr().err
