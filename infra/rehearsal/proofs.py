"""Which permission which flow needs, which none can show and why; it changes no policy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.deployed import deployed
from infra.rehearsal.account import Decision
from infra.rehearsal.permissions import Document, Grant, Policy, allows, grants

PARAMETERS = {
    "Stage": "local",
    "WarmBudgetUsdPerHour": "0.5",
    "QuotaRequestsPerSecond": "1000",
    "SigningKeyArn": "arn:aws:kms:us-east-1:000000000000:key/any",
}
"""All that a stack without HTTP API and GPU has, but for what makes variants, which goes with no key."""

ALIKE = {f"Worker{mb}Role": "Worker1769Role" for mb in (3538, 5307, 10240)}
"""Roles with the same policy as another, which stands for them."""

USERS = {"publisher": "PublisherPolicy", "caller": "CallerPolicy"}
"""User to the policy that is theirs."""

POLLS = "Lambda asks for messages with the function's role, the emulator with nobody's"
WRITES = "Lambda writes a function's log with its role, the emulator with nobody's"
TRACES = "Lambda sends traces with the function's role; the emulator has none to send"

UNSHOWN: Mapping[tuple[str, str, str], str] = {
    ("*", "Log", "logs:CreateLogStream"): WRITES,
    ("*", "Log", "logs:PutLogEvents"): WRITES,
    ("*", "Trace", "xray:PutTraceSegments"): TRACES,
    ("*", "Trace", "xray:PutTelemetryRecords"): TRACES,
    ("JobsRole", "TakeJobs", "sqs:ReceiveMessage"): POLLS,
    ("JobsRole", "TakeJobs", "sqs:DeleteMessage"): POLLS,
    ("JobsRole", "TakeJobs", "sqs:GetQueueAttributes"): POLLS,
    ("FeedbackRole", "TakeJudgements", "sqs:ReceiveMessage"): POLLS,
    ("FeedbackRole", "TakeJudgements", "sqs:DeleteMessage"): POLLS,
    ("FeedbackRole", "TakeJudgements", "sqs:GetQueueAttributes"): POLLS,
    ("FeedbackRole", "TakeSnapshotsBack", "dynamodb:DeleteItem"): (
        "only where two publish at one moment, which cannot be arranged for a function; a publisher's flow loses a race"
    ),
    ("*", "TellWhatIsMissing", "s3:ListBucket"): (
        "S3 says of a missing object that it is forbidden to whom may not list, the emulator that it is missing"
    ),
    ("CallerPolicy", "AskOnlyTheUrl", "lambda:InvokeFunction"): (
        "Lambda asks for it beside lambda:InvokeFunctionUrl, the emulator does not"
    ),
}
"""Holder (`*`: any), statement and action to why no flow on an emulator can show that it is needed."""


NO_ENDPOINT = "no emulator has endpoints with copies"
NOT_MADE = "what it makes takes minutes each time; its work is done in tests without a role"

ABSENT: Mapping[tuple[str, str], str] = {
    ("*", "RunOnGpu"): NO_ENDPOINT,
    ("*", "LeaseGpu"): NO_ENDPOINT,
    ("*", "ScaleGpu"): NO_ENDPOINT,
    ("*", "AskForVariants"): NOT_MADE,
    ("OptimizeRole", "*"): NOT_MADE,
    ("ScheduleRole", "RunCapacity"): "the stage local has a rule in place of schedules, and a rule needs no role",
    ("CallerPolicy", "AskTheHttpApi"): "the stage local has no HTTP API",
}
"""Holder and Sid (`*`: any) of what is not deployed to the emulator, to why not."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A flow that was done with every permission."""

    name: str
    seconds: float
    decisions: frozenset[Decision]


@dataclass(frozen=True, slots=True)
class Broken:
    """What became of a flow without a permission."""

    grant: Grant
    flow: str
    denied: bool
    """Whether the emulator denied what the permission is for."""
    said: str
    """By the flow, of what was not done."""


@dataclass(slots=True)
class Report:
    """What a run has shown."""

    emulator: str
    broken: list[Broken] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "emulator": self.emulator,
            "parameters": PARAMETERS,
            "broken": [asdict(broken) for broken in sorted(self.broken, key=lambda broken: broken.grant)],
            "unshown": [
                {"holder": holder, "statement": statement, "action": action, "why": why}
                for (holder, statement, action), why in UNSHOWN.items()
            ],
            "absent": [
                {"holder": holder, "statement": statement, "why": why} for (holder, statement), why in ABSENT.items()
            ],
            "alike": ALIKE,
        }


def granted(template: Path, **parameters: str) -> list[Grant]:
    """Every grant of a template's roles and policies, but for those that are like another's."""
    return [
        grant
        for holder, document in _documents(deployed(template, **(parameters or PARAMETERS))["Resources"])
        if holder not in ALIKE
        for grant in grants(holder, document)
    ]


def _documents(resources: Mapping[str, Any]) -> Iterator[tuple[str, Document]]:
    for name, resource in resources.items():
        if resource["Type"] == "AWS::IAM::Role" and "Policies" in resource["Properties"]:
            (policy,) = resource["Properties"]["Policies"]
            yield name, policy["PolicyDocument"]
        elif resource["Type"] == "AWS::IAM::ManagedPolicy":
            yield name, resource["Properties"]["PolicyDocument"]


def why_unshown(grant: Grant) -> str | None:
    """Why no flow can show that a grant is needed; None where one can."""
    named = (grant.statement, grant.action)
    return UNSHOWN.get((grant.holder, *named)) or UNSHOWN.get(("*", *named))


def why_absent(grant: Grant) -> str | None:
    """Why a grant of a template's is not deployed to the emulator; None where it has to be."""
    holder, statement = grant.holder, grant.statement
    return ABSENT.get((holder, statement)) or ABSENT.get((holder, "*")) or ABSENT.get(("*", statement))


class Needs:
    """Which grants the flows' requests rest on, by the policies as they stand."""

    def __init__(self, flows: Iterable[Ran], policies: Mapping[str, Policy]) -> None:
        holders = {policy.role: holder for holder, policy in policies.items() if policy.role} | USERS
        statements = {
            holder: [(grant, statement) for statement in document["Statement"] for grant in _of(holder, statement)]
            for holder, document in ((holder, policy.document()) for holder, policy in policies.items())
        }
        self.flows = {ran.name: ran for ran in flows}
        self.rests_on: dict[str, dict[Decision, tuple[Grant, ...]]] = {
            ran.name: {
                decision: tuple(
                    grant
                    for grant, statement in statements[holders[decision.role]]
                    if allows(grant, statement, decision)
                )
                for decision in ran.decisions
            }
            for ran in self.flows.values()
        }

    def used(self) -> set[Grant]:
        """The grants that some request rests on."""
        return {grant for flow in self.rests_on.values() for found in flow.values() for grant in found}

    def shown_by(self, grant: Grant) -> tuple[str, ...]:
        """The flows with a request that rests on this grant alone, the quickest first.

        Not each breaks without it: a flow may make a request that it is not about, and only now and then, as the one
        that tells others how many of a tenant's there were. Raises LookupError where there is none.
        """
        flows = [self.flows[name] for name, requests in self.rests_on.items() if (grant,) in requests.values()]
        if not flows:
            raise LookupError(f"no flow has a request that rests on {grant} alone")
        return tuple(ran.name for ran in sorted(flows, key=lambda ran: ran.seconds))


def _of(holder: str, statement: Document) -> Iterator[Grant]:
    yield from grants(holder, {"Statement": [statement]})
