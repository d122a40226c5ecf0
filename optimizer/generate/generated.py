"""What every generator takes and gives; never a generator itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from registry.model import Recipe


@dataclass(frozen=True, slots=True)
class Generated:
    """A variant made from another: its ONNX bytes and how it was made."""

    model: bytes
    recipe: Recipe


Generator = Callable[[bytes, str, Mapping[str, str]], Generated]
"""From a parent's ONNX bytes, the parent's name and parameters by name; raises GenerationFailed."""
