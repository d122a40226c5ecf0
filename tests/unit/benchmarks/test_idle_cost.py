"""Idle costs against figures worked out by hand; what has no price is never free."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.deployed import Resources, all_resources
from benchmarks.idle_cost import SETTINGS, TARGET_USD, TEMPLATE, tiers_of, usd_per_million, usd_per_start
from benchmarks.idle_prices import FREE, PRICED, Bill, Item, Unpriced, bill_of
from registry.prices import lambda_tiers

API: dict[str, Any] = {"MemorySize": 512, "Architectures": ["arm64"], "Environment": {"Variables": {}}}

ALARM = "AWS::CloudWatch::Alarm"
METRIC = {"MetricStat": {}}


def resource(kind: str, **properties: Any) -> dict[str, Any]:
    return {"Type": kind, "Properties": properties}


@pytest.fixture(scope="module")
def stacks() -> dict[str, Resources]:
    """What every setting deploys."""
    return {name: all_resources(TEMPLATE, **parameters) for name, parameters in SETTINGS.items()}


@pytest.fixture(scope="module")
def bills(stacks: dict[str, Resources]) -> dict[str, Bill]:
    """Every setting's month."""
    return {name: bill_of(resources) for name, resources in stacks.items()}


def test_by_default_it_costs_next_to_nothing(bills: dict[str, Bill]) -> None:
    by_kind = bills["default"].by_kind()

    assert bills["default"].usd <= TARGET_USD
    # Five polls in twenty seconds on each of two queues, at 40 cents a million.
    assert by_kind["queue polls"] == pytest.approx(2 * 15 * 60 * 730 * 0.4e-6)
    # A gigabyte of artifacts, and a hundredth of that in a table that can be restored.
    assert by_kind["bucket (GB)"] + by_kind["table (GB)"] == pytest.approx(0.023 + 0.0025)
    assert set(by_kind) == {"queue polls", "alarms", "bucket (GB)", "table (GB)", "table, recoverable (GB)"}


def test_a_cached_snapshot_is_what_makes_idleness_dear(bills: dict[str, Bill]) -> None:
    more = bills["snapstart smallest"].usd - bills["default"].usd

    assert more == pytest.approx(6.83, abs=0.005)
    assert bills["snapstart all"].usd - bills["default"].usd == pytest.approx(
        more * (1769 + 3538 + 5307 + 10240) / 1769
    )


def test_a_warm_budget_costs_its_two_runs_a_minute(bills: dict[str, Bill]) -> None:
    by_kind = bills["warm"].by_kind()

    assert by_kind["schedules"] == pytest.approx(2 * 43_800 * 1e-6)
    assert by_kind["GB-s of capacity"] == pytest.approx(2 * 43_800 * 0.5 * 1769 / 1024 * 1.33334e-5)
    # The table's key is asked for once in five minutes by each.
    assert by_kind["key requests"] == pytest.approx(2 * 8_760 * 3e-6)


def test_a_key_that_dynamodb_owns_costs_nothing(stacks: dict[str, Resources]) -> None:
    table = stacks["warm"]["Table"]
    owned = {**table, "Properties": {k: v for k, v in table["Properties"].items() if k != "SSESpecification"}}

    assert "key requests" not in bill_of({**stacks["warm"], "Table": owned}).by_kind()


def test_a_gpu_at_zero_copies_adds_its_alarm_alone(bills: dict[str, Bill]) -> None:
    assert bills["gpu"].usd - bills["default"].usd == pytest.approx(2 * 0.10)


def test_an_instance_that_stays_would_be_noticed() -> None:
    variant = {"InstanceType": "ml.g5.xlarge", "InitialInstanceCount": 1}
    stays = resource("AWS::SageMaker::EndpointConfig", ProductionVariants=[variant])

    assert bill_of({"Config": stays}).usd == pytest.approx(730 * 1.408)


@pytest.mark.parametrize(
    ("unknown", "named"),
    [
        (resource("AWS::EC2::NatGateway"), "AWS::EC2::NatGateway"),
        (resource("AWS::DynamoDB::Table", BillingMode="PROVISIONED"), "provisioned"),
        (resource("AWS::Lambda::EventSourceMapping", ProvisionedPollerConfig={}), "provisioned"),
        (resource("AWS::Scheduler::Schedule", ScheduleExpression="cron(0 * * * ? *)"), "cron"),
    ],
)
def test_what_has_no_price_is_not_free(unknown: dict[str, Any], named: str) -> None:
    with pytest.raises(Unpriced, match=named):
        bill_of({"Thing": unknown})
    assert not FREE & set(PRICED)


def test_arithmetic_costs_the_metrics_that_it_reads() -> None:
    three = resource(ALARM, Metrics=[{"Expression": "a / b"}, METRIC, METRIC, METRIC])

    assert bill_of({"One": resource(ALARM, MetricName="Errors"), "Three": three}).usd == pytest.approx(0.4)


def test_what_is_free_is_free_once() -> None:
    bill = Bill((Item("polls", 600, 0.01, free=1000), Item("polls", 600, 0.01, free=1000), Item("other", 1, 3.0)))

    assert bill.usd == pytest.approx(15.0)
    assert bill.usd_with_allowances == pytest.approx(2.0 + 3.0)


def test_a_million_requests_on_the_smallest_worker() -> None:
    (tier,) = (tier for tier in lambda_tiers() if tier.name == "lambda-1769")

    # The worker's 100 ms and its request; the front door, the api's request and 110 ms of half a GB; logs; traces.
    by_hand = (2.879 + 0.2) + (1.0 + 0.2 + 0.11 * 0.5 * 13.3334) + 0.75 + 0.25
    assert usd_per_million(tier, API) == pytest.approx(by_hand, abs=0.001)


def test_an_isolated_environment_pays_for_its_start() -> None:
    (tier,) = (tier for tier in lambda_tiers() if tier.name == "lambda-3538")

    assert usd_per_start(tier, isolated=False) == 0.0
    assert usd_per_start(tier, isolated=True) == pytest.approx(0.000166667 * 3538 / 1024)


def test_each_setting_s_tiers_are_those_it_deploys(stacks: dict[str, Resources]) -> None:
    tiers = {
        name: [tier.name for tier in tiers_of(resources["ApiFunction"]["Properties"])]
        for name, resources in stacks.items()
    }

    assert tiers["default"] == ["lambda-1769", "lambda-3538", "lambda-5307", "lambda-10240"]
    assert tiers["snapstart smallest"] == ["lambda-1769-snapstart", *tiers["default"][1:]]
    assert tiers["isolated"] == ["lambda-3538"]
    assert tiers["gpu"] == [*tiers["default"], "gpu-sagemaker-g6"]
