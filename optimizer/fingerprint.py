"""What hardware and runtime a measurement holds on, and which do not hold here; never measures."""

from __future__ import annotations

import functools
import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from registry.catalogue import Catalogue
from registry.isa import level_of, runs_on
from registry.model import TierKind

RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
"""Distributions that provide ONNX Runtime."""

HERE = frozenset({TierKind.INLINE, TierKind.PROCESS, TierKind.CONTAINER})
"""Kinds of tier that run on this machine."""

VECTOR_UNITS: tuple[str, ...] = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_int8",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
)
"""CPU flags for which ONNX Runtime has kernels of its own: with another set, other code runs."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A machine as far as it decides how fast a model runs."""

    cpu: str
    isa: tuple[str, ...]
    """Those of VECTOR_UNITS that it has."""
    cores: int
    onnxruntime: str

    @property
    def id(self) -> str:
        """Twelve hex digits that change with any of the facts."""
        facts = "\n".join((self.cpu, *self.isa, str(self.cores), self.onnxruntime))
        return hashlib.sha256(facts.encode()).hexdigest()[:12]

    def __str__(self) -> str:
        """The id and the facts, for people."""
        isa = "+".join(self.isa) or "no vector units"
        return f"{self.id} {self.cpu}, {self.cores} cores, {isa}, onnxruntime {self.onnxruntime}"


def parse(cpuinfo: str, onnxruntime: str, *, machine: str = "") -> Fingerprint:
    """The fingerprint in the text of a Linux /proc/cpuinfo; `machine` names a CPU that has no model name (ARM)."""
    facts: dict[str, str] = {}
    cores = 0
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        cores += key.strip() == "processor"
        facts.setdefault(key.strip(), value.strip())
    flags = set((facts.get("flags") or facts.get("Features") or "").split())
    cpu = facts.get("model name") or machine or "unknown"
    return Fingerprint(cpu, tuple(unit for unit in VECTOR_UNITS if unit in flags), max(cores, 1), onnxruntime)


@functools.cache
def fingerprint() -> Fingerprint:
    """This machine's fingerprint; its cores are those of the machine, whatever share a tier gives."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    return parse(text, _runtime(), machine=platform.machine())


def _runtime() -> str:
    """The version of ONNX Runtime, without the quarter of a second that its import takes."""
    for name in RUNTIMES:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "none"


def stale(catalogue: Catalogue, here: Fingerprint) -> frozenset[str]:
    """The placements on tiers of this machine whose profiles were taken on another; by id."""
    return frozenset(
        id_
        for id_, profile in catalogue.profiles.items()
        if catalogue.tiers[catalogue.placements[id_].tier].kind in HERE and profile.fingerprint.split(" ")[0] != here.id
    )


def unfit(catalogue: Catalogue, here: Fingerprint) -> Mapping[str, str]:
    """Variants placed on tiers of this machine that were compiled for a CPU that it does not have; id to reason."""
    placed = {p.variant for p in catalogue.placements.values() if catalogue.tiers[p.tier].kind in HERE}
    return {
        id_: f"compiled for {dict(variant.recipe.parameters)['level']}, and this machine is {level_of(here.isa)}"
        for id_, variant in catalogue.variants.items()
        if id_ in placed and not runs_on(variant.recipe, here.isa)
    }
