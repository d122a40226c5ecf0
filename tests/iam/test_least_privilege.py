"""No role and no policy allows anything that nothing needs: take one permission out, and something breaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from infra.rehearsal.account import NotDone
from infra.rehearsal.flows.table import FLOWS
from infra.rehearsal.permissions import Document, Grant, Policy, allows
from infra.rehearsal.proofs import ALIKE, UNSHOWN, Broken, Needs, Ran, Report, granted, why_absent, why_unshown
from infra.rehearsal.stage import Stage
from registry.errors import Unavailable

TEMPLATE = Path(__file__).resolve().parents[2] / "template.yaml"
GRANTS = granted(TEMPLATE)
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/modelless:cuda"
# A stack with a GPU and schedules; and one that makes variants, which goes with no key.
ELSEWHERE = [
    {"Stage": "dev", "Gpu": "sagemaker", "GpuImageUri": IMAGE, "WarmBudgetUsdPerHour": "0.5"},
    {"Stage": "dev", "Optimizer": "on"},
]
SHOWN = [grant for grant in GRANTS if why_unshown(grant) is None]


@pytest.fixture(scope="module")
def documents(policies: Mapping[str, Policy]) -> dict[str, Document]:
    """Every policy as it was deployed."""
    return {holder: policy.document() for holder, policy in policies.items()}


@pytest.fixture(scope="module")
def needs(flows: Mapping[str, Ran], policies: Mapping[str, Policy], documents: dict[str, Document]) -> Needs:
    """What the flows' requests rest on."""
    return Needs(flows.values(), policies)


@pytest.fixture
def tidy(stage: Stage) -> Iterator[None]:
    """Nothing is left afterwards of what a flow could not do."""
    yield
    for queue in ("JobsQueueUrl", "FeedbackQueueUrl"):
        stage.account.clients["sqs"].purge_queue(QueueUrl=stage.account.stack.outputs[queue])
    stage.account.empty("JOB#", "JUDGED#", "CAPACITY")


def test_every_request_rests_on_a_permission(needs: Needs) -> None:
    unexplained = {(name, d) for name, requests in needs.rests_on.items() for d, found in requests.items() if not found}
    assert unexplained == set()


def test_every_permission_is_used_or_has_a_reason(needs: Needs) -> None:
    used = {grant for grant in needs.used() if grant.holder not in ALIKE}
    assert set(SHOWN) - used == set(), "no flow needs these: take them out, or say why none can show it"
    assert {grant for grant in used if why_unshown(grant)} == set(), "these are shown: take them out of UNSHOWN"


def test_every_reason_is_for_a_permission() -> None:
    there = {(g.holder, g.statement, g.action) for g in GRANTS} | {("*", g.statement, g.action) for g in GRANTS}
    assert set(UNSHOWN) <= there


@pytest.mark.parametrize("parameters", ELSEWHERE)
def test_what_is_not_deployed_here_has_a_reason(parameters: dict[str, str]) -> None:
    here = {(grant.holder, grant.statement) for grant in GRANTS}
    absent = [g for g in granted(TEMPLATE, **parameters) if (g.holder, g.statement) not in here]
    assert absent
    assert [grant for grant in absent if why_absent(grant) is None] == []


def test_one_worker_stands_for_all(documents: dict[str, Document]) -> None:
    for role, like in ALIKE.items():
        assert documents[role] == documents[like]


@pytest.mark.usefixtures("tidy")
@pytest.mark.parametrize("grant", SHOWN, ids=str)
def test_without_a_permission_something_breaks(
    grant: Grant, needs: Needs, policies: Mapping[str, Policy], stage: Stage, report: Report
) -> None:
    decisions, policy = stage.account.decisions, policies[grant.holder]
    (statement,) = (s for s in policy.document()["Statement"] if s["Sid"] == grant.statement)
    decisions.forget()
    with policy.lacking(grant):
        flow, why = _first_that_breaks(needs.shown_by(grant), stage)
    denied = [decision for decision in decisions.denied() if allows(grant, statement, decision)]
    assert denied, f"{flow} broke without a denial: {why}"
    report.broken.append(Broken(grant, flow, bool(denied), why[:300]))


def _first_that_breaks(flows: tuple[str, ...], stage: Stage) -> tuple[str, str]:
    """The flow that cannot be done, and why; fails the test where all are done."""
    for flow in flows:
        try:
            FLOWS[flow](stage)
        except (NotDone, Unavailable) as broken:
            return flow, str(broken)
    pytest.fail(f"done all the same: {', '.join(flows)}")


def test_every_policy_is_as_it_was(policies: Mapping[str, Policy], documents: dict[str, Document]) -> None:
    assert {holder: policy.document() for holder, policy in policies.items()} == documents
