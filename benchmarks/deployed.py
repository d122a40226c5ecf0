"""A SAM template as CloudFormation would carry it out for given parameters, worked out offline; it deploys nothing.

SAM's own translator expands it. Conditions, and what depends on parameters alone, are resolved here; what only a
deployment knows (ARNs, the account) is left as the intrinsic function that it is.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

Resources = dict[str, dict[str, Any]]
"""Logical id to resource."""

NESTED = "AWS::CloudFormation::Stack"

PLACEHOLDER = "s3://bucket/key"
"""What `sam package` writes in place of a folder."""

MANAGED_POLICIES = (
    "AWSCodeDeployRoleForLambda",
    "AWSLambdaBasicExecutionRole",
    "AWSLambdaSQSQueueExecutionRole",
    "AWSXRayDaemonWriteAccess",
    "AWSXrayWriteOnlyAccess",
)


class ManagedPolicies:
    """SAM asks for managed policies by name; any ARN will do offline."""

    def load(self) -> dict[str, str]:
        """Name to ARN."""
        return {name: f"arn:aws:iam::aws:policy/service-role/{name}" for name in MANAGED_POLICIES}


class TemplateError(Exception):
    """The template cannot be carried out as given; says why."""


def parsed(path: Path) -> dict[str, Any]:
    """A template as written, short intrinsics in their long form."""
    return deepcopy(_parsed(path.read_text()))


@cache
def _parsed(text: str) -> dict[str, Any]:
    from samtranslator.yaml_helper import yaml_parse

    template: dict[str, Any] = yaml_parse(text)
    return template


def translated(path: Path, parameters: Mapping[str, str]) -> dict[str, Any]:
    """Plain CloudFormation; a template without a transform is that already."""
    template = parsed(path)
    if "Transform" not in template:
        return template
    from samtranslator.translator.transform import transform

    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = PLACEHOLDER
    template.get("Globals", {}).get("Function", {}).pop("CodeUri", None)
    with patch.dict(os.environ, {"AWS_DEFAULT_REGION": "us-east-1"}):
        result: dict[str, Any] = transform(template, dict(parameters), ManagedPolicies())
    return result


def deployed(path: Path, **parameters: str) -> dict[str, Any]:
    """The template's resources and outputs that would exist, with what parameters decide decided.

    Nested stacks are resources of their own, and stay closed. Raises TemplateError for parameters that it refuses.
    """
    template = translated(path, parameters)
    view = _View(template, _values(template, parameters))
    view.check_rules()
    return {
        "Resources": dict(view.existing(template["Resources"])),
        "Outputs": dict(view.existing(template.get("Outputs", {}))),
    }


def all_resources(path: Path, **parameters: str) -> Resources:
    """The resources of the stack and of those nested in it; `Nested.Id` is the resource Id of the stack Nested."""
    resources: Resources = {}
    for name, resource in deployed(path, **parameters)["Resources"].items():
        resources[name] = resource
        if resource["Type"] == NESTED:
            given = {key: _told(value) for key, value in resource["Properties"].get("Parameters", {}).items()}
            inner = all_resources(path.parent / resource["Properties"]["TemplateURL"], **given)
            resources.update({f"{name}.{id_}": found for id_, found in inner.items()})
    return resources


def _told(value: Any) -> str:
    """A parameter's value; what only a deployment knows is some text."""
    return str(value) if isinstance(value, str | int | float) else json.dumps(value)


def _values(template: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    declared = template.get("Parameters", {})
    unknown = set(given) - set(declared)
    if unknown:
        raise TemplateError(f"no parameters: {', '.join(sorted(unknown))}")
    values = {name: str(given.get(name, parameter.get("Default"))) for name, parameter in declared.items()}
    for name, parameter in declared.items():
        allowed = [str(value) for value in parameter.get("AllowedValues", [values[name]])]
        if values[name] not in allowed:
            raise TemplateError(f"{name} is {values[name]!r}; use one of {allowed}")
        if not re.fullmatch(parameter.get("AllowedPattern", ".*"), values[name]):
            raise TemplateError(f"{name} is {values[name]!r}; it is to match {parameter['AllowedPattern']}")
    return values


_NOTHING = object()
"""AWS::NoValue."""


@dataclass(slots=True)
class _View:
    """One template with its parameters' values."""

    template: Mapping[str, Any]
    values: Mapping[str, str]
    _held: dict[str, bool] = field(default_factory=dict)

    def check_rules(self) -> None:
        for name, rule in self.template.get("Rules", {}).items():
            if self._holds(rule.get("RuleCondition", {"Fn::Equals": [0, 0]})):
                for assertion in rule["Assertions"]:
                    if not self._holds(assertion["Assert"]):
                        raise TemplateError(f"{name}: {assertion['AssertDescription']}")

    def existing(self, entries: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, entry in entries.items():
            if self.condition(entry.get("Condition")):
                yield name, self.resolved(entry)

    def condition(self, name: str | None) -> bool:
        if name is None:
            return True
        if name not in self._held:
            self._held[name] = self._holds(self.template["Conditions"][name])
        return self._held[name]

    def resolved(self, value: Any) -> Any:
        """A value with what is known put in; _NOTHING where there is none."""
        if isinstance(value, list):
            return [kept for item in value if (kept := self.resolved(item)) is not _NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (function, argument), *_ = value.items()
            if function in ("Ref", "Fn::If", "Fn::FindInMap", "Fn::Sub"):
                return self._call(function, argument)
        return {name: kept for name, item in value.items() if (kept := self.resolved(item)) is not _NOTHING}

    def _call(self, function: str, argument: Any) -> Any:
        if function == "Ref":
            return _NOTHING if argument == "AWS::NoValue" else self.values.get(argument, {"Ref": argument})
        if function == "Fn::If":
            name, held, otherwise = argument
            return self.resolved(held if self.condition(name) else otherwise)
        if function == "Fn::FindInMap":
            table, first, second = (self.resolved(part) for part in argument)
            return self.template["Mappings"][table][first][second]
        return self._substituted(argument)

    def _substituted(self, argument: Any) -> Any:
        text, given = (argument, {}) if isinstance(argument, str) else argument
        known = {name: self.resolved(value) for name, value in given.items()}
        for name, value in {**self.values, **known}.items():
            if isinstance(value, str):
                text = text.replace(f"${{{name}}}", value)
        left = {name: value for name, value in known.items() if not isinstance(value, str)}
        if left:
            return {"Fn::Sub": [text, left]}
        return {"Fn::Sub": text} if "${" in text else text

    def _holds(self, expression: Mapping[str, Any]) -> bool:
        ((function, argument),) = expression.items()
        if function == "Condition":
            return self.condition(argument)
        if function == "Fn::Equals":
            one, other = (str(self.resolved(part)) for part in argument)
            return one == other
        if function == "Fn::Not":
            return not self._holds(argument[0])
        if function in ("Fn::And", "Fn::Or"):
            return (all if function == "Fn::And" else any)(self._holds(part) for part in argument)
        raise TemplateError(f"{function} is no condition that is understood here")
