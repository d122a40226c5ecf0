"""Nothing is lost whatever breaks, and a benchmark of faults would notice if something were."""

from __future__ import annotations

import pytest

from benchmarks import fault_catalogues, fault_deliveries
from benchmarks.fault_house import House
from benchmarks.fault_requests import SCENARIOS, Scenario, broken, heal, run
from benchmarks.fault_tally import GRACE_S, End, Phase, Tally
from gateway.backends.protocol import Invocation
from gateway.errors import GatewayError, NotReady


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_nothing_is_lost(scenario: Scenario) -> None:
    row = run(scenario, 1.0, seed=2).row()

    assert row["requests"] == row["answered"] + row["clear_errors"] > 60
    assert row["lost"] == row["duplicated"] == row["jobs_lost"] == 0


@pytest.mark.parametrize("scenario", fault_catalogues.SCENARIOS[3:4], ids=lambda scenario: scenario.name)
def test_the_catalogue_is_never_torn(scenario: fault_catalogues.Scenario) -> None:
    row = fault_catalogues.run(scenario, 2, seed=3).row()

    assert row["requests"] == row["answered"] + row["clear_errors"] == 48
    assert row["lost"] == row["duplicated"] == row["jobs_lost"] == 0


@pytest.mark.parametrize("scenario", fault_deliveries.JOBS, ids=lambda scenario: scenario.name)
def test_every_job_ends_once_however_its_messages_come(scenario: fault_deliveries.Scenario) -> None:
    row = fault_deliveries.run_jobs(scenario, 20, seed=4).row()

    assert row["requests"] == row["answered"] + row["clear_errors"] == 20
    assert row["lost"] == row["duplicated"] == row["jobs_lost"] == 0


def test_every_judgement_counts_once_however_its_messages_come() -> None:
    row = fault_deliveries.run_judgements(fault_deliveries.JUDGEMENTS[0], 12, seed=4).row()

    assert (row["requests"], row["answered"], row["duplicated"], row["jobs_lost"]) == (12, 12, 0, 0)


def test_an_error_without_a_code_counts_as_lost() -> None:
    def begin(house: House) -> None:
        async def predict(*_: object, **__: object) -> None:
            raise GatewayError("something")

        house.service.predict = predict  # type: ignore[method-assign, assignment]

    with pytest.raises(AssertionError, match="lost"):
        run(Scenario("broken gateway", begin, heal), 1.0, seed=1)


def test_a_share_that_should_be_served_and_is_not_is_told() -> None:
    async def refuse(invocation: Invocation) -> None:
        raise NotReady("gone")

    with pytest.raises(AssertionError, match="of the requests were answered during the fault"):
        run(Scenario("everything is gone", broken(refuse), heal), 1.0, seed=1)


def test_what_comes_too_late_counts_as_lost() -> None:
    tally = Tally("late", "virtual")
    tally.ended(Phase.DURING, End.ANSWERED, 0.5 + GRACE_S, 0.5)
    tally.ended(Phase.DURING, End.ANSWERED, 0.51 + GRACE_S, 0.5)

    assert (tally.count(End.ANSWERED), tally.count(End.LOST)) == (1, 1)
    with pytest.raises(AssertionError, match="'lost': 1"):
        tally.check()
