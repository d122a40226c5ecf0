"""template.yaml is sound, asks for no more than it needs, and agrees with the code that it deploys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from functions.aws.settings import ApiSettings, CapacitySettings, SchedulerSettings
from registry.prices import lambda_tiers

ROOT = Path(__file__).resolve().parents[2]
HANDLERS = {
    "ApiFunction": "api",
    "SchedulerFunction": "scheduler",
    "PrewarmFunction": "prewarm",
    "EvictFunction": "evict",
    "Worker1769Function": "worker",
    "Worker3538Function": "worker",
}
READS = {"dynamodb:GetItem", "dynamodb:Query"}
WRITES = {"dynamodb:PutItem", "dynamodb:UpdateItem"}
PROVISIONS = {"lambda:GetProvisionedConcurrencyConfig", "lambda:PutProvisionedConcurrencyConfig"}


def of_type(template: dict[str, Any], kind: str) -> dict[str, Any]:
    return {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == kind}


def statements(template: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, role in of_type(template, "AWS::IAM::Role").items():
        for policy in role.get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement["Fn::If"][1] if "Fn::If" in statement else statement


def variables(function: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = function["Environment"]["Variables"]
    return found


def test_cfn_lint_finds_nothing() -> None:
    from cfnlint.api import lint_file

    assert [str(match) for match in lint_file(ROOT / "template.yaml")] == []


def test_there_is_a_function_for_each_handler_and_no_other(translated: dict[str, Any]) -> None:
    functions = of_type(translated, "AWS::Lambda::Function")

    assert {name: f["Handler"] for name, f in functions.items()} == {
        name: f"functions.{function}.app.handler" for name, function in HANDLERS.items()
    }


def test_each_function_is_built_for_the_machine_it_runs_on(translated: dict[str, Any], recipes: ModuleType) -> None:
    for name, function in of_type(translated, "AWS::Lambda::Function").items():
        assert function["Architectures"] == [recipes.RECIPES[HANDLERS[name]].architecture], name
        assert function["Runtime"] == f"python{recipes.PYTHON}", name


def test_each_function_has_its_build_target(source: dict[str, Any]) -> None:
    targets = (ROOT / "infra" / "build" / "lambda.mk").read_text()

    for name, resource in source["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            assert resource["Metadata"] == {"BuildMethod": "makefile"}, name
            assert f"build-{name}: FUNCTION := {HANDLERS[name]}".replace(" ", "") in targets.replace(" ", ""), name


def test_each_function_is_given_the_settings_that_it_reads(translated: dict[str, Any]) -> None:
    functions = of_type(translated, "AWS::Lambda::Function")

    assert set(ApiSettings.VARIABLES) <= set(variables(functions["ApiFunction"]))
    assert set(SchedulerSettings.VARIABLES) <= set(variables(functions["SchedulerFunction"]))
    for name in ("PrewarmFunction", "EvictFunction"):
        assert set(CapacitySettings.VARIABLES) <= set(variables(functions[name])), name
        assert variables(functions[name])["WORKERS"] == variables(functions["ApiFunction"])["WORKERS"]


@pytest.mark.parametrize("name", ["Worker1769Function", "Worker3538Function"])
def test_a_worker_starts_with_the_variables_it_is_given(
    name: str, translated: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    function = of_type(translated, "AWS::Lambda::Function")[name]
    tier = next(t for t in lambda_tiers() if t.memory_mb == function["MemorySize"])

    assert int(variables(function)["MODELLESS_THREADS"]) == tier.threads
    assert variables(function)["MODELLESS_BLOBS"] == {"Fn::Sub": "s3://${Bucket}/blobs"}
    assert function["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    assert function["Timeout"] == tier.timeout_s


def test_the_api_knows_a_worker_for_each_snapstart_tier(translated: dict[str, Any]) -> None:
    template, aliases = variables(of_type(translated, "AWS::Lambda::Function")["ApiFunction"])["WORKERS"]["Fn::Sub"]
    arn = {"Ref": "Worker1769FunctionAliaslive"}
    memory = {n: f["MemorySize"] for n, f in of_type(translated, "AWS::Lambda::Function").items()}

    assert aliases["Small"] == arn
    for tier, placeholder in json.loads(template).items():
        function = aliases[placeholder.strip("${}")]["Ref"].removesuffix("Aliaslive")
        assert next(t for t in lambda_tiers() if t.name == tier).memory_mb == memory[function]


def test_every_function_logs_to_a_group_with_a_retention(translated: dict[str, Any]) -> None:
    groups = of_type(translated, "AWS::Logs::LogGroup")

    assert all("RetentionInDays" in group for group in groups.values())
    for name, function in of_type(translated, "AWS::Lambda::Function").items():
        assert function["LoggingConfig"]["LogGroup"]["Ref"] in groups, name


def test_no_role_asks_for_everything(translated: dict[str, Any]) -> None:
    for role, statement in statements(translated):
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]

        assert all("*" not in action for action in actions), role
        assert "*" not in resources, role


def test_each_role_may_do_only_its_functions_work(translated: dict[str, Any]) -> None:
    allowed: dict[str, set[str]] = {}
    for role, statement in statements(translated):
        action = statement["Action"]
        allowed.setdefault(role, set()).update([action] if isinstance(action, str) else action)

    assert allowed == {
        "ApiFunctionRole": {*READS, *WRITES, "lambda:InvokeFunction"},
        "SchedulerFunctionRole": READS,
        "PrewarmFunctionRole": {*READS, *WRITES, *PROVISIONS, "lambda:InvokeFunction"},
        "EvictFunctionRole": {
            *READS,
            *WRITES,
            *PROVISIONS,
            "lambda:DeleteProvisionedConcurrencyConfig",
            "lambda:InvokeFunction",
        },
        "PrewarmFunctionEveryMinuteRole": {"lambda:InvokeFunction"},
        "EvictFunctionEveryMinuteRole": {"lambda:InvokeFunction"},
        "Worker1769FunctionRole": {"s3:GetObject"},
        "Worker3538FunctionRole": {"s3:GetObject"},
    }


def test_capacity_is_kept_once_a_minute_and_only_within_a_budget(translated: dict[str, Any]) -> None:
    schedules = of_type(translated, "AWS::Scheduler::Schedule")
    parts = {"PrewarmFunctionAliaslive", "EvictFunctionAliaslive"}

    assert translated["Conditions"]["KeepsWarm"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "WarmBudgetUsdPerHour"}, 0]}]}
    assert translated["Parameters"]["WarmBudgetUsdPerHour"]["Default"] == 0
    assert {s["Target"]["Arn"]["Ref"] for s in schedules.values()} == parts
    assert {s["ScheduleExpression"] for s in schedules.values()} == {"rate(1 minute)"}
    assert {s["Target"]["RetryPolicy"]["MaximumRetryAttempts"] for s in schedules.values()} == {0}
    for name, resource in translated["Resources"].items():
        if name.startswith(("Prewarm", "Evict", "CapacityLogs")):
            assert resource["Condition"] == "KeepsWarm", name


def test_who_writes_to_the_log_of_activity_writes_nothing_else(translated: dict[str, Any]) -> None:
    """Counters are added to, sightings and claims replaced: none touches the catalogue."""
    keys = {"dynamodb:UpdateItem": {"ApiFunctionRole": ["ACTIVITY#*"]}, "dynamodb:PutItem": {}}
    for role in ("PrewarmFunctionRole", "EvictFunctionRole"):
        keys["dynamodb:UpdateItem"][role] = ["CAPACITY"]
    for role in ("ApiFunctionRole", "PrewarmFunctionRole", "EvictFunctionRole"):
        keys["dynamodb:PutItem"][role] = ["SEEN#*"]
    found: dict[str, dict[str, Any]] = {action: {} for action in keys}
    for role, statement in statements(translated):
        allowed = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        for action in set(keys).intersection(allowed):
            found[action][role] = statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
    assert found == keys
    api = translated["Resources"]["ApiFunctionRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    assert [statement["Fn::If"][0] for statement in api if "Fn::If" in statement] == ["KeepsWarm", "KeepsWarm"]


def test_a_run_of_capacity_ends_before_the_next_begins(translated: dict[str, Any]) -> None:
    functions = of_type(translated, "AWS::Lambda::Function")

    assert {functions[name]["Timeout"] < 60 for name in ("PrewarmFunction", "EvictFunction")} == {True}


def test_only_the_workers_are_provisioned_or_run(translated: dict[str, Any]) -> None:
    aliases = {"Worker1769FunctionAliaslive", "Worker3538FunctionAliaslive"}
    for role, statement in statements(translated):
        if role in ("PrewarmFunctionRole", "EvictFunctionRole") and "lambda:InvokeFunction" in statement["Action"]:
            assert {resource["Ref"] for resource in statement["Resource"]} == aliases


def test_no_front_door_is_open(translated: dict[str, Any]) -> None:
    urls = of_type(translated, "AWS::Lambda::Url")
    (route,) = of_type(translated, "AWS::ApiGatewayV2::Route").values()

    assert [url["AuthType"] for url in urls.values()] == ["AWS_IAM"]  # whatever the stage, local too
    assert route["AuthorizationType"] == {"Fn::If": ["UsesJwt", "JWT", "AWS_IAM"]}


def test_facts_outlive_the_stack(translated: dict[str, Any]) -> None:
    for name in ("Table", "Bucket"):
        resource = translated["Resources"][name]
        assert resource["DeletionPolicy"] == "RetainExceptOnCreate"
        assert resource["UpdateReplacePolicy"] == "Retain"


def test_the_bucket_is_versioned_encrypted_and_private(translated: dict[str, Any]) -> None:
    (bucket,) = of_type(translated, "AWS::S3::Bucket").values()

    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}


def test_a_catalogue_can_live_in_the_templates_own_table(translated: dict[str, Any], aws: Any) -> None:
    from registry.catalogue import Catalogue
    from registry.stores.dynamodb import DynamoStore

    (table,) = of_type(translated, "AWS::DynamoDB::Table").values()
    keys = {name: table[name] for name in ("BillingMode", "AttributeDefinitions", "KeySchema")}
    aws.create_table(TableName="facts", **keys)
    store = DynamoStore("facts", client=aws)

    store.publish(Catalogue.empty().with_tiers(*lambda_tiers()))

    assert set(store.load().tiers) == {tier.name for tier in lambda_tiers()}
