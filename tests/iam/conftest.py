"""The template with its roles on an emulator that enforces them, one task pushed, and every flow of it run once."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from infra.rehearsal.account import Account, Decisions, make_users  # noqa: E402
from infra.rehearsal.deployment import deploy  # noqa: E402
from infra.rehearsal.emulator import emulator  # noqa: E402
from infra.rehearsal.flows.table import FLOWS  # noqa: E402
from infra.rehearsal.home import make_home  # noqa: E402
from infra.rehearsal.permissions import Policy  # noqa: E402
from infra.rehearsal.proofs import PARAMETERS, Ran, Report  # noqa: E402
from infra.rehearsal.stage import Stage  # noqa: E402

ARTEFACTS = ROOT / ".aws-sam" / "here"
PYTHON = ROOT / os.environ.get("MINISTACK", ".venv-ministack") / "bin" / "python"
ENFORCING = ROOT / "infra" / "rehearsal" / "enforcing.py"

STACK = "modelless-local"
SERVICES = ("cloudformation", "dynamodb", "events", "iam", "kms", "lambda", "s3", "sqs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder is one of `make iam-test`'s."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("iam")


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """The stack, and who acts on it; the environment's credentials are those of the account itself."""
    import boto3

    scratch = tmp_path_factory.mktemp("account")
    log = scratch / "decisions"
    log.touch()
    certificate = scratch / "ministack-tls" / "server.crt"
    with (
        emulator(
            PYTHON, scratch, ENFORCING, log, AUTH="true", USE_SSL="1", LAMBDA_WARM_TTL_SECONDS="7200"
        ) as ministack,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("AWS_CA_BUNDLE", str(certificate))
        patch.setenv("AWS_ENDPOINT_URL", ministack.endpoint)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        # The account itself, to the emulator.
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        clients = {name: boto3.client(name) for name in SERVICES}
        key = clients["kms"].create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"]["Arn"]
        parameters = PARAMETERS | {"SigningKeyArn": key}
        stack = deploy(ROOT / "template.yaml", ARTEFACTS, STACK, clients, **parameters)
        clients["events"].disable_rule(Name=stack.ids["CapacityRule"])  # tests are the clock
        users = make_users(clients["iam"], stack)
        yield Account(stack, ministack.endpoint, certificate, clients, Decisions(log), ministack.process, users)


@pytest.fixture(scope="session")
def stage(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """What flows need; nothing is pushed yet."""
    return Stage(account, *make_home(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="session")
def flows(stage: Stage) -> Mapping[str, Ran]:
    """Each flow run once with every permission, and what was decided about its requests; one that fails fails all."""
    ran: dict[str, Ran] = {}
    for name, flow in FLOWS.items():
        stage.account.decisions.forget()
        began = time.monotonic()
        flow(stage)
        ran[name] = Ran(name, time.monotonic() - began, frozenset(stage.account.decisions.all()))
    return ran


@pytest.fixture(scope="session")
def policies(account: Account) -> dict[str, Policy]:
    """Every policy of the stack, by its holder's logical id."""
    iam = account.clients["iam"]
    policies: dict[str, Policy] = {}
    for name, physical in account.stack.ids.items():
        if name.endswith("Role"):
            (policy,) = iam.list_role_policies(RoleName=physical)["PolicyNames"]
            policies[name] = Policy(name, iam, role=physical, name=policy)
        elif name.endswith("Policy") and name != "BucketPolicy":
            policies[name] = Policy(name, iam, arn=physical)
    return policies


@pytest.fixture(scope="session")
def report(account: Account) -> Iterator[Report]:
    """What was taken out and what broke; written to the file that MODELLESS_IAM_REPORT names."""
    made = Report(emulator=_version(account))
    yield made
    if path := os.environ.get("MODELLESS_IAM_REPORT"):
        Path(path).write_text(json.dumps(made.document(), indent=1) + "\n")


def _version(account: Account) -> str:
    import httpx

    said: dict[str, Any] = httpx.get(f"{account.endpoint}/_ministack/health", verify=account.trust).json()
    return f"MiniStack {said['version']}"
