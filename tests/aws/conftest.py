"""One rehearsed stack for all tests here: artefacts under AWS's runtime client, an emulator's account, pushed tasks."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "infra" / "localstack")]

from cli.main import main  # noqa: E402
from gateway.environments.spec import import_roots  # noqa: E402
from infra.rehearsal.emulator import emulator  # noqa: E402
from infra.rehearsal.stack import Rehearsal, rehearse  # noqa: E402
from registry.blobs import blob_name  # noqa: E402
from registry.blobs.files import Files  # noqa: E402
from registry.catalogue import Catalogue  # noqa: E402
from registry.store import update  # noqa: E402
from registry.stores.sqlite import SqliteStore  # noqa: E402
from runtime.session import Session  # noqa: E402

HERE = ROOT / ".aws-sam" / "here"
MINISTACK = ROOT / os.environ.get("MINISTACK", ".venv-ministack") / "bin" / "ministack"
RUNTIME_CLIENT = ("awslambdaric", "runtime_client*.so", "snapshot_restore_py*", "simplejson")
"""What the managed runtime brings: its client and what the client imports, as they lie in site-packages."""

PARAMETERS = {"Stage": "dev", "WarmBudgetUsdPerHour": "0.5", "Optimizer": "on"}
TIER = "lambda-1769"
OWNED = "numbers"
"""A task like digits, that belongs to the tenant of the recorded IAM user."""

OWNER = "111122223333/user/ada"
# In Lambda's one writable folder, by the name that the worker knows.
WORKER_CACHE = Path("/tmp/modelless-blobs")

OWNERS_KEY = {"AWS_ACCESS_KEY_ID": "rehearsal", "AWS_SECRET_ACCESS_KEY": "rehearsal"}
"""That functions and their callers have, and the emulator knows: it looks at what addresses are signed with."""

Invoke = Callable[..., Result]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder is one of `make aws-test`'s."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("aws")


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runtime client and nothing else, as /var/runtime is."""
    folder = tmp_path_factory.mktemp("var-runtime")
    site = Path(import_roots("awslambdaric")[0])
    for part in (part for pattern in RUNTIME_CLIENT for part in site.glob(pattern)):
        (shutil.copytree if part.is_dir() else shutil.copy)(part, folder / part.name)
    return folder


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of an empty account."""
    with emulator(MINISTACK, tmp_path_factory.mktemp("account"), **OWNERS_KEY) as running:
        yield running.endpoint


@pytest.fixture(scope="session")
def environment(account: str) -> Iterator[pytest.MonkeyPatch]:
    """The variables of whoever works with the stack: credentials, a region, and where AWS is."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in OWNERS_KEY.items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", account)
        yield patch


@pytest.fixture(scope="session")
def stack(account: str, runtime: Path, environment: pytest.MonkeyPatch) -> Iterator[Rehearsal]:
    """The template's functions, running."""
    import boto3

    made = {service: boto3.client(service) for service in ("dynamodb", "s3", "sqs")}
    with rehearse(
        ROOT / "template.yaml", HERE, runtime, python=sys.executable, endpoint=account, clients=made, **PARAMETERS
    ) as stack:
        for name, value in stack.endpoints.items():
            environment.setenv(name, value)
        yield stack


@pytest.fixture(scope="session")
def clients(stack: Rehearsal) -> dict[str, Any]:
    """boto3's clients, as a caller makes them; Lambda is tried once, for what is not idempotent is not tried twice."""
    import boto3
    from botocore.config import Config

    patient = Config(read_timeout=120, retries={"total_max_attempts": 1})
    return {name: boto3.client(name, config=patient) for name in ("dynamodb", "s3", "sqs", "lambda")}


@pytest.fixture(scope="session")
def cli(stack: Rehearsal) -> Invoke:
    """Runs a command with the stack's account in the environment."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, catch_exceptions=False)

    return run


@pytest.fixture(scope="session")
def where(stack: Rehearsal) -> tuple[str, ...]:
    """The options that name the stack, from its outputs."""
    outputs = {"--table": "TableName", "--bucket": "BucketName", "--workers": "Workers"}
    return tuple(word for option, name in outputs.items() for word in (option, stack.outputs[name]))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory, cli: Invoke) -> Path:
    """A home in which digits is registered, and its smallest variant under the name of a task that has an owner."""
    folder = tmp_path_factory.mktemp("home")
    done = cli("register", "digits", "--home", str(folder), "--tier", "inline", "--quick", "--no-generate", "--json")
    assert done.exit_code == 0, done.output
    store = SqliteStore(folder / "catalogue.db")
    update(store, _with_owned)
    store.close()
    return folder


def _with_owned(base: Catalogue) -> Catalogue:
    variant = min(base.variants_of("digits"), key=lambda v: v.size_bytes)
    placement = next(p for p in base.placements_of("digits") if p.variant == variant.id)
    owned = replace(variant, task=OWNED)
    return (
        base.with_tasks(replace(base.tasks["digits"], name=OWNED, owner=OWNER))
        .with_variants(owned)
        .with_placements(replace(placement, variant=owned.id))
        .with_sources(replace(base.sources["digits"], task=OWNED))
    )


@pytest.fixture(scope="session")
def pushed(home: Path, cli: Invoke, where: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """What `modelless push` says of all tasks on the stack, measured through the worker's artefact."""
    digests = [path.name for path in (home / "blobs").rglob("*") if path.is_file()]
    _forget_cached(digests)
    done = cli("push", *where, "--home", str(home), "--tier", TIER, "--quick", "--json")
    assert done.exit_code == 0, done.output
    yield json.loads(done.stdout)
    _forget_cached(digests)


def _forget_cached(digests: list[str]) -> None:
    """Have workers read these blobs from the bucket: environments here share one /tmp, as Lambda's do not."""
    for digest in digests:
        (WORKER_CACHE / blob_name(f"blake3:{digest}")).unlink(missing_ok=True)


@pytest.fixture(scope="session")
def event() -> Callable[..., dict[str, Any]]:
    """A recorded event with another request in it."""

    def made(name: str, method: str = "GET", path: str = "/", body: Any = None) -> dict[str, Any]:
        event: dict[str, Any] = json.loads((Path(__file__).parent / "events" / f"{name}.json").read_text())
        event["rawPath"] = event["requestContext"]["http"]["path"] = path
        event["requestContext"]["http"]["method"] = method
        if body is not None:
            event["body"] = json.dumps(body)
        return event

    return made


@pytest.fixture(scope="session")
def invoke(clients: dict[str, Any]) -> Callable[[str, Any], Any]:
    """Runs a function of the stack and gives back what it returned; its own error fails the test."""

    def run(function: str, event: Any) -> Any:
        response = clients["lambda"].invoke(FunctionName=function, Payload=json.dumps(event).encode())
        answer = json.loads(response["Payload"].read() or b"null")
        assert "FunctionError" not in response, answer
        return answer

    return run


@pytest.fixture(scope="session")
def rows() -> list[list[float]]:
    """Three digits that the example was not trained on."""
    from sklearn.datasets import load_digits

    return np.asarray(load_digits().data[-3:], dtype=np.float32).tolist()


@pytest.fixture(scope="session")
def locally(home: Path, rows: list[list[float]]) -> Callable[[str], dict[str, Any]]:
    """What a variant's artifact answers to `rows` in this process, from the home's own blobs."""
    return partial(_locally, home, rows)


def _locally(home: Path, rows: list[list[float]], variant: str) -> dict[str, Any]:
    store = SqliteStore(home / "catalogue.db")
    catalogue = store.load()
    store.close()
    (spec,) = catalogue.tasks["digits"].inputs
    session = Session.open(Files(home / "blobs"), catalogue.variants[variant].artifact, threads=1, prepack=False)
    try:
        return dict(session.run({spec.name: np.asarray(rows, dtype=np.float32)}))
    finally:
        session.close()
