"""CPU feature levels that a graph may be compiled for; pure: it is told a CPU's flags, and never looks for them."""

from __future__ import annotations

from collections.abc import Collection

from registry.model import Recipe

PORTABLE = "portable"
"""The level of what runs anywhere."""

LEVELS: tuple[tuple[str, str], ...] = (("avx512", "avx512f"), ("avx2", "avx2"), ("neon", "asimd"))
"""Each level and the flag in /proc/cpuinfo that a CPU has it by, the widest first. They are told apart because ONNX
Runtime lays convolutions out in blocks of 16 channels where there is AVX-512 and of 8 where there is not (MLAS,
platform.cpp, NchwcBlockSize): a graph laid out for one answers nonsense on the other, without an error."""


def level_of(flags: Collection[str]) -> str:
    """The level of a CPU with these flags; PORTABLE when it has none."""
    return next((level for level, flag in LEVELS if flag in flags), PORTABLE)


def runs_on(recipe: Recipe, flags: Collection[str]) -> bool:
    """Whether a variant of this recipe answers rightly on a CPU with these flags: its level has to be the same."""
    return dict(recipe.parameters).get("level", PORTABLE) in (PORTABLE, level_of(flags))
