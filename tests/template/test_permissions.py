"""Each function has a role of its own, and may do its work and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from registry.model import StartMode
from registry.prices import lambda_tiers

Resources = dict[str, dict[str, Any]]
Deploy = Callable[..., Resources]

WITHOUT_RESOURCES = {
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "ecr:GetAuthorizationToken",
    "cloudwatch:PutMetricData",
}
"""Actions for which AWS has no resource to name (Service Authorization Reference)."""

READS = {"dynamodb:GetItem", "dynamodb:Query"}
TAKES = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}
TRACES = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
OBJECTS = {"s3:GetObject", "s3:PutObject"}
WRITES = {"dynamodb:PutItem", "dynamodb:UpdateItem"}
INVOKES = {"lambda:InvokeFunction"}
SCALES = {"sagemaker:DescribeInferenceComponent", "sagemaker:UpdateInferenceComponentRuntimeConfig"}
GPU = {"sagemaker:InvokeEndpoint"}
LEASES = {"dynamodb:DeleteItem"}
WORKER = {"s3:GetObject", "s3:GetObjectVersion", *LOGS}
CAPACITY = {"dynamodb:Query", *WRITES, *INVOKES, *SCALES, *GPU, *LOGS, *TRACES}
KEY = "arn:aws:kms:us-east-1:000000000000:key/k"

ALLOWED = {
    "ApiRole": {*READS, *WRITES, *OBJECTS, "s3:ListBucket", *INVOKES, "sqs:SendMessage", *GPU, *LEASES, *LOGS, *TRACES},
    "SchedulerRole": {"dynamodb:Query", *LOGS, *TRACES},
    "PrewarmRole": CAPACITY,
    "EvictRole": CAPACITY,
    "JobsRole": {
        *READS,
        *WRITES,
        *OBJECTS,
        *INVOKES,
        *TAKES,
        "sqs:ChangeMessageVisibility",
        *GPU,
        *LEASES,
        *LOGS,
        *TRACES,
    },
    "FeedbackRole": {
        *READS,
        "dynamodb:PutItem",
        "dynamodb:DeleteItem",
        "sqs:SendMessage",
        *TAKES,
        *LOGS,
        *TRACES,
    },
    "OptimizeRole": {
        *READS,
        "dynamodb:PutItem",
        "dynamodb:DeleteItem",
        *OBJECTS,
        "s3:ListBucket",
        *INVOKES,
        *TAKES,
        "sqs:SendMessage",
        *LOGS,
        *TRACES,
    },
    "ScheduleRole": INVOKES,
    "GpuStack.Role": {
        "s3:GetObject",
        "s3:GetObjectVersion",
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:GetDownloadUrlForLayer",
        "ecr:GetAuthorizationToken",
        "cloudwatch:PutMetricData",
    },
    **dict.fromkeys((f"Worker{mb}Role" for mb in (1769, 3538, 5307, 10240)), WORKER),
}
"""Role to all that it may do."""

WRITTEN = {
    "ApiRole": {"ACTIVITY#*", "SEEN#*", "QUOTA#*", "JOB#*", "RECEIPTKEY", "GENERATION#*", "LEASE#*"},
    "PrewarmRole": {"CAPACITY", "SEEN#*"},
    "EvictRole": {"CAPACITY", "SEEN#*"},
    "JobsRole": {"JOB#*", "LEASE#*", "RECEIPTKEY"},
    "FeedbackRole": {"CATALOGUE", "SNAPSHOT#*", "JUDGED#*"},
    "OptimizeRole": {"CATALOGUE", "SNAPSHOT#*", "GENERATION#*"},
}
"""Role to the partitions of the table in which it may change something."""


def words(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(resources: Resources) -> Iterator[tuple[str, dict[str, Any]]]:
    """Role and statement, of the roles that are ours; SAM makes one more, for CodeDeploy itself."""
    for name, resource in resources.items():
        if resource["Type"] == "AWS::IAM::Role" and name != "CodeDeployServiceRole":
            assert "ManagedPolicyArns" not in resource["Properties"], name
            for policy in resource["Properties"]["Policies"]:
                for statement in policy["PolicyDocument"]["Statement"]:
                    yield name, statement


def partitions(statement: dict[str, Any]) -> list[str]:
    """The partitions of the table that a statement is about."""
    ((operator, condition),) = statement["Condition"].items()
    assert operator in ("ForAllValues:StringLike", "ForAllValues:StringEquals")
    keys: list[str] = condition["dynamodb:LeadingKeys"]
    return keys


def test_each_function_has_a_role_of_its_own(everything: Resources, deploy: Deploy) -> None:
    for resources in (everything, deploy(IsolateTenants="on")):
        functions = {n: r["Properties"] for n, r in resources.items() if r["Type"] == "AWS::Lambda::Function"}
        roles = {name: function["Role"]["Fn::GetAtt"][0] for name, function in functions.items()}

        assert roles == {name: f"{name.removesuffix('Function')}Role" for name in functions}
        for role in roles.values():
            (trust,) = resources[role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
            assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_no_role_asks_for_everything(everything: Resources) -> None:
    for role, statement in statements(everything):
        actions = words(statement["Action"])
        assert all("*" not in action for action in actions), role
        if not set(actions) <= WITHOUT_RESOURCES:
            assert "*" not in words(statement["Resource"]), role


def test_each_role_may_do_only_its_functions_work(everything: Resources) -> None:
    found: dict[str, set[str]] = {}
    for role, statement in statements(everything):
        found.setdefault(role, set()).update(words(statement["Action"]))

    assert found == ALLOWED


def test_a_role_reaches_only_its_own_partitions_of_the_table(everything: Resources) -> None:
    written: dict[str, set[str]] = {}
    for role, statement in statements(everything):
        actions = {action for action in words(statement["Action"]) if action.startswith("dynamodb:")}
        if actions:
            assert statement["Resource"] == {"Fn::GetAtt": ["Table", "Arn"]}
            keys = partitions(statement)
            assert "*" not in keys
            if actions - READS:
                written.setdefault(role, set()).update(keys)

    assert written == WRITTEN


def test_what_is_switched_off_is_not_allowed(deploy: Deploy, everything: Resources) -> None:
    roles = [r for r in deploy() if r.endswith("Role")]
    off = {role: {s["Sid"] for name, s in statements(deploy()) if name == role} for role in roles}
    on = {role: {s["Sid"] for name, s in statements(everything) if name == role} for role in roles}

    assert on["ApiRole"] - off["ApiRole"] == {
        "TellWhatIsAskedFor",
        "TellWhatIsSeen",
        "KeepWithinTheQuota",
        "RunOnGpu",
        "LeaseGpu",
        "AskForVariants",
    }
    assert not {"PrewarmRole", "EvictRole", "OptimizeRole", "ScheduleRole"} & set(roles)


def test_only_who_pushes_signs_and_workers_verify(deploy: Deploy) -> None:
    """Else whoever writes to bucket and table could have a model of his own signed."""
    image = "000000000000.dkr.ecr.us-east-1.amazonaws.com/modelless:cuda"
    resources = deploy(SigningKeyArn=KEY, Gpu="sagemaker", GpuImageUri=image, AlarmEmail="ops@example.org")
    policy = resources["PublisherPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    asked = [(role, s) for role, s in statements(resources) if "kms" in str(s["Action"])]

    assert [s["Resource"] for s in policy if s["Action"] == "kms:Sign"] == [KEY]
    assert {role for role, _ in asked} == {f"Worker{mb}Role" for mb in (1769, 3538, 5307, 10240)} | {"GpuStack.Role"}
    for _, statement in asked:
        assert (statement["Action"], statement["Resource"]) == ("kms:Verify", KEY)


def test_only_workers_are_run(everything: Resources, deploy: Deploy) -> None:
    shared = {f"Worker{mb}FunctionAliaslive" for mb in (1769, 3538, 5307, 10240)}
    for resources, wanted in ((everything, shared), (deploy(IsolateTenants="on"), {"IsolatedWorkerFunctionAliaslive"})):
        for role, statement in statements(resources):
            if "lambda:InvokeFunction" in words(statement["Action"]) and role != "ScheduleRole":
                assert {resource["Ref"] for resource in statement["Resource"]} == wanted, role


@pytest.mark.parametrize("snapstart", ["none", "smallest", "all"])
def test_what_costs_by_the_hour_is_nobodys_to_provision(snapstart: str, deploy: Deploy) -> None:
    """But for copies on a GPU: no tier of Lambda's that `modelless push` publishes is kept provisioned."""
    resources = deploy(SnapStart=snapstart, WarmBudgetUsdPerHour="0.5")

    assert not [action for _, s in statements(resources) for action in words(s["Action"]) if "Provisioned" in action]
    assert not [name for name, r in resources.items() if "ProvisionedConcurrencyConfig" in r["Properties"]]
    assert StartMode.PROVISIONED not in {tier.start_mode for tier in lambda_tiers()}


def test_who_may_ask_may_do_nothing_else(everything: Resources, deploy: Deploy) -> None:
    policy = everything["CallerPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    alias = {"Ref": "ApiFunctionAliaslive"}

    assert [(s["Action"], s["Resource"], s.get("Condition")) for s in policy] == [
        ("execute-api:Invoke", {"Fn::Sub": "${HttpApi.Outputs.Arn}/*"}, None),
        ("lambda:InvokeFunctionUrl", alias, {"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}}),
        ("lambda:InvokeFunction", alias, {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}),
    ]
    local = deploy(Stage="local")["CallerPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert [s["Sid"] for s in local] == ["AskTheUrl", "AskOnlyTheUrl"]


def test_who_may_push_reaches_the_catalogue_blobs_and_workers_alone(everything: Resources) -> None:
    policy = everything["PublisherPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    reached = {s["Sid"]: partitions(s) for s in policy if "dynamodb:PutItem" in s["Action"]}

    assert reached == {"PublishCatalogues": ["CATALOGUE", "SNAPSHOT#*"]}
    assert [partitions(s) for s in policy if "dynamodb:DeleteItem" in words(s["Action"])] == [["SNAPSHOT#*"]]
    assert {action for s in policy for action in words(s["Action"])} == {
        *READS,
        "dynamodb:PutItem",
        "dynamodb:DeleteItem",
        *OBJECTS,
        "s3:ListBucket",
        "lambda:InvokeFunction",
        *GPU,
        "cloudformation:DescribeStacks",
    }
    assert not [s for s in policy if "*" in words(s["Resource"])]
    # Asked for by its name, a stack's id is not known, and CloudFormation asks policies about all with that name.
    (found,) = [s["Resource"]["Fn::Sub"] for s in policy if s["Sid"] == "FindTheRest"]
    assert found.endswith(":stack/${AWS::StackName}/*")


def test_who_is_called_by_a_rule_is_called_by_no_other(deploy: Deploy) -> None:
    resources = deploy(Stage="local", WarmBudgetUsdPerHour="0.5")
    permissions = [r["Properties"] for r in resources.values() if r["Type"] == "AWS::Lambda::Permission"]

    assert [p["SourceArn"] for p in permissions] == [{"Fn::GetAtt": ["CapacityRule", "Arn"]}] * 2


def test_the_bucket_is_reached_over_tls_alone(everything: Resources) -> None:
    (statement,) = everything["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]

    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": False}})
