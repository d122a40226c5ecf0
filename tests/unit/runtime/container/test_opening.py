"""A version that is opened is what its signature says, stands in for the others, and is tried out once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtime.container.model import Model, Served
from runtime.container.opening import open_version
from runtime.container.repository import Version
from runtime.container.signature import Port, Signature
from runtime.errors import ExecutionFailed, Unloadable
from runtime.ort import OrtSession


class Opening:
    """Versions of one model by their graphs."""

    def __init__(self, folder: Path, **graphs: bytes) -> None:
        self.folder = folder
        versions = [Version("m", name, self._opens(graph), name, 0.9, max_batch=8) for name, graph in graphs.items()]
        self.model = Model("m", {version.name: Served(version, None) for version in versions})

    def _opens(self, graph: bytes) -> Any:
        return lambda threads: OrtSession(graph, str(self.folder), threads=threads, prepack=True, optimised=False)

    def __getitem__(self, name: str) -> Served:
        return self.model.versions[name]


def test_what_is_learnt_of_a_version_stays_with_it(graphs: Any, tmp_path: Path) -> None:
    opening = Opening(tmp_path, a=graphs.scaled(2.0))

    loaded = open_version(opening.model, opening["a"], 1)

    assert opening["a"].signature == loaded.signature
    assert opening["a"].load_s > 0
    assert opening["a"].traits == {1: loaded.traits}
    assert loaded.traits.max_batch == 8


def test_what_was_tried_out_is_not_tried_out_again(
    graphs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = Opening(tmp_path, a=graphs.scaled(2.0))
    first = open_version(opening.model, opening["a"], 1)
    monkeypatch.setattr("runtime.container.opening.try_out", lambda *_, **__: pytest.fail("it is tried out"))

    assert open_version(opening.model, opening["a"], 1).traits is first.traits


def test_a_graph_that_is_not_as_promised_is_refused(graphs: Any, tmp_path: Path) -> None:
    opening = Opening(tmp_path, a=graphs.scaled(2.0))
    served, port = opening["a"], Port("x", "INT64", (-1, 4))
    served.version = replace(served.version, signature=Signature([port], [Port("y", "FP32", (-1, 4))]))

    with pytest.raises(Unloadable, match="m version a: its graph is not what its signature says"):
        open_version(opening.model, served, 1)


def test_a_version_that_cannot_stand_in_for_another_is_refused(graphs: Any, tmp_path: Path) -> None:
    opening = Opening(tmp_path, a=graphs.scaled(2.0), b=graphs.scaled(2.0, width=5))
    open_version(opening.model, opening["a"], 1)

    with pytest.raises(Unloadable, match="m version b takes or gives other tensors than version a"):
        open_version(opening.model, opening["b"], 1)


def test_a_graph_that_does_not_open_says_whose_it_is(tmp_path: Path) -> None:
    opening = Opening(tmp_path, a=b"no graph")

    with pytest.raises(Unloadable, match="m version a cannot be loaded") as raised:
        open_version(opening.model, opening["a"], 1)

    assert isinstance(raised.value.__cause__, ExecutionFailed)
