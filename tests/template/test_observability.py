"""infra/observability.yaml watches what is emitted, by the dimensions that it is emitted with, and says what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.measures import METRICS, NAMESPACE

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()

AWS_METRICS = {
    "AWS/Lambda": {"Errors", "Throttles", "ConcurrentExecutions"},
    "AWS/SQS": {"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"},
    "AWS/DynamoDB": {
        "ConsumedReadCapacityUnits",
        "ConsumedWriteCapacityUnits",
        "ReadThrottleEvents",
        "WriteThrottleEvents",
    },
}
"""Of the services' own metrics (their developer guides) those that are used."""

ALARM_METRIC_USD, COMPOSITE_USD = 0.10, 0.50
"""A month, each (CloudWatch pricing); an alarm of arithmetic costs as much as the metrics that it reads."""

METRIC_ALARM, COMPOSITE_ALARM = "AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"


def parsed(name: str) -> dict[str, Any]:
    from samtranslator.yaml_helper import yaml_parse

    found: dict[str, Any] = yaml_parse((ROOT / "infra" / name).read_text())
    return found


@pytest.fixture(scope="session")
def observability() -> dict[str, Any]:
    return parsed("observability.yaml")


def alarms(template: dict[str, Any], *kinds: str) -> dict[str, dict[str, Any]]:
    kinds = kinds or (METRIC_ALARM, COMPOSITE_ALARM)
    return {name: resource for name, resource in template["Resources"].items() if resource["Type"] in kinds}


def metrics_of(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """The metrics that an alarm reads: namespace, name, dimensions."""
    if "MetricName" in alarm:
        return [alarm]
    return [entry["MetricStat"]["Metric"] for entry in alarm["Metrics"] if "MetricStat" in entry]


def widget_metrics(template: dict[str, Any]) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Namespace, name, dimensions and the service, if one is named, of each metric that a widget shows."""
    body = re.sub(
        r"\$\{SloTarget\}", "99", template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    )
    for widget in json.loads(body)["widgets"]:
        for metric in widget["properties"]["metrics"]:
            if isinstance(metric[0], dict):
                yield from searched(metric[0]["expression"])
                continue
            namespace, name, *pairs = [part for part in metric if isinstance(part, str)]
            yield namespace, name, tuple(pairs[::2]), pairs[1] if pairs[0] == "service" else ""


def searched(expression: str) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    for schema, terms in re.findall(r"SEARCH\('\{([^}]*)\} ([^']*)'", expression):
        namespace, *dimensions = schema.split(",")
        name = re.findall(r'MetricName="(\w+)"', terms)[0]
        yield namespace, name, tuple(dimensions), re.findall(r'service="([^"]+)"', terms)[0]


def check_emitted(namespace: str, name: str, dimensions: tuple[str, ...]) -> None:
    if namespace == NAMESPACE:
        assert dimensions[0] == "service"
        assert dimensions[1:] in METRICS[name].by, name
    else:
        assert name in AWS_METRICS[namespace]


def test_each_alarm_watches_what_is_emitted(observability: dict[str, Any]) -> None:
    for name, alarm in alarms(observability, METRIC_ALARM).items():
        read = metrics_of(alarm["Properties"])
        assert read, name
        for metric in read:
            check_emitted(metric["Namespace"], metric["MetricName"], tuple(d["Name"] for d in metric["Dimensions"]))


def test_each_widget_shows_what_is_emitted(observability: dict[str, Any]) -> None:
    shown = list(widget_metrics(observability))
    assert len(shown) > 30
    for namespace, name, dimensions, _ in shown:
        check_emitted(namespace, name, dimensions)


def test_arithmetic_names_only_the_metrics_beside_it(observability: dict[str, Any]) -> None:
    for name, alarm in alarms(observability, METRIC_ALARM).items():
        for entry in alarm["Properties"].get("Metrics", ()):
            if "Expression" in entry:
                text = entry["Expression"]["Fn::Sub"] if isinstance(entry["Expression"], dict) else entry["Expression"]
                used = set(re.findall(r"[a-z]\w*", re.sub(r"\$\{\w+\}", "", text)))
                given = {other["Id"] for other in alarm["Properties"]["Metrics"] if "MetricStat" in other}
                assert used == given, name


def test_the_burn_rates_are_the_workbooks(observability: dict[str, Any]) -> None:
    """Site Reliability Workbook, chapter 5: a long window and one of a twelfth, by the share of the budget it takes."""
    windows = {}
    for name, alarm in alarms(observability, METRIC_ALARM).items():
        if name.startswith("Slo"):
            (period,) = {m["MetricStat"]["Period"] for m in alarm["Properties"]["Metrics"] if "MetricStat" in m}
            windows[name] = (period, alarm["Properties"]["Threshold"])
    assert windows == {
        "SloHour": (3600, 14.4),
        "SloFiveMinutes": (300, 14.4),
        "SloSixHours": (21600, 6),
        "SloHalfHour": (1800, 6),
    }
    month_s = 30 * 86400
    assert [windows[name][0] * windows[name][1] / month_s for name in ("SloHour", "SloSixHours")] == pytest.approx(
        [0.02, 0.05]
    )


def test_no_data_is_no_alarm_and_somebody_hears_of_each(observability: dict[str, Any]) -> None:
    rules = [a["Properties"]["AlarmRule"]["Fn::Sub"] for a in alarms(observability, COMPOSITE_ALARM).values()]
    combined = {name for rule in rules for name in re.findall(r"\$\{(\w+)\}", rule)}
    for name, alarm in alarms(observability, METRIC_ALARM).items():
        assert alarm["Properties"]["TreatMissingData"] == "notBreaching"
        assert "AlarmActions" in alarm["Properties"] or name in combined, name
    assert combined <= set(alarms(observability, METRIC_ALARM))


def test_each_alarm_has_a_runbook_and_each_runbook_an_alarm(observability: dict[str, Any]) -> None:
    runbooks = OPERATIONS.partition("\n## Runbooks\n")[2].partition("\n## ")[0]
    named = {name for heading in re.findall(r"^### (.+)$", runbooks, re.M) for name in re.findall(r"\w+", heading)}
    every = alarms(observability) | alarms(parsed("gpu.yaml"))
    assert named == set(every)
    for name, alarm in every.items():
        assert f"(docs/operations.md, {name})" in alarm["Properties"]["AlarmDescription"]


def monthly_usd(template: dict[str, Any], level: str) -> float:
    """What a level's alarms cost a month, where everything is deployed."""
    usd = 0.0
    for alarm in alarms(template).values():
        if level == "few" and "Condition" in alarm:
            continue
        single = alarm["Type"] == METRIC_ALARM
        usd += ALARM_METRIC_USD * len(metrics_of(alarm["Properties"])) if single else COMPOSITE_USD
    return usd


@pytest.mark.parametrize("level", ["few", "all"])
def test_what_alarms_cost_is_what_operators_are_told(level: str, observability: dict[str, Any]) -> None:
    (told,) = re.findall(rf"^\| `Alarms={level}`.*\| ([0-9.]+) \|$", OPERATIONS, re.M)
    assert float(told) == pytest.approx(monthly_usd(observability, level))


def test_what_metrics_cost_is_what_operators_are_told() -> None:
    metric_month_usd = 0.30
    for by, row in (
        ((), "metrics of a service"),
        (("task", "tier"), "metrics of a task on a tier"),
        (("tier",), "metrics of a tier"),
    ):
        (told,) = re.findall(rf"^\| {row} .*\| (?:up to )?([0-9.]+) \|$", OPERATIONS, re.M)
        assert float(told) == pytest.approx(metric_month_usd * sum(by in metric.by for metric in METRICS.values())), row


@pytest.mark.parametrize("stage", ["dev", "prod", "local"])
def test_it_is_given_what_it_asks_for(stage: str, observability: dict[str, Any], deploy: Any) -> None:
    resources = deploy(Stage=stage, Alarms="all", WarmBudgetUsdPerHour="0.5", Optimizer="on")
    if stage == "local":
        assert "Observability" not in resources
        return
    given = resources["Observability"]["Properties"]["Parameters"]
    asked = observability["Parameters"]
    assert set(given) <= set(asked)
    assert {name for name, parameter in asked.items() if "Default" not in parameter} <= set(given)
    for name, value in given.items():
        for reference in (value.get("Ref"), (value.get("Fn::GetAtt") or [None])[0]) if isinstance(value, dict) else ():
            assert reference is None or reference == name or reference.startswith("AWS::"), name


def test_without_prewarm_and_optimize_their_alarms_stay_away(deploy: Any) -> None:
    given = deploy(Alarms="all")["Observability"]["Properties"]["Parameters"]
    assert {given[name] for name in ("PrewarmFunction", "EvictFunction", "OptimizeFunction")} == {"-"}


def test_a_canary_goes_back_on_the_alarms_of_the_api(observability: dict[str, Any], deploy: Any) -> None:
    resources = deploy(Stage="prod", Alarms="all")
    watched = resources["ApiFunctionDeploymentGroup"]["Properties"]["AlarmConfiguration"]["Alarms"]
    names = {alarm["Name"]["Fn::GetAtt"][1].removeprefix("Outputs.") for alarm in watched}
    assert names == {"ApiErrors", "SloFiveMinutes"}
    assert names <= set(observability["Outputs"])
    assert names <= set(alarms(observability, METRIC_ALARM))


def test_each_service_that_is_watched_is_one_that_counts(observability: dict[str, Any], deploy: Any) -> None:
    resources = deploy(Stage="prod", Alarms="all", WarmBudgetUsdPerHour="0.5", Optimizer="on")
    named = {service for _, _, _, service in widget_metrics(observability) if service}
    for alarm in alarms(observability, METRIC_ALARM).values():
        for metric in metrics_of(alarm["Properties"]):
            named |= {d["Value"]["Fn::Sub"] for d in metric["Dimensions"] if d["Name"] == "service"}
    counting = {
        f"${{App}}-{handler.split('.')[1]}"
        for resource in resources.values()
        if resource["Type"] == "AWS::Lambda::Function"
        for handler in [resource["Properties"]["Handler"]]
        if resource["Properties"]["Environment"]["Variables"]["STACK_NAME"] == {"Ref": "AWS::StackName"}
    }
    assert named <= counting


def test_lambda_lets_the_lines_through(deploy: Any) -> None:
    """A line that names no level counts as INFO, so a function that is to write it must not ask for less."""
    for name, resource in deploy(WarmBudgetUsdPerHour="0.5", Optimizer="on").items():
        if resource["Type"] == "AWS::Lambda::Function":
            level = resource["Properties"]["LoggingConfig"].get("ApplicationLogLevel", "INFO")
            assert level in ("TRACE", "DEBUG", "INFO"), name
