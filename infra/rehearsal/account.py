"""Whoever acts on a deployed stack, and what the emulator decided about them; gives nobody more than a policy of it."""

from __future__ import annotations

import json
import os
import signal
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import boto3
import httpx
from botocore.session import Session

from cli.signing import Scope, SigV4
from infra.rehearsal.deployment import Deployment

Seen = TypeVar("Seen")

PATIENCE_S = 60.0
"""For what another process does: this machine may be busy."""

PAUSE_S = 0.1


class Decision(NamedTuple):
    """What was decided about one request."""

    who: str
    """ARN of the user, or of the role's session."""
    action: str
    resource: str
    keys: tuple[str, ...]
    """Partitions of the table that it was about."""
    allowed: bool

    @property
    def role(self) -> str:
        """The role's or the user's own name."""
        return self.who.split("/")[1]


class NotDone(AssertionError):
    """What was waited for did not come, or somebody was denied what it takes."""


@dataclass(slots=True)
class Decisions:
    """The emulator's log of decisions, from where it was last forgotten."""

    log: Path
    _start: int = field(default=0)

    def forget(self) -> None:
        """Begin anew."""
        self._start = self.log.stat().st_size

    def all(self) -> Iterator[Decision]:
        """Every decision since, oldest first."""
        with self.log.open("rb") as lines:
            lines.seek(self._start)
            for line in lines:
                if line.endswith(b"\n"):
                    said = json.loads(line)
                    yield Decision(said["who"], said["action"], said["resource"], tuple(said["keys"]), said["allowed"])

    def denied(self) -> tuple[Decision, ...]:
        """Those that were denied."""
        return tuple(decision for decision in self.all() if not decision.allowed)


@dataclass(frozen=True, slots=True)
class Account:
    """One stack, the clients of somebody who may do everything, and those who may not."""

    stack: Deployment
    endpoint: str
    certificate: Path
    clients: Mapping[str, Any]
    """boto3's, by service, of the account itself."""
    decisions: Decisions
    emulator: int
    """Its process id: functions are its children."""
    users: Mapping[str, Mapping[str, str]]
    """Variables with a user's credentials, by the user's name."""

    @property
    def trust(self) -> ssl.SSLContext:
        """What trusts the emulator's certificate."""
        return ssl.create_default_context(cafile=self.certificate)

    def front(self, user: str) -> httpx.Client:
        """The stack's front door for requests that this user signs."""
        session, variables = Session(), self.users[user]
        session.set_credentials(variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"])
        door = self.stack.outputs["FunctionUrl"].split("//")[1].split(".")[0]
        return httpx.Client(
            base_url=f"{self.endpoint}/_aws/lambda-url/{door}",
            auth=SigV4(Scope("lambda", "us-east-1"), session),
            verify=self.trust,
            timeout=PATIENCE_S,
        )

    def client(self, user: str, service: str) -> Any:
        """boto3's client of a service, with this user's credentials."""
        make: Any = boto3.client
        return make(service, **{name.lower(): value for name, value in self.users[user].items()})

    def having(self, **users: Mapping[str, str]) -> Account:
        """The same account with other credentials for some users."""
        return replace(self, users={**self.users, **users})

    def invoke(self, function: str, event: Any) -> Any:
        """What a function, by its logical id, returns to the account itself; raises NotDone where it fails."""
        return self.run(self.stack.outputs[f"{function}Arn"], event)

    def run(self, arn: str, event: Any) -> Any:
        """The same by its alias."""
        answer = self.clients["lambda"].invoke(FunctionName=arn, Payload=json.dumps(event).encode())
        said = json.loads(answer["Payload"].read() or b"null")
        if "FunctionError" in answer:
            raise NotDone(f"{arn}: {said}")
        return said

    def eventually(self, look: Callable[[], Seen | None], patience_s: float = PATIENCE_S) -> Seen:
        """What `look` sees once it sees something; raises NotDone when somebody is denied something meanwhile."""
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            if seen := look():
                return seen
            self.check()
            time.sleep(PAUSE_S)
        raise NotDone(f"nothing was seen within {patience_s} s")

    def check(self) -> None:
        """Raise NotDone if anybody was denied anything."""
        if denied := self.decisions.denied():
            raise NotDone(f"denied: {denied[0].role} {denied[0].action} on {denied[0].resource} {list(denied[0].keys)}")

    def renew(self, *functions: str) -> None:
        """End these functions' environments: the next event starts one that remembers nothing."""
        names = {self.stack.ids[function] for function in functions}
        for process in _children(self.emulator):
            if _variable(process, "AWS_LAMBDA_FUNCTION_NAME") in names:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
                while _runs(process):
                    time.sleep(PAUSE_S)

    def items(self, partition: str) -> list[dict[str, Any]]:
        """The items of the table's partitions that begin so."""
        pages = self.clients["dynamodb"].get_paginator("scan").paginate(TableName=self.stack.outputs["TableName"])
        return [item for page in pages for item in page["Items"] if item["pk"]["S"].startswith(partition)]

    def empty(self, *partitions: str) -> None:
        """Remove the items of the table's partitions that begin so."""
        for item in (item for partition in partitions for item in self.items(partition)):
            self.clients["dynamodb"].delete_item(
                TableName=self.stack.outputs["TableName"], Key={name: item[name] for name in ("pk", "sk")}
            )


def make_users(iam: Any, stack: Deployment) -> dict[str, dict[str, str]]:
    """Users with one policy of the stack each, and one with none; their credentials as variables, by name."""
    policies = {"publisher": "PublisherPolicyArn", "caller": "CallerPolicyArn", "stranger": None}
    made: dict[str, dict[str, str]] = {}
    for name, output in policies.items():
        iam.create_user(UserName=name)
        if output is not None:
            iam.attach_user_policy(UserName=name, PolicyArn=stack.outputs[output])
        key = iam.create_access_key(UserName=name)["AccessKey"]
        made[name] = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    return made


def _children(parent: int) -> list[int]:
    """The processes that a process, or one of its threads, started."""
    found: list[int] = []
    for thread in Path(f"/proc/{parent}/task").iterdir():
        with suppress(FileNotFoundError):
            found += map(int, (thread / "children").read_text().split())
    return found


def _runs(process: int) -> bool:
    """Whether anything of a process is there but its exit status: its other threads may outlive the first."""
    try:
        threads = len(list(Path(f"/proc/{process}/task").iterdir()))
        return threads > 1 or Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _variable(process: int, name: str) -> str | None:
    """A variable of a process's environment, as it was started."""
    try:
        variables = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return None
    return next((v.split(b"=", 1)[1].decode() for v in variables if v.startswith(f"{name}=".encode())), None)
