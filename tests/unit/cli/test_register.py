"""`register` refuses what it cannot register before it opens anything."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click
import pytest
from click.testing import Result

from cli.register import abortable

Invoke = Callable[..., Result]


@pytest.mark.parametrize(
    ("source", "hint"),
    [("digit", "did you mean 'digits'?"), ("nothing/task.yaml", "no such file"), ("./nowhere", "no such file")],
)
def test_an_unknown_source_is_bad_input(source: str, hint: str, invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("register", source, "--home", str(tmp_path / "home"))

    assert result.exit_code == 2
    assert hint in result.stderr
    assert not (tmp_path / "home").exists()


def test_a_manifest_with_faults_is_bad_input_naming_all_of_them(invoke: Invoke, tmp_path: Path) -> None:
    manifest = tmp_path / "task.yaml"
    manifest.write_text("task: {name: Bad Name, metric: beauty}\nvariants: []\n")
    result = invoke("register", str(manifest), "--home", str(tmp_path / "home"))

    assert result.exit_code == 2
    assert result.stderr.count("task.yaml") >= 3
    assert "beauty" in result.stderr
    assert not (tmp_path / "home" / "catalogue.db").exists()


def test_ctrl_c_while_training_aborts_where_a_library_would_carry_on() -> None:
    def training() -> None:
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(click.Abort), abortable():
        training()
    assert signal.getsignal(signal.SIGINT) is before


def test_an_ignored_ctrl_c_stays_ignored_while_training() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with abortable():
            os.kill(os.getpid(), signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
