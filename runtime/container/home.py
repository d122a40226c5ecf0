"""Models of a platform's home: every task is one, its variants on the container's tier its versions; changes nothing.

What was measured of a variant comes along: its accuracy, by which the scheduler may choose among them, and its
profiles, so that the first batch is as well sized as the thousandth.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from registry.blobs.files import Files
from registry.catalogue import Catalogue
from registry.errors import RegistryError
from registry.isa import runs_on
from registry.model import TensorSpec, Variant
from registry.stores.sqlite import SqliteStore
from runtime.container.artifacts import artifact_name
from runtime.container.repository import Version
from runtime.container.signature import Port, Signature
from runtime.errors import Unreadable
from runtime.session import open_artifact
from scheduler.ladders import load_s, measured

CATALOGUE = "catalogue.db"
BLOBS = "blobs"


class Home:
    """The tasks of a home, as one tier serves them; the newest release of its catalogue, whenever it is asked.

    Every question raises Unreadable where the catalogue cannot be read.
    """

    def __init__(self, home: Path, tier: str, *, providers: Sequence[str] = ("CPU",)) -> None:
        self._store = SqliteStore(home / CATALOGUE)
        self._blobs = Files(home / BLOBS)
        self._tier = tier
        self._providers = tuple(providers)
        self._flags = _cpu_flags()
        self._catalogue: Catalogue | None = None

    def head(self) -> Hashable:
        """Another one means another release."""
        with _reading():
            return self._store.head()

    def names(self) -> Sequence[str]:
        """The tasks that have a variant here."""
        catalogue = self._view()
        return sorted(task for task in catalogue.tasks if self._here(catalogue, task))

    def versions(self, model: str) -> Sequence[Version]:
        """A task's variants that run on this machine, the most accurate first."""
        catalogue = self._view()
        if model not in catalogue.tasks:
            return []
        found = [self._version(catalogue, variant) for variant in self._here(catalogue, model)]
        return sorted(found, key=lambda version: (-(version.accuracy or 0.0), version.name))

    def fits(self, artifact: str) -> bool:
        """Whether an artifact may run here: not what is known to be compiled for another kind of CPU alone."""
        known = [v for v in self._view().variants.values() if v.artifact == artifact]
        return not known or any(runs_on(variant.recipe, self._flags) for variant in known)

    def close(self) -> None:
        """Close the catalogue."""
        self._store.close()

    def _view(self) -> Catalogue:
        with _reading():
            if self._catalogue is None or self._catalogue.version != self._store.head():
                self._catalogue = self._store.load()
            return self._catalogue

    def _here(self, catalogue: Catalogue, task: str) -> list[Variant]:
        """Variants placed on the tier, or all of them where none is, but for those made for another kind of CPU."""
        fit = [v for v in catalogue.variants.values() if v.task == task and runs_on(v.recipe, self._flags)]
        placed = {p.variant for p in catalogue.placements.values() if p.tier == self._tier}
        return [v for v in fit if v.id in placed] or fit

    def _version(self, catalogue: Catalogue, variant: Variant) -> Version:
        placements = [p for p in catalogue.placements.values() if p.variant == variant.id]
        here = [p for p in placements if p.tier == self._tier]
        profiles = [catalogue.profiles[p.id] for p in here if p.id in catalogue.profiles]
        task = catalogue.tasks[variant.task]
        packed = {p.threads: p.prepack for p in here}
        prepack = all(packed.values())
        return Version(
            variant.task,
            variant.name,
            lambda threads: open_artifact(
                self._blobs,
                variant.artifact,
                threads=threads,
                prepack=packed.get(threads, prepack),
                providers=self._providers,
            ),
            stamp=artifact_name(variant.artifact, prepack=prepack),
            accuracy=variant.accuracy.value,
            max_batch=max((p.max_batch for p in here or placements), default=None),
            signature=Signature(_ports(task.inputs), _ports(task.outputs)),
            service={p.threads: measured(catalogue.profiles[p.id]) for p in here if p.id in catalogue.profiles},
            load_s=max(map(load_s, profiles), default=0.0),
            floor_mb=variant.size_bytes / 2**20 if prepack else 0.0,
        )


@contextmanager
def _reading() -> Iterator[None]:
    """Whoever asks is told of a catalogue that is locked or broken as of storage that fails: to try again later."""
    try:
        yield
    except RegistryError as fault:
        raise Unreadable(f"the home's catalogue cannot be read now: {fault}") from fault


def _ports(specs: Iterable[TensorSpec]) -> list[Port]:
    return [Port(spec.name, spec.datatype, spec.shape, spec.finite) for spec in specs]


def _cpu_flags() -> frozenset[str]:
    """The CPU's features, as /proc/cpuinfo has them."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        lines = [line.partition(":")[2] for line in file if line.startswith(("flags", "Features"))]
    return frozenset(lines[0].split()) if lines else frozenset()
