"""template.yaml is sound and agrees with the code that it deploys."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from benchmarks.deployed import TemplateError, parsed
from functions.aws.jobs import LEASE_MARGIN_S, MARGIN_S, MOST_RECEIVES
from functions.aws.settings import (
    ApiSettings,
    CapacitySettings,
    FeedbackSettings,
    JobsSettings,
    OptimizeSettings,
    SchedulerSettings,
)
from registry.jobs import KEPT_S
from registry.prices import lambda_tiers

ROOT = Path(__file__).resolve().parents[2]
WORKERS = {f"Worker{mb}Function": mb for mb in (1769, 3538, 5307, 10240)}
HANDLERS = {
    "ApiFunction": "api",
    "SchedulerFunction": "scheduler",
    "PrewarmFunction": "prewarm",
    "EvictFunction": "evict",
    "JobsFunction": "jobs",
    "FeedbackFunction": "feedback",
    "OptimizeFunction": "optimize",
    **dict.fromkeys((*WORKERS, "IsolatedWorkerFunction"), "worker"),
}
SETTINGS = {
    "api": ApiSettings,
    "scheduler": SchedulerSettings,
    "prewarm": CapacitySettings,
    "evict": CapacitySettings,
    "feedback": FeedbackSettings,
    "jobs": JobsSettings,
    "optimize": OptimizeSettings,
}
NEW_ACCOUNT_MB = 3008
"""Most memory of a function in many a new account (Lambda Developer Guide, "Lambda quotas": reduced at first)."""
SNAPSHOTS = {"none": (), "smallest": (1769,), "all": tuple(WORKERS.values())}

Resources = dict[str, dict[str, Any]]
Deploy = Callable[..., Resources]


def of_type(resources: Resources, kind: str) -> Resources:
    return {name: resource["Properties"] for name, resource in resources.items() if resource["Type"] == kind}


def functions(resources: Resources) -> Resources:
    return of_type(resources, "AWS::Lambda::Function")


def variables(function: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = function["Environment"]["Variables"]
    return found


def workers_of(function: dict[str, Any]) -> dict[str, str]:
    """Tier to the function that carries it out, as WORKERS says."""
    text, aliases = variables(function)["WORKERS"]["Fn::Sub"]
    return {
        tier: aliases[placeholder.strip("${}")]["Ref"].removesuffix("Aliaslive")
        for tier, placeholder in json.loads(text).items()
    }


def test_there_is_a_function_for_each_handler_and_no_other(source: dict[str, Any]) -> None:
    found = {
        name: resource["Properties"]["Handler"]
        for name, resource in source["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }

    assert found == {name: f"functions.{function}.app.handler" for name, function in HANDLERS.items()}


def test_each_function_is_built_for_the_machine_it_runs_on(everything: Resources, recipes: ModuleType) -> None:
    for name, function in functions(everything).items():
        assert function["Architectures"] == [recipes.RECIPES[HANDLERS[name]].architecture], name
        assert function["Runtime"] == f"python{recipes.PYTHON}", name


def test_each_function_is_built_by_make(source: dict[str, Any]) -> None:
    targets = (ROOT / "infra" / "build" / "lambda.mk").read_text()
    built = next(line for line in targets.splitlines() if line.startswith("FUNCTIONS := "))
    workers = next(line for line in targets.splitlines() if line.startswith("WORKERS := "))

    for name, resource in source["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            assert resource["Metadata"] == {"BuildMethod": "makefile"}, name
            if HANDLERS[name] == "worker":
                assert name in workers.split()
            else:
                assert f"build-{name}:FUNCTION:={HANDLERS[name]}" in targets.replace(" ", "")
                assert name in built.split()


def test_each_change_of_a_setting_publishes_a_version(source: dict[str, Any]) -> None:
    """Else the alias, which is what is invoked, would go on with the former settings."""
    for name, resource in source["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            assert resource["Properties"]["AutoPublishAliasAllProperties"] is True, name
    everywhere = source["Globals"]["Function"]
    assert (everywhere["AutoPublishAlias"], everywhere["VersionDeletionPolicy"]) == ("live", "Delete")


def test_each_function_is_given_the_settings_that_it_reads(everything: Resources) -> None:
    for name, function in functions(everything).items():
        if HANDLERS[name] in SETTINGS:
            assert set(SETTINGS[HANDLERS[name]].VARIABLES) <= set(variables(function)), name
        assert variables(function)["STAGE"] == "prod"


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_starts_with_the_variables_it_is_given(name: str, deploy: Deploy) -> None:
    function = functions(deploy())[name]
    tier = next(tier for tier in lambda_tiers() if tier.memory_mb == WORKERS[name])

    assert function["MemorySize"] == tier.memory_mb
    assert int(variables(function)["MODELLESS_THREADS"]) == tier.threads
    assert variables(function)["MODELLESS_BLOBS"] == {"Fn::Sub": "s3://${Bucket}/blobs"}
    assert function["Timeout"] == tier.timeout_s


@pytest.mark.parametrize(("snapstart", "snapped"), SNAPSHOTS.items())
def test_a_workers_disk_holds_what_its_memory_does(snapstart: str, snapped: tuple[int, ...], deploy: Deploy) -> None:
    """What is resident is mapped from it. Lambda takes no snapshot of a function with more than 512 MB of it."""
    found = functions(deploy(SnapStart=snapstart))

    assert {mb: found[name]["EphemeralStorage"]["Size"] for name, mb in WORKERS.items()} == {
        mb: 512 if mb in snapped else mb for mb in WORKERS.values()
    }


@pytest.mark.parametrize(("snapstart", "snapped"), SNAPSHOTS.items())
def test_a_worker_is_the_tier_that_it_starts_as(snapstart: str, snapped: tuple[int, ...], deploy: Deploy) -> None:
    resources = deploy(SnapStart=snapstart, WarmBudgetUsdPerHour="0.5")
    found = functions(resources)
    tiers = {tier.name: tier for tier in lambda_tiers()}

    for name, mb in WORKERS.items():
        assert found[name]["SnapStart"] == {"ApplyOn": "PublishedVersions" if mb in snapped else "None"}
    assert workers_of(found["ApiFunction"]) == {
        f"lambda-{mb}{'-snapstart' if mb in snapped else ''}": name for name, mb in WORKERS.items()
    }
    assert set(workers_of(found["ApiFunction"])) <= set(tiers)
    for name in ("PrewarmFunction", "EvictFunction", "JobsFunction"):
        assert variables(found[name])["WORKERS"] == variables(found["ApiFunction"])["WORKERS"]


def test_an_account_that_may_have_no_large_functions_can_deploy_the_smallest(deploy: Deploy) -> None:
    """Lambda refuses more memory than an account may have, and CloudFormation then takes everything back."""
    resources = deploy(WorkerSizes="smallest", SnapStart="all", WarmBudgetUsdPerHour="0.5")
    found = functions(resources)

    assert max(function["MemorySize"] for function in found.values()) <= NEW_ACCOUNT_MB
    for name in ("ApiFunction", "PrewarmFunction", "EvictFunction", "JobsFunction"):
        assert workers_of(found[name]) == {"lambda-1769-snapstart": "Worker1769Function"}
    assert not any(str(mb) in name for name in resources for mb in WORKERS.values() if mb > NEW_ACCOUNT_MB)
    for needs_more in ("IsolateTenants", "Optimizer"):
        with pytest.raises(TemplateError, match="OneSizeIsNeitherIsolatedNorOptimized"):
            deploy(WorkerSizes="smallest", **{needs_more: "on"})


GPU = {
    "Gpu": "sagemaker",
    "GpuImageUri": "000000000000.dkr.ecr.us-east-1.amazonaws.com/modelless:cuda",
    "AlarmEmail": "ops@example.org",
}
CHANGES = (
    {},
    {"Stage": "prod", "Alarms": "all"},
    {"MetricsBy": "service"},
    {"Alarms": "off"},
    {"TenantClaim": "org"},
    {"JwtIssuer": "https://issuer.example", "JwtAudience": "us"},
    {"QuotaRequestsPerSecond": "50"},
    {"IsolateTenants": "on"},
    {"IsolateTenants": "on", "WarmBudgetUsdPerHour": "0.5"},
    {"SigningKeyArn": "arn:aws:kms:us-east-1:000000000000:key/k"},
    {"SnapStart": "smallest"},
    {"SnapStart": "all"},
    {"WorkerConcurrency": "20"},
    {"WorkerSizes": "smallest"},
    {"WorkerSizes": "smallest", "SnapStart": "all", "WarmBudgetUsdPerHour": "0.5"},
    {"WarmBudgetUsdPerHour": "0.5"},
    {"WarmBudgetUsdPerHour": "0.5", "SnapStart": "smallest"},
    {"WarmBudgetUsdPerHour": "1", "LogRetentionDays": "7"},
    {"Optimizer": "on"},
    GPU,
    {**GPU, "GpuInstanceType": "ml.g5.xlarge"},
    {**GPU, "GpuMaxCopies": "2"},
    {**GPU, "WarmBudgetUsdPerHour": "2"},
    {**GPU, "WarmBudgetUsdPerHour": "2", "GpuWakeOnDemand": "on"},
    {"GpuInstanceType": "ml.g5.xlarge", "GpuMaxCopies": "2"},
    {"AlarmEmail": "ops@example.org", "MonthlyBudgetUsd": "50"},
)
"""Sets of parameters, one change from another."""


def test_a_version_is_published_for_each_parameter_that_its_function_sees_and_no_other(deploy: Deploy) -> None:
    """Where none were, the alias would go on as before; where nothing has changed, Lambda refuses to publish."""
    made: dict[str, set[tuple[str, str]]] = {}
    for parameters in CHANGES:
        resources = deploy(**parameters)
        for name, function in functions(resources).items():
            versioned = {key: value for key, value in function.items() if key != "ReservedConcurrentExecutions"}
            ((version, published),) = (
                (key, value["Properties"])
                for key, value in resources.items()
                if value["Type"] == "AWS::Lambda::Version" and key.startswith(f"{name}Version")
            )
            assert len(published["Description"]) <= 256
            made.setdefault(name, set()).add((json.dumps(versioned), version + published["Description"]))

    for name, pairs in made.items():
        assert len({settings for settings, _ in pairs}) == len(pairs), name
        assert len({version for _, version in pairs}) == len(pairs), name


def test_a_version_can_be_described_whatever_is_set(source: dict[str, Any], deploy: Deploy) -> None:
    """Lambda takes 256 characters."""
    claim = source["Parameters"]["TenantClaim"]
    longest = {
        **GPU,
        "Stage": "prod",
        "Alarms": "all",
        "MetricsBy": "service",
        "SnapStart": "smallest",
        "WorkerSizes": "smallest",
    }
    resources = deploy(
        **longest,
        GpuMaxCopies="10",
        GpuInstanceType="ml.g4dn.xlarge",
        TenantClaim="c" * claim["MaxLength"],
        WarmBudgetUsdPerHour="1234.56789",
        QuotaRequestsPerSecond="1234.56789",
        SigningKeyArn=f"arn:aws-us-gov:kms:us-gov-west-1:000000000000:key/mrk-{'0' * 32}",
    )

    described = [version["Description"] for version in of_type(resources, "AWS::Lambda::Version").values()]
    assert max(map(len, described)) <= 256
    # None at all would name no tenant, and start no function.
    assert claim["MinLength"] == 1


def test_isolated_tenants_share_no_environment(deploy: Deploy) -> None:
    resources = deploy(IsolateTenants="on", WarmBudgetUsdPerHour="0.5")
    found = functions(resources)

    assert workers_of(found["ApiFunction"]) == {"lambda-3538": "IsolatedWorkerFunction"}
    assert found["IsolatedWorkerFunction"]["TenancyConfig"] == {"TenantIsolationMode": "PER_TENANT"}
    assert found["IsolatedWorkerFunction"]["MemorySize"] == 3538
    assert not {"SnapStart", "ProvisionedConcurrencyConfig"} & set(found["IsolatedWorkerFunction"])
    # A warm-up is of no tenant, and Lambda would start no environment for it.
    assert set(found) == {HANDLER for HANDLER in found if not HANDLER.startswith(("Worker", "Prewarm", "Evict"))}
    assert variables(found["ApiFunction"])["WARM_BUDGET_USD_PER_HOUR"] == "0"
    with pytest.raises(TemplateError, match="IsolationExcludesSnapshots"):
        deploy(IsolateTenants="on", SnapStart="smallest")


def test_what_is_made_is_measured_for_its_owner_where_tenants_are_isolated(deploy: Deploy) -> None:
    function = functions(deploy(IsolateTenants="on", Optimizer="on"))["OptimizeFunction"]

    assert OptimizeSettings.read(variables(function) | {"WORKERS": '{"lambda-3538": "arn"}'}).isolated
    assert not OptimizeSettings("table", "bucket", {}, "queue").isolated


def test_what_nobody_signs_is_not_made(deploy: Deploy) -> None:
    with pytest.raises(TemplateError, match="SigningExcludesTheOptimizer"):
        deploy(SigningKeyArn="arn:aws:kms:us-east-1:000000000000:key/k", Optimizer="on")


def test_a_minute_that_failed_is_not_tried_again(everything: Resources) -> None:
    """Neither by who delivers its event nor by Lambda, which would do so minutes later: the next minute makes up."""
    configs = of_type(everything, "AWS::Lambda::EventInvokeConfig")

    assert {config["FunctionName"]["Ref"] for config in configs.values()} == {"PrewarmFunction", "EvictFunction"}
    for config in configs.values():
        assert (config["MaximumRetryAttempts"], config["MaximumEventAgeInSeconds"]) == (0, 60)
        # Of the alias, which is what a schedule invokes.
        assert config["Qualifier"] == "live"


def test_the_log_of_access_is_one_that_no_policy_must_name(deploy: Deploy) -> None:
    """API Gateway adds any other to a policy of the account's, which 5,120 characters fill."""
    assert "/aws/vendedlogs/" in str(deploy()["HttpApi.Logs"]["Properties"]["LogGroupName"])


def test_the_console_asks_for_each_parameter_once(source: dict[str, Any]) -> None:
    groups = source["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    asked = [name for group in groups for name in group["Parameters"]]

    assert sorted(asked) == sorted(source["Parameters"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JwtIssuer", "issuer.example"),
        ("SigningKeyArn", "arn:aws:kms:us-east-1:000000000000:alias/models"),
        ("GpuImageUri", "modelless:cuda"),
    ],
)
def test_what_is_no_issuer_no_key_and_no_image_is_refused_at_once(name: str, value: str, deploy: Deploy) -> None:
    with pytest.raises(TemplateError, match=f"{name} is '{value}'; it is to match"):
        deploy(**{name: value})


def test_a_token_must_be_for_us(deploy: Deploy) -> None:
    with pytest.raises(TemplateError, match="JwtNeedsAnAudience"):
        deploy(JwtIssuer="https://issuer.example")


def test_a_canary_is_watched(deploy: Deploy) -> None:
    with pytest.raises(TemplateError, match="ACanaryNeedsAlarms"):
        deploy(Stage="prod")


def test_environments_are_reserved_where_they_are_asked_for(deploy: Deploy) -> None:
    reserved = functions(deploy(WorkerConcurrency="20"))

    assert {reserved[name]["ReservedConcurrentExecutions"] for name in WORKERS} == {"20"}
    assert not any("ReservedConcurrentExecutions" in function for function in functions(deploy()).values())


def test_every_function_logs_to_a_group_with_a_retention(everything: Resources) -> None:
    groups = of_type(everything, "AWS::Logs::LogGroup")

    assert {str(group["RetentionInDays"]) for group in groups.values()} == {"30"}
    for name, function in functions(everything).items():
        assert function["LoggingConfig"]["LogFormat"] == "JSON", name
        assert function["LoggingConfig"]["LogGroup"]["Ref"] in groups, name


def test_every_function_says_whose_it_is(everything: Resources) -> None:
    wanted = [{"Key": "app", "Value": "modelless"}, {"Key": "stage", "Value": "prod"}]
    for name, resource in everything.items():
        if resource["Type"] in ("AWS::Lambda::Function", "AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SQS::Queue"):
            assert [tag for tag in resource["Properties"]["Tags"] if tag in wanted] == wanted, name


def test_capacity_is_kept_once_a_minute_and_only_within_a_budget(deploy: Deploy, everything: Resources) -> None:
    schedules = of_type(everything, "AWS::Scheduler::Schedule")

    assert {s["Target"]["Arn"]["Ref"] for s in schedules.values()} == {
        "PrewarmFunctionAliaslive",
        "EvictFunctionAliaslive",
    }
    assert {s["ScheduleExpression"] for s in schedules.values()} == {"rate(1 minute)"}
    assert {s["Target"]["RetryPolicy"]["MaximumRetryAttempts"] for s in schedules.values()} == {0}
    assert [name for name in deploy() if name.startswith(("Prewarm", "Evict", "Capacity", "Schedule"))] == [
        "Schedule" for _ in ()
    ] + [name for name in deploy() if name.startswith("Scheduler")]


def test_a_run_of_capacity_ends_before_the_next_begins(everything: Resources) -> None:
    assert {functions(everything)[name]["Timeout"] < 60 for name in ("PrewarmFunction", "EvictFunction")} == {True}


def test_a_queue_waits_for_its_function_and_gives_up_at_last(everything: Resources) -> None:
    queues = of_type(everything, "AWS::SQS::Queue")
    sources = of_type(everything, "AWS::Lambda::EventSourceMapping")

    assert len(sources) == 3
    for source in sources.values():
        queue = queues[source["EventSourceArn"]["Fn::GetAtt"][0]]
        function = functions(everything)[source["FunctionName"]["Ref"].removesuffix("Aliaslive")]
        assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert source["ScalingConfig"]["MaximumConcurrency"] >= 2
        assert queue["VisibilityTimeout"] >= 6 * function["Timeout"]
        dead = queues[queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]]
        # A message keeps its age when it is moved, so it must be let live longer there.
        assert dead["MessageRetentionPeriod"] >= queue["MessageRetentionPeriod"]
    assert {queue["SqsManagedSseEnabled"] for queue in queues.values()} == {True}


def test_whoever_sends_into_the_queue_that_it_reads_is_not_taken_for_a_loop(everything: Resources) -> None:
    """By default Lambda stops what has gone round sixteen times, and makes a dead letter of it."""
    found = functions(everything)
    round_and_round = set()
    for source in of_type(everything, "AWS::Lambda::EventSourceMapping").values():
        name = source["FunctionName"]["Ref"].removesuffix("Aliaslive")
        role = everything[found[name]["Role"]["Fn::GetAtt"][0]]["Properties"]
        if any(
            "sqs:SendMessage" in statement["Action"] and statement["Resource"] == source["EventSourceArn"]
            for policy in role["Policies"]
            for statement in policy["PolicyDocument"]["Statement"]
        ):
            round_and_round.add(name)

    assert round_and_round == {"FeedbackFunction", "OptimizeFunction"}
    assert {name for name in found if found[name].get("RecursiveLoop") == "Allow"} == round_and_round


def test_a_job_is_tried_for_as_long_as_its_function_thinks(everything: Resources) -> None:
    queue, function = of_type(everything, "AWS::SQS::Queue")["JobsQueue"], functions(everything)["JobsFunction"]
    worker = functions(everything)["Worker1769Function"]

    assert queue["RedrivePolicy"]["maxReceiveCount"] == MOST_RECEIVES
    assert queue["MessageRetentionPeriod"] == KEPT_S
    assert function["Timeout"] - MARGIN_S > 2 * worker["Timeout"]
    # Who is gone is not waited for longer than its message is hidden.
    assert function["Timeout"] + LEASE_MARGIN_S <= queue["VisibilityTimeout"]


def test_a_local_stack_has_only_what_localstack_has(deploy: Deploy) -> None:
    resources = deploy(Stage="local", WarmBudgetUsdPerHour="0.5", Optimizer="on", AlarmEmail="ops@example.org")
    kinds = {resource["Type"] for resource in resources.values()}

    assert not {kind for kind in kinds if kind.startswith(("AWS::ApiGatewayV2", "AWS::Scheduler", "AWS::CodeDeploy"))}
    assert not kinds & {"AWS::Budgets::Budget", "AWS::CloudFormation::Stack", "AWS::SageMaker::Endpoint"}
    (rule,) = of_type(resources, "AWS::Events::Rule").values()
    assert rule["ScheduleExpression"] == "rate(1 minute)"
    called = [target["Arn"]["Ref"] for target in rule["Targets"]]
    assert called == ["PrewarmFunctionAliaslive", "EvictFunctionAliaslive"]
    permissions = of_type(resources, "AWS::Lambda::Permission")
    assert [p["FunctionName"]["Ref"] for p in permissions.values()] == called
    assert {p["Principal"] for p in permissions.values()} == {"events.amazonaws.com"}


def test_a_new_version_takes_over_by_and_by_in_prod(deploy: Deploy, everything: Resources) -> None:
    def ways(resources: Resources) -> set[str]:
        groups = of_type(resources, "AWS::CodeDeploy::DeploymentGroup").values()
        return {json.dumps(group["DeploymentConfigName"]).strip('"').rpartition(".")[2] for group in groups}

    assert len(of_type(everything, "AWS::CodeDeploy::DeploymentGroup")) == len(functions(everything))
    assert len(ways(everything)) == len(ways(deploy())) == 1
    assert "Canary10Percent5Minutes" in str(ways(everything))
    assert "AllAtOnce" in str(ways(deploy()))
    assert ways(deploy(Stage="local")) == set()
    watched = {
        json.dumps(group["AlarmConfiguration"])
        for group in of_type(everything, "AWS::CodeDeploy::DeploymentGroup").values()
    }
    assert len(watched) == 1
    alarms = [alarm["Name"]["Fn::GetAtt"] for alarm in json.loads(watched.pop())["Alarms"]]
    assert alarms == [["Observability", "Outputs.ApiErrors"], ["Observability", "Outputs.SloFiveMinutes"]]
    assert {"Observability.ApiErrors", "Observability.SloFiveMinutes"} <= set(everything)


def test_alarms_wait_for_no_alias_that_waits_for_them(everything: Resources) -> None:
    given = everything["Observability"]["Properties"]["Parameters"]
    assert "Alias" not in json.dumps(given)


def test_there_are_as_many_alarms_as_are_asked_for(deploy: Deploy) -> None:
    def watching(resources: Resources) -> int:
        return len([r for r in resources.values() if r["Type"] == "AWS::CloudWatch::Alarm"])

    assert 0 == watching(deploy(Alarms="off")) < watching(deploy()) < watching(deploy(Alarms="all"))
    assert watching(deploy(Stage="local", Alarms="all")) == 0


def test_no_front_door_is_open(everything: Resources, deploy: Deploy) -> None:
    tokens = deploy(JwtIssuer="https://issuer.example", JwtAudience="us")
    for resources, routes in ((everything, ["AWS_IAM"]), (tokens, ["JWT"]), (deploy(Stage="local"), [])):
        assert [url["AuthType"] for url in of_type(resources, "AWS::Lambda::Url").values()] == ["AWS_IAM"]
        assert [r["AuthorizationType"] for r in of_type(resources, "AWS::ApiGatewayV2::Route").values()] == routes


def test_the_front_door_s_answers_are_the_function_s(everything: Resources) -> None:
    (integration,) = of_type(everything, "AWS::ApiGatewayV2::Integration").values()
    timeout_ms = functions(everything)["ApiFunction"]["Timeout"] * 1000

    assert integration["PayloadFormatVersion"] == "2.0"
    assert timeout_ms < integration["TimeoutInMillis"]


def test_what_the_front_door_lets_through_is_what_operators_are_told(everything: Resources) -> None:
    """What it refuses no function and no alarm hears of."""
    (stage,) = of_type(everything, "AWS::ApiGatewayV2::Stage").values()
    limits = stage["DefaultRouteSettings"]
    told = f"{limits['ThrottlingRateLimit']:,} requests a second, and {limits['ThrottlingBurstLimit']:,} at once"

    assert told in (ROOT / "docs" / "operations.md").read_text()


def test_who_deploys_is_told_of_every_service_that_is_deployed(everything: Resources) -> None:
    nested = [parsed(path) for path in (ROOT / "infra").glob("*.yaml") if path.name != "lambda-gpu.yaml"]
    resources = [*everything.values(), *(one for template in nested for one in template["Resources"].values())]
    paragraph = next(
        p for p in (ROOT / "docs/operations.md").read_text().split("\n\n") if p.startswith("Who deploys makes")
    )
    assert {one["Type"].split("::")[1] for one in resources} <= set(re.findall(r"\w+", paragraph))


def test_facts_outlive_the_stack(everything: Resources) -> None:
    for name in ("Table", "Bucket"):
        assert everything[name]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert everything[name]["UpdateReplacePolicy"] == "Retain"


def test_the_bucket_is_versioned_encrypted_and_private(everything: Resources) -> None:
    (bucket,) = of_type(everything, "AWS::S3::Bucket").values()

    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    expires = {r["Prefix"]: r["ExpirationInDays"] for r in bucket["LifecycleConfiguration"]["Rules"] if "Prefix" in r}
    assert expires == {"jobs/": 2, "inbox/": 1}


def test_the_budget_counts_what_is_ours_and_tells_somebody(everything: Resources, deploy: Deploy) -> None:
    (budget,) = of_type(everything, "AWS::Budgets::Budget").values()

    assert budget["Budget"]["CostFilters"] == {"TagKeyValue": ["user:app$modelless"]}
    assert budget["Budget"]["BudgetLimit"] == {"Amount": "20", "Unit": "USD"}
    for notified in budget["NotificationsWithSubscribers"]:
        assert notified["Subscribers"] == [{"SubscriptionType": "EMAIL", "Address": "ops@example.org"}]
    assert not of_type(deploy(), "AWS::Budgets::Budget")
    assert not of_type(deploy(AlarmEmail="ops@example.org", MonthlyBudgetUsd="0"), "AWS::Budgets::Budget")


@pytest.mark.parametrize("region", ["us-east-1", "eu-north-1", "eu-south-1"])
def test_what_a_region_lacks_is_not_named_where_it_is_off(region: str, deploy: Deploy) -> None:
    """CloudFormation refuses a template with a type that it does not know, whatever its conditions say."""
    known = set(PROVIDER_SCHEMA_MANAGER.get_resource_types(region))

    for resources in (deploy(), deploy(AlarmEmail="ops@example.org", MonthlyBudgetUsd="0", WarmBudgetUsdPerHour="1")):
        assert {resource["Type"] for resource in resources.values()} <= known
    assert not {"AWS::Budgets::Budget", "AWS::SageMaker::InferenceComponent"} & {
        resource["Type"] for resource in parsed(ROOT / "template.yaml")["Resources"].values()
    }


def test_each_environment_of_samconfig_deploys_a_stage_of_its_own(deploy: Deploy) -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    stages = {}
    for name, environment in config.items():
        if name != "version":
            words = environment["deploy"]["parameters"]["parameter_overrides"].split()
            given = dict(word.split("=") for word in words)
            assert deploy(**given)
            stages[name] = given["Stage"]

    assert stages == {"default": "dev", "dev": "dev", "prod": "prod", "local": "local"}


def test_a_catalogue_can_live_in_the_templates_own_table(everything: Resources, aws: None) -> None:
    import boto3

    from registry.catalogue import Catalogue
    from registry.stores.dynamodb import DynamoStore

    (table,) = of_type(everything, "AWS::DynamoDB::Table").values()
    keys = {name: table[name] for name in ("BillingMode", "AttributeDefinitions", "KeySchema")}
    boto3.client("dynamodb").create_table(TableName="facts", **keys)
    store = DynamoStore("facts")

    store.publish(Catalogue.empty().with_tiers(*lambda_tiers()))

    assert set(store.load().tiers) == {tier.name for tier in lambda_tiers()}
