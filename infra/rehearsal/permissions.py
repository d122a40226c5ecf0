"""What a deployed stack's roles and policies allow, statement by statement, and the same with one action taken out."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from infra.rehearsal.account import Decision

LEADING_KEYS = "dynamodb:LeadingKeys"

Document = dict[str, Any]


@dataclass(frozen=True, order=True, slots=True)
class Grant:
    """One action of one statement, on one kind of partition of the table where it is about the table."""

    holder: str
    """The role's or the managed policy's logical id."""
    statement: str
    """Its Sid."""
    action: str
    partition: str = ""
    """As the statement's condition has it: `CATALOGUE`, `SNAPSHOT#*`."""

    def __str__(self) -> str:
        return "-".join(filter(None, (self.holder, self.statement, self.action, self.partition)))


def words(value: Any) -> list[str]:
    """What may be one or several, as several."""
    return [value] if isinstance(value, str) else list(value)


def grants(holder: str, document: Document) -> Iterator[Grant]:
    """Each action of each statement of a policy, by partition."""
    for statement in document["Statement"]:
        for action in words(statement["Action"]):
            for partition in _partitions(statement) or ("",):
                yield Grant(holder, statement["Sid"], action, partition)


def _partitions(statement: Mapping[str, Any]) -> list[str]:
    (operands,) = statement.get("Condition", {"": {}}).values()
    return words(operands.get(LEADING_KEYS, ()))


def allows(grant: Grant, statement: Mapping[str, Any], decision: Decision) -> bool:
    """Whether a decision to allow could rest on this grant of this statement."""
    return (
        grant.action == decision.action
        and any(fnmatch.fnmatchcase(decision.resource, resource) for resource in words(statement["Resource"]))
        and all(fnmatch.fnmatchcase(key, grant.partition) for key in decision.keys if grant.partition)
    )


def without(document: Document, grant: Grant) -> Document:
    """The policy with this grant, and nothing else, taken out; a statement that is then empty goes."""
    return {**document, "Statement": [kept for each in document["Statement"] for kept in _without(each, grant)]}


def _without(statement: Document, grant: Grant) -> Iterator[Document]:
    actions = words(statement["Action"])
    if statement["Sid"] != grant.statement or grant.action not in actions:
        yield statement
        return
    if others := [action for action in actions if action != grant.action]:
        yield {**statement, "Action": others}
    if keys := [partition for partition in _partitions(statement) if partition != grant.partition]:
        ((operator, _),) = statement["Condition"].items()
        sid = f"{statement['Sid']}Otherwise"
        yield {**statement, "Sid": sid, "Action": [grant.action], "Condition": {operator: {LEADING_KEYS: keys}}}


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy in an account: a role's own, or a managed one."""

    holder: str
    """Its logical id."""
    client: Any
    """boto3's for IAM."""
    role: str = ""
    """The role's name, and the policy's in it."""
    name: str = ""
    arn: str = ""
    """A managed policy's."""

    def document(self) -> Document:
        """As it stands."""
        if self.role:
            document = self.client.get_role_policy(RoleName=self.role, PolicyName=self.name)["PolicyDocument"]
        else:
            version = self.client.get_policy(PolicyArn=self.arn)["Policy"]["DefaultVersionId"]
            found = self.client.get_policy_version(PolicyArn=self.arn, VersionId=version)
            document = found["PolicyVersion"]["Document"]
        read: Document = json.loads(document) if isinstance(document, str) else document
        return read

    @contextmanager
    def lacking(self, grant: Grant) -> Iterator[None]:
        """Have it lack a grant until the block ends."""
        before = self.document()
        self._put(without(before, grant))
        try:
            yield
        finally:
            self._put(before)

    def _put(self, document: Document) -> None:
        text = json.dumps(document)
        if self.role:
            if document["Statement"]:
                self.client.put_role_policy(RoleName=self.role, PolicyName=self.name, PolicyDocument=text)
            else:
                self.client.delete_role_policy(RoleName=self.role, PolicyName=self.name)
            return
        for version in self.client.list_policy_versions(PolicyArn=self.arn)["Versions"]:
            if not version["IsDefaultVersion"]:
                self.client.delete_policy_version(PolicyArn=self.arn, VersionId=version["VersionId"])
        self.client.create_policy_version(PolicyArn=self.arn, PolicyDocument=text, SetAsDefault=True)
