"""A graph compiled for one CPU feature level runs on that level alone."""

from __future__ import annotations

import pytest

from registry.isa import LEVELS, PORTABLE, level_of, runs_on
from registry.model import Recipe

ICE_LAKE = ("avx2", "avx512f", "avx512_vnni")
ROME = ("avx2",)
GRAVITON = ("asimd", "asimddp")


@pytest.mark.parametrize(
    ("flags", "level"),
    [(ICE_LAKE, "avx512"), (ROME, "avx2"), (GRAVITON, "neon"), ((), PORTABLE), (("sse2",), PORTABLE)],
)
def test_the_widest_level_counts(flags: tuple[str, ...], level: str) -> None:
    assert level_of(flags) == level


@pytest.mark.parametrize("level", [level for level, _ in LEVELS])
@pytest.mark.parametrize("flags", [ICE_LAKE, ROME, GRAVITON, ()])
def test_blocks_of_another_size_are_refused_in_both_directions(level: str, flags: tuple[str, ...]) -> None:
    assert runs_on(Recipe("compile", "net", (("level", level),)), flags) == (level == level_of(flags))


@pytest.mark.parametrize("recipe", [Recipe("compile", "net", (("level", PORTABLE),)), Recipe("int8", "net")])
@pytest.mark.parametrize("flags", [ICE_LAKE, ROME, GRAVITON, ()])
def test_everything_else_runs_anywhere(recipe: Recipe, flags: tuple[str, ...]) -> None:
    assert runs_on(recipe, flags)
