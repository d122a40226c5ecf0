"""`push` says what it would do, refuses what it cannot measure, and its releases are undone like any."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import boto3
import numpy as np
import pytest
from click.testing import Result

from cli.cloud import told_of_cloud
from cli.errors import CliError
from optimizer.artifact import make_artifact
from optimizer.evaluation import Evaluation
from optimizer.keep import keep_sources
from registry.blobs.files import Files
from registry.errors import NotFound, Unavailable
from registry.model import LEVELS, Accuracy, Placement, Profile, Quantiles, Recipe, ServiceTime, Variant
from registry.prices import lambda_tiers
from registry.store import update
from registry.stores.dynamodb import DynamoStore
from registry.stores.dynamodb_table import DynamoTable
from registry.stores.sqlite import SqliteStore

Invoke = Callable[..., Result]

WHERE = (
    "--table", "facts", "--bucket", "artefacts",
    "--workers", '{"lambda-1769": "arn:aws:lambda:us-east-1:123456789012:function:w:live"}',
)  # fmt: skip
ROWS = np.ones((6, 4), np.float32)
ACCURACY = Accuracy(0.9, 0.8, 1.0, 16, "bootstrap")


@pytest.fixture
def cloud(table: DynamoTable) -> DynamoStore:
    """An account with a table and a bucket."""
    boto3.client("s3").create_bucket(Bucket="artefacts")
    return DynamoStore("facts")


@pytest.fixture
def kept(home: Path, graphs: object) -> Path:
    """The home with `flowers` as a registration leaves it: rows and artifact are kept."""
    blobs = Files(home / "blobs")
    model = graphs.scaled(2.0)  # type: ignore[attr-defined]
    artifact = make_artifact(model, blobs)
    store = SqliteStore(home / "catalogue.db")
    task = store.load().tasks["flowers"]
    sources = keep_sources(blobs, task, Evaluation({"features": ROWS}, "label", np.ones(6)), {}, {"small": model})
    variant = Variant("flowers", "small", artifact, Recipe("train"), ACCURACY)
    base = store.load().without_task("flowers").with_tasks(task).with_variants(variant)
    store.publish(base.with_placements(Placement(variant.id, "inline")).with_sources(sources))
    store.close()
    return home


def measured_there(store: DynamoStore, home: Path) -> None:
    """Somebody has measured the same variant on the same tier of the stack."""
    local = SqliteStore(home / "catalogue.db")
    task, variant = local.load().tasks["flowers"], local.load().variants["flowers/small"]
    local.close()
    times = Quantiles((1.0,) * len(LEVELS), 1.0)
    placement = Placement(variant.id, "lambda-1769")
    service = (ServiceTime(1, times, 1.0),)
    profile = Profile(placement.id, service, times, times, 1.0, "there", "none", 9, "2026-01-01T00:00:00+00:00")
    base = lambda c: c.with_tasks(task).with_tiers(*lambda_tiers()).with_variants(variant)  # noqa: E731 - an edit
    update(store, lambda c: base(c).with_placements(placement).with_profiles(profile))


def test_a_dry_run_says_what_it_takes_and_changes_nothing(invoke: Invoke, kept: Path, cloud: DynamoStore) -> None:
    document = json.loads(invoke("push", *WHERE, "--home", str(kept), "--dry-run", "--json").stdout)

    assert (document["catalogue_version"], document["stack"]) == (None, "table facts")
    assert document["blobs"]["uploaded"] == document["blobs"]["needed"] > 3
    (task,) = document["tasks"]
    assert (task["task"], task["to_measure"]) == ("flowers", ["flowers/small on lambda-1769"])
    assert cloud.head() == 0
    assert boto3.client("s3").list_objects_v2(Bucket="artefacts")["KeyCount"] == 0

    drawn = invoke("push", "flowers", *WHERE, "--home", str(kept), "--dry-run").stdout
    assert "to measure: flowers/small on lambda-1769" in drawn
    assert "Nothing was changed" in drawn


def test_nothing_unmeasured_is_published(invoke: Invoke, kept: Path, cloud: DynamoStore) -> None:
    result = invoke("push", *WHERE, "--home", str(kept), "--no-profile")

    assert result.exit_code == 2
    assert "flowers/small on lambda-1769: no profile there" in result.stderr
    assert cloud.head() == 0


def test_what_is_measured_there_is_pushed_without_measuring_and_undone(
    invoke: Invoke, kept: Path, cloud: DynamoStore
) -> None:
    measured_there(cloud, kept)
    result = invoke("push", "flowers", *WHERE, "--home", str(kept), "--no-profile", "--json")
    document = json.loads(result.stdout)
    assert document["catalogue_version"] == 2
    assert document["tasks"][0]["kept"] == ["flowers/small@lambda-1769:1"]
    keys = {item["Key"] for item in boto3.client("s3").list_objects_v2(Bucket="artefacts")["Contents"]}
    assert len(keys) == document["blobs"]["uploaded"]
    assert all(key.startswith("blobs/blake3/") for key in keys)

    again = json.loads(invoke("push", *WHERE, "--home", str(kept), "--no-profile", "--json").stdout)
    assert (again["blobs"]["uploaded"], again["catalogue_version"]) == (0, 3)

    assert "Uploading ..." in result.stderr
    assert "Binding ..." in result.stderr
    for command, expected in (
        ("history", "push flowers"),
        ("tasks", "flowers"),
        ("rollback", "Release 4 is release 2"),
    ):
        assert expected in invoke(command, "--table", "facts").stdout
    (shown,) = json.loads(invoke("variants", "flowers", "--table", "facts", "--json").stdout)["variants"]
    assert shown["placements"][0]["id"] == "flowers/small@lambda-1769:1"


def test_a_task_is_taken_off_and_comes_back(invoke: Invoke, kept: Path, cloud: DynamoStore) -> None:
    measured_there(cloud, kept)
    assert "did you mean 'flowers'?" in invoke("unpush", "flowrs", "--table", "facts").stderr
    assert json.loads(invoke("unpush", "flowers", "--table", "facts", "--json").stdout)["catalogue_version"] == 2
    assert cloud.load().tasks == {}
    invoke("rollback", "--table", "facts")
    assert set(cloud.load().tasks) == {"flowers"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--table, --bucket, --workers are missing; give --stack NAME"),
        (WHERE[:4], "--workers is missing"),
        ((*WHERE, "--stack", "shop"), "leave out --table, --bucket, --workers"),
        ((*WHERE, "--tier", "lambda-1"), "table facts has no 'lambda-1'; it has lambda-1769"),
        ((*WHERE, "--fresh", "--no-profile"), "leave one out"),
        (("flowrs", *WHERE), "did you mean 'flowers'?"),
    ],
)
def test_what_cannot_be_is_refused(options: tuple[str, ...], said: str, invoke: Invoke, home: Path) -> None:
    result = invoke("push", *options, "--home", str(home))

    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize("option", ["--stack", "--table"])
@pytest.mark.parametrize("command", [("tasks",), ("history",), ("push",), ("unpush", "flowers")])
def test_a_name_that_is_empty_is_none(command: tuple[str, ...], option: str, invoke: Invoke) -> None:
    result = invoke(*command, option, "")
    assert (result.exit_code, f"{option}: is empty; give a name" in result.stderr) == (2, True), result.output


def test_an_endpoint_that_is_no_address_is_named(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "localhost:4566")
    result = invoke("tasks", "--table", "facts")
    assert (result.exit_code, "AWS_ENDPOINT_URL_DYNAMODB: 'localhost:4566' is no address; give" in result.stderr) == (
        2,
        True,
    ), result.output


def test_a_table_that_is_not_there_is_said(invoke: Invoke, cloud: DynamoStore) -> None:
    result = invoke("history", "--table", "fact")

    assert result.exit_code == 1
    assert "DynamoDB table fact does not exist in us-east-1" in result.stderr


def test_without_credentials_it_is_said_how_to_have_some(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert "no AWS credentials" in invoke("history", "--table", "facts").stderr

    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION", raising=False)
    assert "set AWS_REGION" in invoke("history", "--stack", "shop").stderr


@pytest.mark.parametrize(
    ("operation", "code", "said"),
    [
        ("PutObject", "AccessDenied", "access denied to s3:PutObject"),
        ("HeadObject", "403", "access denied to s3:GetObject and s3:ListBucket"),
        ("Sign", "AccessDeniedException", "access denied to kms:Sign .*; attach the stack's PublisherPolicyArn"),
        ("Query", "AccessDeniedException", "access denied to dynamodb:Query"),
        ("Query", "ExpiredTokenException", "log in again"),
        ("Query", "InternalServerError", "somewhere: An error occurred"),
    ],
)
def test_a_refusal_names_the_action(operation: str, code: str, said: str) -> None:
    from botocore.exceptions import ClientError

    fault = ClientError({"Error": {"Code": code, "Message": "no"}}, operation)
    with pytest.raises(CliError, match=said) as caught, told_of_cloud():
        raise Unavailable("somewhere", str(fault)) from fault
    assert caught.value.exit_code == 1


def test_where_aws_is_not_reached_the_region_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import EndpointConnectionError

    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    fault = EndpointConnectionError(endpoint_url="https://dynamodb.eu-west-1.amazonaws.com")
    with pytest.raises(CliError, match=r"table facts is not reached in eu-west-1 .*AWS_REGION"), told_of_cloud():
        raise Unavailable("table facts", str(fault)) from fault


def test_a_stack_that_is_not_there_is_the_callers_to_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with pytest.raises(CliError, match="no stack 'shop' in eu-west-1") as caught, told_of_cloud():
        raise NotFound("stack", "shop")
    assert caught.value.exit_code == 2


def test_without_the_sdk_it_is_said_what_to_install() -> None:
    with pytest.raises(CliError, match=r"modelless\[aws\]") as caught, told_of_cloud():
        raise ModuleNotFoundError("No module named 'botocore'", name="botocore.session")
    assert caught.value.exit_code == 1
