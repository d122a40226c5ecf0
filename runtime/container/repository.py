"""Where models come from, as a folder has them; reads what is there when it is asked, and keeps nothing loaded.

DIR/NAME/model.onnx is version 1 of a model, DIR/NAME/VERSION/model.onnx one of several, DIR/model.onnx alone is the
model `model` (SageMaker's /opt/ml/model). A file of another name is taken where it is the only *.onnx. Beside them may
lie model.json: {"accuracy": 0.97, "max_batch": 32, "versions": {"2": {"accuracy": 0.98}}}.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from runtime.codecs.text import loads
from runtime.container.signature import Signature
from runtime.errors import InvalidBody, Unreadable
from runtime.ort import OrtSession
from scheduler.work import Measured

log = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
"""Of a model or version: what is safe in a path, a URL and a metric's label."""

MAX_BATCH = 64
"""Most rows of a run that requests share, where nothing else is said: beyond it rows gain little on a CPU."""

SUFFIX = ".onnx"
DESCRIPTION = "model.json"
ONLY_VERSION = "1"
WHY = "a folder has one graph, model.onnx or the only one, which is version 1; beside it only numbers are versions"


class Provenance(NamedTuple):
    """What a caller has from an artifact's publisher."""

    signature: str = ""
    binding: str = ""
    """Of its objects' versions (`registry.provenance`)."""


UNTOLD = Provenance()

Open = Callable[[int], OrtSession]
"""Opens a session on some threads; raises what OrtSession and Session.open raise."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a model, as its repository tells of it."""

    model: str
    name: str
    open: Open = field(compare=False)
    stamp: Hashable
    """Another one means other bytes."""
    accuracy: float | None = None
    """What it was measured to be; the scheduler chooses among versions that have one."""
    max_batch: int | None = None
    signature: Signature | None = None
    """What the repository knows; None: what the graph says, once it is loaded."""
    service: Mapping[int, Measured] = field(default_factory=dict)
    load_s: float = 0.0
    floor_mb: float = 0.0
    """The least that it occupies when it is loaded."""


class Repository(Protocol):
    """Where models come from; several threads use it at once."""

    def names(self) -> Sequence[str]:
        """The models that are there now."""

    def versions(self, model: str) -> Sequence[Version]:
        """The versions of a model, the newest first; none when there is no such model.

        Raises InvalidBody for a description that is not to be understood, Unreadable when the storage fails.
        """

    def head(self) -> Hashable:
        """Another one means that what is there may have changed, and is to be looked at; cheap."""

    def close(self) -> None:
        """Let go of files."""


@runtime_checkable
class Vouches(Protocol):
    """A Repository that holds what it opens to what its publisher said of it."""

    def vouch(self, model: str, provenance: Provenance) -> None:
        """Hold a model to this before any of it is read; a model that is known to be sound needs no second look.

        Raises Unsigned, CorruptArtifact for a binding that is none, or Unreadable.
        """


class Folder:
    """Models in the subfolders of one folder, or one model in the folder itself."""

    def __init__(self, root: Path, *, providers: Sequence[str] = ("CPU",)) -> None:
        self.root = root
        self._providers = tuple(providers)

    def names(self) -> Sequence[str]:
        """The models that are there now, by name."""
        if _graph(self.root) is not None:
            return ["model"]
        try:
            folders = [path for path in self.root.iterdir() if path.is_dir() and NAME.fullmatch(path.name)]
        except OSError as fault:
            raise Unreadable(f"the model folder cannot be read: {fault}") from fault
        return sorted(path.name for path in folders if _graph(path) is not None or _version_folders(path))

    def versions(self, model: str) -> Sequence[Version]:
        """The versions of a model, the newest first."""
        if not NAME.fullmatch(model):
            return []
        if _graph(self.root) is not None:
            return self.read(model, self.root) if model == "model" else []
        return self.read(model, self.root / model)

    def head(self) -> Hashable:
        """Always the same: what changed in a folder is looked at when a model is loaded, for copying takes a while."""
        return None

    def close(self) -> None:
        """Nothing is kept open."""

    def read(self, model: str, folder: Path) -> Sequence[Version]:
        """The versions in this folder under this name, the newest first."""
        try:
            found = _version_folders(folder)
            for path in _passed_over(folder, [path for _, path in found]):
                log.warning("model %s: %s is not served: %s", model, path, WHY)
            described = _description(folder) if found else {}
            return [self._version(model, name, path, described) for name, path in found]
        except OSError as fault:
            raise Unreadable(f"model {model} cannot be read: {fault}") from fault

    def _version(self, model: str, name: str, folder: Path, described: Mapping[str, Any]) -> Version:
        graph = _graph(folder)
        assert graph is not None, "a version's folder holds a graph"
        files = [path for path in folder.iterdir() if path.is_file() and path.name != DESCRIPTION]
        stats = [path.stat() for path in files]
        own = described | described.get("versions", {}).get(name, {})
        return Version(
            model,
            name,
            lambda threads: _open(graph, threads, self._providers),
            stamp=tuple(sorted((path.name, s.st_mtime_ns, s.st_size) for path, s in zip(files, stats, strict=True))),
            accuracy=own.get("accuracy"),
            max_batch=own.get("max_batch"),
            floor_mb=sum(s.st_size for s in stats) / 2**20,
        )


def _open(graph: Path, threads: int, providers: Sequence[str]) -> OrtSession:
    try:
        data = graph.read_bytes()
    except OSError as fault:
        raise Unreadable(f"{graph.name} cannot be read: {fault}") from fault
    return OrtSession(data, str(graph.parent), threads=threads, prepack=True, optimised=False, providers=providers)


def _graph(folder: Path) -> Path | None:
    """The ONNX file of a folder: model.onnx, or the only one."""
    named = folder / f"model{SUFFIX}"
    if named.is_file():
        return named
    # Of a folder of models the names alone are looked at: there may be thousands.
    names = [name for name in os.listdir(folder) if name.endswith(SUFFIX)] if folder.is_dir() else []
    found = [folder / name for name in names if (folder / name).is_file()]
    return found[0] if len(found) == 1 else None


def _version_folders(folder: Path) -> list[tuple[str, Path]]:
    """The versions in a model's folder, the newest first: the highest number, then by name."""
    alone = _graph(folder) is not None
    inside = [
        path
        for path in (folder.iterdir() if folder.is_dir() else ())
        # Beside a graph lies what else its maker had: only a number is meant to be another version of it.
        if (path.name.isdecimal() or not alone) and NAME.fullmatch(path.name) and path.is_dir()
    ]
    found = {path.name: path for path in inside if _graph(path) is not None}
    if alone:
        found[ONLY_VERSION] = folder
    return sorted(
        found.items(),
        key=lambda item: (item[0].isdecimal(), int(item[0]) if item[0].isdecimal() else 0, item[0]),
        reverse=True,
    )


def _passed_over(folder: Path, served: Sequence[Path]) -> list[Path]:
    """Graphs in a model's folder, and folders with one, that are none of its versions."""
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    graph = _graph(folder)
    return [
        path
        for path in inside
        if (path.suffix == SUFFIX and path.is_file() and path != graph)
        or (path.is_dir() and path not in served and _graph(path) is not None)
    ]


def _description(folder: Path) -> dict[str, Any]:
    """What model.json says, checked; nothing where there is none."""
    try:
        document = loads((folder / DESCRIPTION).read_bytes())
    except FileNotFoundError:
        return {}
    where = f"{folder.name}/{DESCRIPTION}"
    _check_description(document, where)
    versions = document.get("versions", {})
    if not isinstance(versions, dict):
        raise InvalidBody(f"{where}: versions must be an object of objects by version")
    for name, own in versions.items():
        _check_description(own, f"{where}: versions.{name:.80}")
    return dict(document)


def _check_description(document: object, where: str) -> None:
    if not isinstance(document, dict):
        raise InvalidBody(f"{where} must be an object")
    accuracy, batch = document.get("accuracy"), document.get("max_batch")
    if accuracy is not None and (isinstance(accuracy, bool) or not isinstance(accuracy, int | float)):
        raise InvalidBody(f"{where}: accuracy must be a number from 0 to 1")
    if accuracy is not None and not 0 <= accuracy <= 1:
        raise InvalidBody(f"{where}: accuracy is {accuracy}; it must be from 0 to 1")
    if batch is not None and (type(batch) is not int or batch < 1):
        raise InvalidBody(f"{where}: max_batch must be a whole number from 1")
