"""What hardware and runtime a measurement holds on; never measures."""

from __future__ import annotations

import functools
import hashlib
import platform
from dataclasses import dataclass
from pathlib import Path

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
    import onnxruntime  # noqa: PLC0415 - imported when first needed

    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    return parse(text, onnxruntime.__version__, machine=platform.machine())
