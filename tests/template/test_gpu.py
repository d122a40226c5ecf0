"""infra/gpu.yaml and infra/lambda-gpu.yaml are sound, run nothing by themselves, and ask for no more than they need."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.deployed import TemplateError
from gateway.backends.components import Component, components_of
from registry.prices import GPU_INSTANCE, figures, sagemaker_tier
from runtime.container.settings import PREFIX, Settings

INFRA = Path(__file__).resolve().parents[2] / "infra"
NAMES = ("gpu.yaml", "lambda-gpu.yaml")
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/modelless:cuda"
LEAST_DRIVER = {12: 525, 13: 580}
"""By CUDA's major version (NVIDIA, CUDA Compatibility, "Minor Version Compatibility")."""

Deploy = Callable[..., dict[str, dict[str, Any]]]
WITHOUT_RESOURCE = {"ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"}
"""Actions for which AWS has no resource level."""


def parsed(name: str) -> dict[str, Any]:
    from samtranslator.yaml_helper import yaml_parse

    found: dict[str, Any] = yaml_parse((INFRA / name).read_text())
    return found


@pytest.fixture(scope="module")
def gpu() -> dict[str, Any]:
    return parsed("gpu.yaml")


@pytest.fixture(scope="module")
def accelerated() -> dict[str, Any]:
    return parsed("lambda-gpu.yaml")


def properties(template: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = template["Resources"][name]["Properties"]
    return found


def statements(template: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All of them, those under a condition as where it holds."""
    for resource in template["Resources"].values():
        policies = resource["Properties"].get("Policies", []) if resource["Type"] == "AWS::IAM::Role" else []
        if resource["Type"] == "AWS::IAM::RolePolicy":
            policies = [resource["Properties"]]
        for policy in policies:
            for statement in policy["PolicyDocument"]["Statement"]:
                yield statement["Fn::If"][1] if "Fn::If" in statement else statement


def actions_of(statement: dict[str, Any]) -> set[str]:
    return {statement["Action"]} if isinstance(statement["Action"], str) else set(statement["Action"])


def test_only_the_function_with_an_accelerator_leaves_a_rule_out(accelerated: dict[str, Any]) -> None:
    ignoring = {name: r["Metadata"] for name, r in accelerated["Resources"].items() if "Metadata" in r}

    assert ignoring == {"WorkerGpuFunction": {"cfn-lint": {"config": {"ignore_checks": ["E3002"]}}}}
    assert "AcceleratorConfig" in properties(accelerated, "WorkerGpuFunction")


@pytest.mark.parametrize("name", NAMES)
def test_no_role_asks_for_everything(name: str) -> None:
    found = list(statements(parsed(name)))

    assert found
    for statement in found:
        assert all("*" not in action for action in actions_of(statement))
        if statement["Resource"] == "*":
            assert actions_of(statement) <= WITHOUT_RESOURCE


@pytest.mark.parametrize("name", NAMES)
def test_a_role_reads_blobs_and_no_other_objects(name: str) -> None:
    (reading,) = [s for s in statements(parsed(name)) if any(a.startswith("s3:") for a in actions_of(s))]

    assert actions_of(reading) <= {"s3:GetObject", "s3:GetObjectVersion"}
    assert reading["Resource"]["Fn::Sub"].endswith(":s3:::${BlobsBucket}/${BlobsPrefix}/*")


def test_the_image_is_pulled_from_its_own_repository_alone(gpu: dict[str, Any]) -> None:
    (pulling,) = [s for s in statements(gpu) if "ecr:BatchGetImage" in actions_of(s)]
    template, values = pulling["Resource"]["Fn::Sub"]

    def value(node: Any, image: str) -> Any:
        match node:
            case {"Ref": "ImageUri"}:
                return image
            case {"Fn::Select": [index, of]}:
                return value(of, image)[index]
            case {"Fn::Split": [by, of]}:
                return value(of, image).split(by)
        raise AssertionError(node)

    host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    for image in (f"{host}/team/modelless:1.2", f"{host}/team/modelless@sha256:{'0' * 64}"):
        arn = template
        for name, node in values.items():
            arn = arn.replace(f"${{{name}}}", value(node, image))
        assert arn == "arn:${AWS::Partition}:ecr:eu-west-1:123456789012:repository/team/modelless"


def test_nothing_runs_for_good_before_somebody_asks(gpu: dict[str, Any], accelerated: dict[str, Any]) -> None:
    (variant,) = properties(gpu, "EndpointConfig")["ProductionVariants"]

    # SageMaker makes none with fewer; evict gives it up (integration/test_capacity_functions.py).
    assert properties(gpu, "Component")["RuntimeConfig"] == {"CopyCount": 1}
    assert variant["ManagedInstanceScaling"]["MinInstanceCount"] == 0
    assert variant["ManagedInstanceScaling"]["MaxInstanceCount"] == {"Ref": "MaxCopies"}
    assert variant["RoutingConfig"] == {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}
    assert properties(accelerated, "WorkerGpuFunction")["FunctionScalingConfig"]["MinExecutionEnvironments"] == 0


def documented() -> dict[str, tuple[int, tuple[int, ...]]]:
    """Driver and CUDA version of each inference AMI with a GPU, as the service's own model has them."""
    from botocore.loaders import create_loader

    model = create_loader().load_service_model("sagemaker", "service-2")
    told = model["shapes"]["ProductionVariant"]["members"]["InferenceAmiVersion"]["documentation"]
    known = {}
    for name, configuration in re.findall(r"<dt>([\w-]+)</dt>(.*?)</dd>", told):
        if driver := re.search(r"NVIDIA driver version: (\d+)", configuration):
            cuda = re.search(r"CUDA version: ([\d.]+)", configuration)
            assert cuda, name
            known[name] = (int(driver[1]), tuple(map(int, cuda[1].split("."))))
    return known


def test_the_hosts_driver_is_new_enough_for_the_cuda_of_the_image(gpu: dict[str, Any]) -> None:
    (variant,) = properties(gpu, "EndpointConfig")["ProductionVariants"]
    driver, cuda = documented()[variant["InferenceAmiVersion"]]
    lines = (INFRA / "container" / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line.startswith("nvidia-"))
    runtime = tuple(map(int, pins["nvidia-cuda-runtime"].split(".")[:2]))

    assert driver >= LEAST_DRIVER[runtime[0]]
    assert runtime <= cuda
    assert f"nvidia-cudnn-cu{runtime[0]}" in pins
    assert f"/nvidia/cu{runtime[0]}/lib:" in (INFRA / "container" / "Dockerfile").read_text()


def test_two_set_the_number_of_copies_only_where_that_is_asked_for(gpu: dict[str, Any]) -> None:
    for name in ("Copies", "Wake", "WakeAlarm"):
        assert gpu["Resources"][name]["Condition"] == "Wakes"
    assert gpu["Parameters"]["WakeOnDemand"]["Default"] == "off"
    assert properties(gpu, "WakeAlarm")["MetricName"] == "NoCapacityInvocationFailures"
    assert properties(gpu, "Wake")["PolicyType"] == "StepScaling"


def test_a_gpu_that_is_left_on_is_noticed(gpu: dict[str, Any]) -> None:
    alarm = properties(gpu, "LeftOnAlarm")
    metrics = {metric["Id"]: metric for metric in alarm["Metrics"]}

    assert [id_ for id_, metric in metrics.items() if metric["ReturnData"]] == ["idle"]
    assert alarm["EvaluationPeriods"] == {"Ref": "LeftOnHours"}
    assert {m["MetricStat"]["Period"] for m in metrics.values() if "MetricStat" in m} == {3600}
    assert metrics["asked"]["MetricStat"]["Metric"]["MetricName"] == "Invocations"
    assert "Condition" not in gpu["Resources"]["LeftOnAlarm"]


def test_nothing_is_collected_that_nobody_asked_for(gpu: dict[str, Any]) -> None:
    """By default SageMaker scrapes every container, and CloudWatch bills what is ingested."""
    assert properties(gpu, "EndpointConfig")["MetricsConfig"] == {"EnableDetailedObservability": False}


def test_it_runs_on_instances_whose_price_is_known(gpu: dict[str, Any]) -> None:
    instance = gpu["Parameters"]["InstanceType"]

    assert instance["AllowedValues"] == list(figures()["gpu"]["instances"])
    assert instance["Default"] == GPU_INSTANCE


def test_what_it_asks_for_the_template_asks_for_in_the_same_way(gpu: dict[str, Any], source: dict[str, Any]) -> None:
    passed = source["Resources"]["GpuStack"]["Properties"]["Parameters"]
    named = {name: value["Ref"] for name, value in passed.items() if value.get("Ref") in source["Parameters"]}

    assert {"ImageUri", "InstanceType", "MaxCopies", "WakeOnDemand", "LogRetentionDays"} <= set(named)
    # Refused before anything is made, and not when it is this stack's turn.
    assert (
        source["Parameters"]["GpuImageUri"]["AllowedPattern"] == f"({gpu['Parameters']['ImageUri']['AllowedPattern']})?"
    )
    for name, outer in named.items():
        asked, asking = gpu["Parameters"][name], source["Parameters"][outer]
        if name not in ("Stage", "ImageUri"):  # for neither is there a GPU: the stage local, and an empty image
            bounds = ("Type", "Default", "MinValue", "MaxValue")
            assert [asked.get(bound) for bound in bounds] == [asking.get(bound) for bound in bounds], name
            assert sorted(map(str, asked.get("AllowedValues", ()))) == sorted(map(str, asking.get("AllowedValues", ())))


def test_the_functions_dispatch_to_the_tier_of_its_instance_and_to_as_many_copies(deploy: Deploy) -> None:
    for instance in figures()["gpu"]["instances"]:
        asked = {"Gpu": "sagemaker", "GpuImageUri": IMAGE, "AlarmEmail": "ops@example.org"}
        found = deploy(**asked, GpuInstanceType=instance, GpuMaxCopies="3")
        text, given = found["ApiFunction"]["Properties"]["Environment"]["Variables"]["GPU"]["Fn::Sub"]
        (config,) = found["GpuStack.EndpointConfig"]["Properties"]["ProductionVariants"]

        tier = sagemaker_tier(instance).name
        assert set(given) == {"Endpoint", "Component"}
        assert components_of({"GPU": text}, "GPU") == {tier: Component("${Endpoint}", "${Component}", 3)}
        assert config["InstanceType"] == instance
        assert config["ManagedInstanceScaling"]["MaxInstanceCount"] == "3"


def test_the_copy_that_a_deployment_starts_is_given_up_or_heard_of(deploy: Deploy) -> None:
    asked = {"Gpu": "sagemaker", "GpuImageUri": IMAGE}

    with pytest.raises(TemplateError, match="AGpuNeedsWhoEndsItOrHearsOfIt"):
        deploy(**asked)
    assert "EvictFunction" in deploy(**asked, WarmBudgetUsdPerHour="2")
    assert deploy(**asked, AlarmEmail="ops@example.org")["GpuStack.LeftOnAlarm"]["Properties"]["AlarmActions"]


def test_a_copy_that_is_woken_has_somebody_who_gives_it_up(deploy: Deploy) -> None:
    asked = {"Gpu": "sagemaker", "GpuImageUri": IMAGE, "GpuWakeOnDemand": "on"}

    assert {"GpuStack.Wake", "GpuStack.WakeAlarm", "EvictFunction"} <= set(deploy(**asked, WarmBudgetUsdPerHour="2"))
    with pytest.raises(TemplateError, match="ACopyThatWakesNeedsWhoEndsIt"):
        deploy(**asked)


def test_the_template_tells_what_callers_need(gpu: dict[str, Any]) -> None:
    assert set(gpu["Outputs"]) == {"EndpointName", "ComponentName", "EndpointArn", "ComponentArn"}
    assert {"Stage", "BlobsBucket", "BlobsPrefix", "ImageUri", "InstanceType", "MaxCopies", "WakeOnDemand"} <= set(
        gpu["Parameters"]
    )


def test_the_container_understands_its_variables(gpu: dict[str, Any]) -> None:
    variables = dict(properties(gpu, "Component")["Specification"]["Container"]["Environment"])
    place = variables.pop(f"{PREFIX}BLOBS")["Fn::Sub"]
    signing = variables.pop(f"{PREFIX}SIGNING_KEY")
    assert signing == {"Fn::If": ["HasSigningKey", {"Ref": "SigningKeyArn"}, {"Ref": "AWS::NoValue"}]}
    told = {f"{PREFIX}BLOBS": place.replace("${BlobsBucket}", "bucket"), f"{PREFIX}SIGNING_KEY": "arn:key"}
    settings = Settings.read({**variables, **told})

    assert settings.providers == ("CUDA", "CPU")
    assert settings.load == ("none",)
    assert settings.blobs == "s3://bucket/${BlobsPrefix}"
    assert settings.signing_key == "arn:key"


def test_the_container_verifies_as_the_workers_do(gpu: dict[str, Any]) -> None:
    assert {"s3:GetObject", "s3:GetObjectVersion"} in [actions_of(statement) for statement in statements(gpu)]
    (verifying,) = [s for s in statements(gpu) if "kms:Verify" in actions_of(s)]
    assert (actions_of(verifying), verifying["Resource"]) == ({"kms:Verify"}, {"Ref": "SigningKeyArn"})
    main = parsed("../template.yaml")
    assert properties(main, "GpuStack")["Parameters"]["SigningKeyArn"] == {"Ref": "SigningKeyArn"}
