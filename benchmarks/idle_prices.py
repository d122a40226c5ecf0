"""What each kind of resource costs a month while nobody asks for anything: a table by CloudFormation type.

A kind that the table does not know is an error and not free. Prices are those of registry/data/prices.json; what else
is counted (polls of a queue, runs of a schedule, a little data) is said here, with where it comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.deployed import Resources
from registry.model import StartMode
from registry.prices import MB_PER_GB, figures, lambda_price

HOURS_PER_MONTH = 730.0
SECONDS_PER_MONTH = HOURS_PER_MONTH * 3600

POLLERS, POLL_S = 5, 20.0
"""Long polls that Lambda keeps open on a queue it reads, each of which SQS bills when it comes back empty: five at
least (AWS News Blog, "AWS Lambda adds Amazon SQS to supported event sources"), for the longest wait that SQS has."""

MINUTES = {"rate(1 minute)": 1.0}
"""A schedule's expression to the minutes between two runs."""

CAPACITY_RUN_S = 0.5
CAPACITY_READS, CAPACITY_WRITES = 10, 1
"""Assumed of a run of prewarm or evict that finds nothing asked for: its time, and what it reads and claims."""

KEY_MINUTES = 5
"""For which DynamoDB keeps a table's key for a connection; then it asks KMS again (KMS Developer Guide, "How Amazon
DynamoDB uses AWS KMS")."""

TABLE_GB, BUCKET_GB = 0.01, 1.0
"""Assumed: a catalogue of some hundred variants, and their artifacts."""


class Unpriced(Exception):
    """A kind of resource has no price here, so nobody knows what the stack costs."""


@dataclass(frozen=True, slots=True)
class Item:
    """What one resource is billed for in a month."""

    what: str
    quantity: float
    usd_each: float
    free: float = 0.0
    """So much of it, over all of an account, is always free."""

    @property
    def usd(self) -> float:
        """At list price."""
        return self.quantity * self.usd_each


@dataclass(frozen=True, slots=True)
class Bill:
    """A stack's month without requests."""

    items: tuple[Item, ...] = field(default=())

    @property
    def usd(self) -> float:
        """At list price, as if the account had used up all that is free."""
        return sum(item.usd for item in self.items)

    @property
    def usd_with_allowances(self) -> float:
        """For an account that has nothing else."""
        return sum(usd for usd, _ in self._by_kind().values())

    def by_kind(self) -> dict[str, float]:
        """At list price, in dollars, of what is billed at all."""
        totals: dict[str, float] = {}
        for item in self.items:
            totals[item.what] = totals.get(item.what, 0.0) + item.usd
        return {what: usd for what, usd in totals.items() if usd}

    def _by_kind(self) -> dict[str, tuple[float, float]]:
        """What is left to pay of each kind, and how much of it there is."""
        left: dict[str, tuple[float, float]] = {}
        for what in dict.fromkeys(item.what for item in self.items):
            alike = [item for item in self.items if item.what == what]
            quantity = sum(item.quantity for item in alike)
            left[what] = (max(0.0, quantity - alike[0].free) * alike[0].usd_each, quantity)
        return left


def bill_of(resources: Resources) -> Bill:
    """The month of a stack and those nested in it; raises Unpriced for a kind of resource that has no price here."""
    unknown = sorted({resource["Type"] for resource in resources.values()} - FREE - set(PRICED))
    if unknown:
        raise Unpriced(f"no idle price for {', '.join(unknown)}; look it up and add it to benchmarks/idle_prices.py")
    return Bill(
        tuple(
            item
            for resource in resources.values()
            if resource["Type"] in PRICED
            for item in PRICED[resource["Type"]](resource["Properties"], resources)
        )
    )


def _version(version: Mapping[str, Any], resources: Resources) -> Iterable[Item]:
    """A published version costs only where a snapshot of it is cached."""
    function = resources[version["FunctionName"]["Ref"]]["Properties"]
    if function.get("SnapStart", {}).get("ApplyOn") != "PublishedVersions":
        return
    price = lambda_price(function["MemorySize"], arch=function["Architectures"][0], start_mode=StartMode.SNAPSTART)
    yield Item(f"snapshot of {function['MemorySize']} MB (s)", SECONDS_PER_MONTH, price.usd_per_idle_s)


def _queue_reader(mapping: Mapping[str, Any], _: Resources) -> Iterable[Item]:
    if "ProvisionedPollerConfig" in mapping:
        raise Unpriced("pollers that are provisioned cost by the hour")
    sheet = figures()["sqs"]
    polls = POLLERS * SECONDS_PER_MONTH / POLL_S
    yield Item("queue polls", polls, sheet["usd_per_request"], sheet["free"]["requests"])


def _schedule(schedule: Mapping[str, Any], resources: Resources) -> Iterable[Item]:
    """A schedule, and the function that it runs."""
    minutes = MINUTES.get(schedule["ScheduleExpression"])
    if minutes is None:
        raise Unpriced(f"{schedule['ScheduleExpression']} is no schedule that is known here")
    sheet, table = figures()["lambda"], figures()["dynamodb"]
    runs = HOURS_PER_MONTH * 60 / minutes
    function = resources[schedule["Target"]["Arn"]["Ref"].removesuffix("Aliaslive")]["Properties"]
    gb_s = runs * CAPACITY_RUN_S * function["MemorySize"] / MB_PER_GB
    scheduler = figures()["scheduler"]
    yield Item("schedules", runs, scheduler["usd_per_invocation"], scheduler["free"]["invocations"])
    yield Item("runs of capacity", runs, sheet["usd_per_request"], sheet["free"]["requests"])
    yield Item("GB-s of capacity", gb_s, sheet["usd_per_gb_s"][function["Architectures"][0]], sheet["free"]["gb_s"])
    yield Item("table reads", runs * CAPACITY_READS, table["usd_per_read"])
    yield Item("table writes", runs * CAPACITY_WRITES, table["usd_per_write"])
    if _asks_kms(resources):
        kms = figures()["kms"]
        asked = HOURS_PER_MONTH * 60 / max(minutes, KEY_MINUTES)
        yield Item("key requests", asked, kms["usd_per_request"], kms["free"]["requests"])


def _asks_kms(resources: Resources) -> bool:
    """Whether a table's key is one of the account's, and not DynamoDB's own, of which nothing is billed."""
    tables = [resource for resource in resources.values() if resource["Type"] == "AWS::DynamoDB::Table"]
    return any(table["Properties"].get("SSESpecification", {}).get("SSEEnabled") for table in tables)


def _alarm(alarm: Mapping[str, Any], _: Resources) -> Iterable[Item]:
    """Arithmetic is billed by the metrics that it reads."""
    sheet = figures()["cloudwatch"]
    read = [entry for entry in alarm["Metrics"] if "MetricStat" in entry] if "Metrics" in alarm else [alarm]
    yield Item("alarms", len(read), sheet["usd_per_alarm_metric_month"], sheet["free"]["alarm_metrics"])


def _composite(_: Mapping[str, Any], __: Resources) -> Iterable[Item]:
    yield Item("composite alarms", 1, figures()["cloudwatch"]["usd_per_composite_alarm_month"])


def _dashboard(_: Mapping[str, Any], __: Resources) -> Iterable[Item]:
    sheet = figures()["cloudwatch"]
    yield Item("dashboards", 1, sheet["usd_per_dashboard_month"], sheet["free"]["dashboards"])


def _table(table: Mapping[str, Any], _: Resources) -> Iterable[Item]:
    if table["BillingMode"] != "PAY_PER_REQUEST":
        raise Unpriced("a table with provisioned capacity costs by the hour")
    sheet = figures()["dynamodb"]
    yield Item("table (GB)", TABLE_GB, sheet["usd_per_gb_month"])
    if table.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled"):
        yield Item("table, recoverable (GB)", TABLE_GB, sheet["usd_per_gb_month_recoverable"])


def _bucket(_: Mapping[str, Any], __: Resources) -> Iterable[Item]:
    yield Item("bucket (GB)", BUCKET_GB, figures()["s3"]["usd_per_gb_month"])


def _endpoint(config: Mapping[str, Any], _: Resources) -> Iterable[Item]:
    """The instances that an endpoint keeps when nobody asks; with none of them it costs nothing."""
    sheet = figures()["gpu"]["instances"]
    for variant in config["ProductionVariants"]:
        scaling = variant.get("ManagedInstanceScaling", {})
        least = scaling["MinInstanceCount"] if scaling.get("Status") == "ENABLED" else variant["InitialInstanceCount"]
        yield Item("GPU instances (h)", least * HOURS_PER_MONTH, sheet[variant["InstanceType"]]["usd_per_h"])


PRICED: Mapping[str, Callable[[Mapping[str, Any], Resources], Iterable[Item]]] = {
    "AWS::Lambda::Version": _version,
    "AWS::Lambda::EventSourceMapping": _queue_reader,
    "AWS::Scheduler::Schedule": _schedule,
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::CloudWatch::CompositeAlarm": _composite,
    "AWS::CloudWatch::Dashboard": _dashboard,
    "AWS::DynamoDB::Table": _table,
    "AWS::S3::Bucket": _bucket,
    "AWS::SageMaker::EndpointConfig": _endpoint,
}
"""What is billed for being there, or has something run for it."""

FREE = frozenset(
    {
        "AWS::ApiGatewayV2::Api",  # by the request, as all of an HTTP API
        "AWS::ApiGatewayV2::Authorizer",
        "AWS::ApiGatewayV2::Integration",
        "AWS::ApiGatewayV2::Route",
        "AWS::ApiGatewayV2::Stage",
        "AWS::ApplicationAutoScaling::ScalableTarget",
        "AWS::ApplicationAutoScaling::ScalingPolicy",
        "AWS::Budgets::Budget",  # those that only tell are free
        "AWS::CloudFormation::Stack",  # its resources are walked
        "AWS::CodeDeploy::Application",  # free for Lambda
        "AWS::CodeDeploy::DeploymentGroup",
        "AWS::Events::Rule",  # AWS's own events, schedules among them, are free
        "AWS::IAM::ManagedPolicy",
        "AWS::IAM::Role",
        "AWS::IAM::RolePolicy",
        "AWS::Lambda::Alias",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Lambda::Function",  # by the request; what is published of it is a version
        "AWS::Lambda::Permission",
        "AWS::Lambda::Url",
        "AWS::Logs::LogGroup",  # by the byte, and nobody writes
        "AWS::S3::BucketPolicy",
        "AWS::SNS::Topic",  # by the message; a thousand mails a month are free
        "AWS::SQS::Queue",  # by the request; who reads it is an event source mapping
        "AWS::SageMaker::Endpoint",  # by its instances: see its config
        "AWS::SageMaker::InferenceComponent",
    }
)
"""What costs nothing while nobody asks for anything."""
