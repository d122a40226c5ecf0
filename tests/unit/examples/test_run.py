"""An example's command line names the folder, tells how it gets on, and prints the manifest's path."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.run import main
from optimizer.progress import Progress


def test_the_path_goes_to_stdout_and_progress_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    def build(target: Path, progress: Progress) -> Path:
        progress("ridge trained", 1, 2)
        return target / "task.yaml"

    main(build, ["somewhere"])
    assert capsys.readouterr() == ("somewhere/task.yaml\n", "1/2 ridge trained\n")


def test_without_a_folder_it_says_what_it_wants(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(lambda target, progress: target, [])
    assert "folder" in capsys.readouterr().err
