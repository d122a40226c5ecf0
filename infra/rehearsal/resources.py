"""What of the template holds facts (table, bucket, queues), made in an account by its own properties; runs nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.environments.spec import ACCOUNT, REGION

Resources = Mapping[str, Mapping[str, Any]]
"""Logical id to resource, as `benchmarks.deployed` works them out."""

ALIAS = "Aliaslive"
"""What SAM appends to a function's logical id for its alias `live`."""


@dataclass(slots=True)
class Names:
    """What intrinsic functions give, once a resource is there."""

    refs: dict[str, str] = field(default_factory=dict)
    """By logical id; pseudo parameters too."""
    attributes: dict[tuple[str, str], str] = field(default_factory=dict)
    """By logical id and attribute."""

    def resolved(self, value: Any) -> Any:
        """A value with every intrinsic function put in; raises KeyError for what is not there."""
        if isinstance(value, list):
            return [self.resolved(item) for item in value]
        if not isinstance(value, dict):
            return value
        ((function, argument), *more) = value.items() or [("", None)]
        if not more and function in ("Ref", "Fn::GetAtt", "Fn::Sub"):
            return self._given(function, argument)
        return {name: self.resolved(item) for name, item in value.items()}

    def _given(self, function: str, argument: Any) -> str:
        if function == "Ref":
            return self.refs[argument]
        if function == "Fn::GetAtt":
            name, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
            return self.attributes[name, attribute]
        text, given = (argument, {}) if isinstance(argument, str) else argument
        return self._substituted(text, self.resolved(given))

    def _substituted(self, text: str, given: Mapping[str, str]) -> str:
        def put_in(found: re.Match[str]) -> str:
            name, _, attribute = found[1].partition(".")
            if found[1] in given:
                return str(given[found[1]])
            return self.attributes[name, attribute] if attribute else self.refs[name]

        return re.sub(r"\$\{([^!}]+)\}", put_in, text)


def make(resources: Resources, clients: Mapping[str, Any]) -> Names:
    """Make the tables, buckets and queues, and name the functions; `clients` are boto3's, by service."""
    names = Names({"AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::Partition": "aws", "AWS::StackName": "here"})
    for name, resource in resources.items():
        if resource["Type"] == "AWS::Lambda::Function":
            arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
            names.refs |= {name: name, f"{name}{ALIAS}": f"{arn}:live"}
            names.attributes[name, "Arn"] = arn
    for name, resource in of_type(resources, "AWS::DynamoDB::Table"):
        _make_table(name, resource["Properties"], names, clients["dynamodb"])
    for name, resource in of_type(resources, "AWS::S3::Bucket"):
        _make_bucket(name, resource["Properties"], names, clients["s3"])
    queues = of_type(resources, "AWS::SQS::Queue")
    for name, resource in sorted(queues, key=lambda queue: "RedrivePolicy" in queue[1]["Properties"]):
        _make_queue(name, resource["Properties"], names, clients["sqs"])
    return names


def of_type(resources: Resources, kind: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The resources of one type."""
    return [(name, resource) for name, resource in resources.items() if resource["Type"] == kind]


def _make_table(name: str, properties: Mapping[str, Any], names: Names, client: Any) -> None:
    keys = ("BillingMode", "AttributeDefinitions", "KeySchema")
    made = client.create_table(TableName=f"here-{name}", **{key: properties[key] for key in keys})
    client.update_time_to_live(TableName=f"here-{name}", TimeToLiveSpecification=properties["TimeToLiveSpecification"])
    names.refs[name], names.attributes[name, "Arn"] = f"here-{name}", made["TableDescription"]["TableArn"]


def _make_bucket(name: str, properties: Mapping[str, Any], names: Names, client: Any) -> None:
    bucket = names.refs[name] = f"here-{name.lower()}"
    names.attributes[name, "Arn"] = f"arn:aws:s3:::{bucket}"
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=properties["VersioningConfiguration"])


def _make_queue(name: str, properties: Mapping[str, Any], names: Names, client: Any) -> None:
    said = names.resolved({key: value for key, value in properties.items() if key != "Tags"})
    attributes = {
        key: json.dumps(value) if isinstance(value, dict | bool) else str(value) for key, value in said.items()
    }
    url = client.create_queue(QueueName=f"here-{name}", Attributes=attributes)["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    names.refs[name] = url
    names.attributes |= {(name, "Arn"): arn, (name, "QueueName"): f"here-{name}"}
