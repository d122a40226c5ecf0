"""Every generator by the name that a recipe gives; holds no generator itself."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from optimizer.generate.batch import batch
from optimizer.generate.compile_ import compile_
from optimizer.generate.distill import distill
from optimizer.generate.fp16 import fp16
from optimizer.generate.generated import Generator
from optimizer.generate.int8 import int8
from optimizer.generate.trees import trees

GENERATORS: Mapping[str, Generator] = MappingProxyType(
    {
        "compile": compile_,
        "int8": int8,
        "fp16": fp16,
        "batch": batch,
        "trees": trees,
        "distill": distill,
    }
)
