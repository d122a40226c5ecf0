"""How many requests overlap, and which part of them finds an environment free, is as tables say."""

from __future__ import annotations

import pytest

from scheduler.overlap import copies_for, found_free


@pytest.mark.parametrize(
    ("load", "copies"), [(0.0, 1), (0.05, 1), (0.5, 2), (1.0, 3), (5.0, 9), (100.0, 117), (1000.0, 1053)]
)
def test_copies_suffice_for_all_but_a_twentieth(load: float, copies: int) -> None:
    """0.95 quantiles of the Poisson distribution, from its tables."""
    assert copies_for(load) == copies


@pytest.mark.parametrize(
    ("load", "copies", "share"),
    [(0.0, 1, 1.0), (1.0, 1, 0.5), (1.0, 3, 0.9375), (10.0, 10, 0.7854), (900.0, 9, 0.01)],
)
def test_what_part_of_requests_finds_a_copy_free(load: float, copies: int, share: float) -> None:
    """By Erlang's tables."""
    assert found_free(load, copies)[-1] == pytest.approx(share, abs=1e-4)
