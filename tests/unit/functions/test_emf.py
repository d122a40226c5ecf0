"""Lines of the embedded metric format: valid by its specification, and of few dimensions."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from functions.aws.emf import Emf
from registry.measures import METRICS, Measure

RATES = [*(f"{size}{unit}" for size in ("", "Kilo", "Mega", "Giga", "Tera") for unit in ("bytes", "bits")), "count"]
UNITS = [*(rate.capitalize() for rate in RATES), *(f"{rate.capitalize()}/Second" for rate in RATES)]
UNITS += ["Seconds", "Microseconds", "Milliseconds", "Percent", "None"]


def name(longest: int) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": longest}


# The limits of "Specification: Embedded metric format", CloudWatch User Guide.
SPECIFICATION = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "properties": {
                "Timestamp": {"type": "integer"},
                "CloudWatchMetrics": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "properties": {
                            "Namespace": name(1024),
                            "Dimensions": {
                                "type": "array",
                                "minItems": 1,
                                "items": {"type": "array", "minItems": 1, "maxItems": 30, "items": name(250)},
                            },
                            "Metrics": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": 100,
                                "items": {
                                    "type": "object",
                                    "required": ["Name"],
                                    "properties": {"Name": name(1024), "Unit": {"enum": UNITS}},
                                    "additionalProperties": False,
                                },
                            },
                        },
                    },
                },
            },
        }
    },
}


def checked(line: str) -> dict[str, Any]:
    """A line's document, valid by the specification and with each dimension and metric that it names."""
    document: dict[str, Any] = json.loads(line, parse_constant=pytest.fail)
    jsonschema.validate(document, SPECIFICATION)
    for directive in document["_aws"]["CloudWatchMetrics"]:
        for dimension in {d for dimensions in directive["Dimensions"] for d in dimensions}:
            assert isinstance(document[dimension], str)
            assert 1 <= len(document[dimension]) <= 1024
        for metric in directive["Metrics"]:
            assert type(document[metric["Name"]]) in (int, float)
    return document


def written(*measures: Measure, properties: dict[str, Any] | None = None, **options: Any) -> list[dict[str, Any]]:
    lines: list[str] = []
    Emf("stack-api", write=lines.append, wall=lambda: 1.5, **options).put(measures, properties)
    return [checked(line) for line in lines]


def test_every_metric_makes_a_valid_line() -> None:
    (document,) = written(*(Measure(metric, 2.0, "digits", "lambda-1769") for metric in METRICS))

    assert document["_aws"]["Timestamp"] == 1500
    assert {metric: document[metric] for metric in METRICS} == dict.fromkeys(METRICS, 2.0)
    told = {m["Name"]: d["Dimensions"] for d in document["_aws"]["CloudWatchMetrics"] for m in d["Metrics"]}
    assert told["SloMissed"] == [["service"], ["service", "task", "tier"]]
    assert told["ColdStart"] == [["service", "tier"]]
    assert (document["service"], document["task"], document["tier"]) == ("stack-api", "digits", "lambda-1769")


def test_nothing_but_service_task_and_tier_is_a_dimension() -> None:
    assert {d for metric in METRICS.values() for by in metric.by for d in by} == {"task", "tier"}
    assert all(
        set(by) in ({"service"}, {"service", "task"}, {"service", "tier"}, {"service", "task", "tier"})
        for document in written(*(Measure(metric, 1) for metric in METRICS))
        for directive in document["_aws"]["CloudWatchMetrics"]
        for by in directive["Dimensions"]
    )


def test_without_details_a_service_has_each_metric_once() -> None:
    (document,) = written(*(Measure(metric, 1, "digits", "lambda-1769") for metric in METRICS), detailed=False)

    assert [d["Dimensions"] for d in document["_aws"]["CloudWatchMetrics"]] == [[["service"]]]


def test_each_task_and_tier_has_a_line_and_the_last_one_the_properties() -> None:
    first, last = written(
        Measure("Fallback", 1, "digits", "lambda-1769"),
        Measure("Fallback", 1, "digits", "lambda-1769"),
        Measure("Requests", 1, "digits", "lambda-3538"),
        properties={"decision_id": "d1", "variant": "digits/cnn"},
    )

    assert (first["Fallback"], first["tier"], "decision_id" in first) == (2, "lambda-1769", False)
    assert (last["Requests"], last["decision_id"], last["variant"]) == (1, "d1", "digits/cnn")
    assert {m["Name"] for d in last["_aws"]["CloudWatchMetrics"] for m in d["Metrics"]} == {"Requests"}


def test_properties_cannot_take_a_dimensions_place() -> None:
    (document,) = written(Measure("Requests", 1, "digits"), properties={"task": "other", "Requests": 5})

    assert (document["task"], document["tier"], document["Requests"]) == ("digits", "none", 1)


def test_what_is_no_number_is_left_out() -> None:
    assert written(Measure("PredictionError", float("-inf"), "digits", "a")) == []


def test_nothing_is_written_where_no_stack_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Emf.of({}, "api").put([Measure("Requests", 1)])
    assert capsys.readouterr().out == ""

    Emf.of({"STACK_NAME": "stack", "METRICS_BY": "service"}, "api").put([Measure("Requests", 1, "digits")])
    assert checked(capsys.readouterr().out)["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]]
