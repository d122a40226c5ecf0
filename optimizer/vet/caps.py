"""What a model from outside may take; never what a placement may."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

Extents = Mapping[str, tuple[int, ...]]
"""By input, all axes but the first, as it will be used."""


@dataclass(frozen=True, slots=True)
class Caps:
    """Limits on one model: those of its file, of its graph, and of the process that tries it."""

    model_bytes: int = 1 << 30
    """Half of protobuf's limit of 2 GiB, as checking and loading hold several copies."""
    nodes: int = 100_000
    """Nodes with every function expanded; an unrolled transformer of 48 layers has about 10 000."""
    tensors: int = 100_000
    """Initializers and constants: as many as nodes."""
    depth: int = 8
    """Graphs within graphs, and functions calling functions; a scan within a loop within a branch is 3."""
    name_bytes: int = 4096
    """Of each name; torch writes module paths of a few hundred."""
    rank: int = 16
    """Axes of a tensor; `runtime.tensor` serves no more."""
    tensor_bytes: int = 1 << 30
    """Of a tensor whose extents are known before it runs: as the model itself."""
    row_bytes: int = 1 << 26
    """Of one row of one output: `runtime.tensor` serves 2**24 elements, which is this much as FP32."""
    memory_mb: int = 2048
    """Beyond the bare process: the largest on-demand tiers but two have 2 GB, and a probe is of eight rows."""
    memory_per_byte: int = 8
    """On top, for each of the model's bytes: as sent, parsed, checked twice, loaded, optimised and rewritten."""
    cpu_s: int = 60
    """Of processor time, for about twenty short runs; RLIMIT_CPU counts whole seconds."""
    wall_s: float = 120.0
    """Twice that, as machines are shared."""
    bytes_per_s: int = 1 << 24
    """For each so many of the model's bytes a second of processor time more: 960 MiB of weights took 37 s."""

    def scaled(self, model_bytes: int) -> Caps:
        """With the memory and the time that a model of this size may take."""
        seconds = model_bytes // self.bytes_per_s
        return replace(
            self,
            memory_mb=self.memory_mb + (self.memory_per_byte * model_bytes >> 20),
            cpu_s=self.cpu_s + seconds,
            wall_s=self.wall_s + 2 * seconds,
        )


CAPS = Caps()
