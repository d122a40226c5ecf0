from __future__ import annotations

import numpy as np
import pytest

from registry.errors import NotFound
from registry.model import LEVELS, Price
from registry.prices import invocation_cost, lambda_tiers, local_tiers
from scheduler.table import COLD, LOAD, RESIDENT, RESTORED, SIZES_KEPT, STATES, table_of

MEDIAN = LEVELS.index(0.5)


def median(table, rows: int, state: int, placement: int = 0) -> float:
    return float(table.batch(rows).grid[MEDIAN, table.columns[state, placement]])


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(1, 10.0), (2, 10.0), (3, 15.0), (4, 20.0), (6, 21.0), (8, 22.0), (10, 23.0), (64, 50.0)],
)
def test_service_is_linear_between_and_beyond_measured_sizes(build, spec, flat, rows: int, expected: float) -> None:
    """Measured at 2, 4 and 8: the smallest holds below 2, the last slope (1/2 ms a row) above 8."""
    table = table_of(build(spec("a", service={2: flat(10.0), 4: flat(20.0), 8: flat(22.0)})), "t")
    assert median(table, rows, RESIDENT) == pytest.approx(expected)


def test_extrapolation_never_falls(build, spec, flat) -> None:
    table = table_of(build(spec("a", service={1: flat(10.0), 2: flat(8.0)})), "t")
    assert median(table, 32, RESIDENT) == 8.0


def test_a_single_size_grows_with_the_rows(build, spec, flat) -> None:
    table = table_of(build(spec("a", service={2: flat(10.0)}, load=flat(3.0))), "t")
    assert [median(table, rows, RESIDENT) for rows in (1, 2, 4, 8)] == [10.0, 10.0, 20.0, 40.0]
    assert [median(table, rows, LOAD) for rows in (1, 2, 4, 8)] == [13.0, 13.0, 23.0, 43.0]


def test_placements_with_different_sizes_share_a_table(build, spec, flat) -> None:
    catalogue = build(spec("a", service={1: flat(1.0)}), spec("b", service={1: flat(1.0), 4: flat(4.0), 8: flat(20.0)}))
    table = table_of(catalogue, "t")
    assert [median(table, rows, RESIDENT, 1) for rows in (2, 6, 16)] == [2.0, 12.0, 52.0]
    assert [median(table, rows, RESIDENT, 0) for rows in (2, 6, 16)] == [2.0, 6.0, 16.0]


def test_each_start_state_adds_its_steps(build, spec, flat, ramp) -> None:
    table = table_of(build(spec("a", service={1: flat(10.0)}, load=flat(5.0), init=ramp(100.0, 200.0))), "t")
    grid = table.batch(1).grid[:, table.columns[:, 0]]
    assert grid[:, RESIDENT].tolist() == [10.0] * len(LEVELS)
    assert grid[:, LOAD].tolist() == [15.0] * len(LEVELS)
    assert grid[:, COLD] == pytest.approx([115 + 100 * level for level in LEVELS])
    assert grid[:, RESTORED] == pytest.approx([110 + 100 * level for level in LEVELS])
    deviations = table.batch(1).deviation[table.columns[:, 0]]
    assert deviations == pytest.approx([0.0, 0.0, 100 / np.sqrt(12), 100 / np.sqrt(12)], rel=0.01)


def test_independent_steps_are_no_sum_of_percentiles(build, spec, ramp) -> None:
    """Two uniforms on [0, 100]: the 95th percentile of the sum is 200 - 100 sqrt(0.1) = 168.4, not 190."""
    table = table_of(build(spec("a", service={1: ramp(0, 100)}, load=ramp(0, 100))), "t")
    assert table.batch(1).grid[LEVELS.index(0.95), table.columns[LOAD, 0]] == pytest.approx(168.4, rel=0.02)


def test_costs_are_those_of_the_price_model(build, spec, flat, ramp) -> None:
    tiers = (*local_tiers(), *lambda_tiers())
    specs = [
        spec("a", t.name, service={1: flat(3.3), 4: ramp(5.0, 9.4)}, load=flat(7.7), init=ramp(30.0, 81.1))
        for t in tiers
    ]
    catalogue = build(*specs, tiers=tiers)
    table = table_of(catalogue, "t")
    for rows, billed in ((1, 3.3), (2, 3.3 + (7.2 - 3.3) / 3), (4, 7.2)):
        costs = table.batch(rows).cost.reshape(STATES, -1)
        for i, placement in enumerate(table.placements):
            price = catalogue.tiers[placement.tier].price
            assert costs[:, i].tolist() == pytest.approx(
                [
                    invocation_cost(price, billed),
                    invocation_cost(price, billed + 7.7),
                    invocation_cost(price, billed + 7.7, cold=True, init_ms=55.55),
                    invocation_cost(price, billed, cold=True, init_ms=55.55),
                ],
                rel=1e-12,
            )


def test_costs_by_hand(build, spec, flat, tier) -> None:
    """10.2 ms are billed as 20 ms of a dollar a second, on a dollar a request; a start adds 3 and bills INIT."""
    price = Price(usd_per_busy_s=1.0, usd_per_request=1.0, usd_per_start=3.0, step_ms=10.0)
    free_init = Price(usd_per_busy_s=1.0, bills_init=False, step_ms=10.0)
    catalogue = build(
        *(spec("a", name, service={1: flat(10.2)}, load=flat(5.0), init=flat(100.0)) for name in ("cpu", "free")),
        tiers=(tier("cpu", price=price), tier("free", price=free_init)),
    )
    costs = table_of(catalogue, "t").batch(1).cost.reshape(STATES, 2)
    assert costs[:, 0] == pytest.approx([1.02, 1.02, 4.12, 4.12])
    assert costs[:, 1] == pytest.approx([0.02, 0.02, 0.02, 0.02])


@pytest.mark.parametrize("service_ms", [10.0, 10.0000049, 10.0001, 9.9999, 0.0])
def test_a_step_is_paid_when_a_run_is_into_it_by_more_than_a_rounding(build, spec, flat, tier, service_ms) -> None:
    price = Price(usd_per_busy_s=1.0, step_ms=10.0)
    table = table_of(build(spec("a", service={1: flat(service_ms)}), tiers=(tier("cpu", price=price),)), "t")
    batch, columns = table.batch(1), table.columns[RESIDENT]
    as_profiled, twice = (batch.live_cost(table.prices, columns, np.array([slower])) for slower in (0.0, 1.0))
    assert as_profiled[0] == batch.cost[columns[0]] == invocation_cost(price, service_ms)
    assert twice[0] == pytest.approx(invocation_cost(price, 2.0 * service_ms), rel=1e-12)


def test_a_batch_that_is_too_large_fits_nowhere(build, spec) -> None:
    table = table_of(build(spec("a", max_batch=4), spec("b", max_batch=8)), "t")
    assert [table.batch(rows).fits.tolist() for rows in (4, 8, 9)] == [[True, True], [False, True], [False, False]]
    assert table.batch(10_000) is table.batch(9)


def test_tables_and_batches_are_made_once(build, spec) -> None:
    catalogue = build(spec("a"))
    assert table_of(catalogue, "t") is table_of(catalogue, "t")
    assert table_of(catalogue, "t").batch(3) is table_of(catalogue, "t").batch(3)


def test_what_was_measured_is_summed_once_for_all_snapshots(build, spec, flat) -> None:
    first = build(spec("a", accuracy=0.9, load=flat(7.0)), spec("b"))
    judged, measured = (
        build(spec("a", accuracy=0.8, load=flat(7.0)), spec("b")),
        build(spec("a", load=flat(8.0)), spec("b")),
    )
    tables = [table_of(catalogue, "t") for catalogue in (first, judged, measured)]
    assert tables[0].accuracy.tolist() != tables[1].accuracy.tolist()
    assert tables[0].times is tables[1].times
    assert tables[0].times.tolist() != tables[2].times.tolist()


def test_an_unmeasured_task_has_an_empty_table(build, spec) -> None:
    table = table_of(build(spec("a", profiled=False)), "t")
    assert table.placements == ()
    assert table.batch(1).fits.tolist() == []


def test_an_unknown_task_is_not_found(build) -> None:
    with pytest.raises(NotFound, match="no task 'nobody'"):
        table_of(build(), "nobody")


def test_a_table_does_not_keep_every_size_it_ever_saw(build, spec) -> None:
    table = table_of(build(spec("a", max_batch=10_000)), "t")
    for rows in range(1, 3 * SIZES_KEPT):
        assert median(table, rows, RESIDENT) == pytest.approx(10.0 * rows)
    assert len(table._batches) <= SIZES_KEPT
