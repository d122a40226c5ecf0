"""Whatever was measured, what is dropped has lost to one that is kept, and what was registered stays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from optimizer.screen import Figures, better_on, dropped

TURNS = 4


def times() -> st.SearchStrategy[tuple[float, ...]]:
    return st.lists(st.floats(0.5, 2.0), min_size=TURNS, max_size=TURNS).map(tuple)


FIGURES = st.builds(
    Figures,
    accuracy=st.sampled_from([0.8, 0.9, 0.95]),
    row_ms=times(),
    batch_row_ms=times(),
    load_ms=times(),
    memory_mb=st.floats(0, 4),
    size_bytes=st.integers(1, 10),
    max_batch=st.sampled_from([1, 8]),
    tiers=st.sampled_from([frozenset({"inline"}), frozenset({"inline", "gpu"})]),
)


@given(st.lists(FIGURES, min_size=1, max_size=7), st.integers(0, 3))
def test_what_is_dropped_has_lost_to_what_is_kept(measured: list[Figures], registered: int) -> None:
    figures = {f"v{i}": found for i, found in enumerate(measured)}
    generated = list(figures)[registered:]
    beaten = dropped(figures, generated)
    assert set(beaten) <= set(generated)
    for name, winner in beaten.items():
        assert winner not in beaten
        assert winner != name
        assert better_on(figures[name], figures[winner]) == ()
    assert len(beaten) < len(figures)


@given(FIGURES)
def test_nothing_is_better_than_itself(found: Figures) -> None:
    assert better_on(found, found) == ()
    assert set(dropped({"original": found, "same": found}, ["same"])) == {"same"}
