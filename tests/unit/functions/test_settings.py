"""A function that lacks a variable says every one it lacks, before it serves anything."""

from __future__ import annotations

import math

import pytest

from functions.aws.settings import ApiSettings, CapacitySettings, SchedulerSettings, SettingsError
from gateway.backends.components import Component

WORKERS = '{"lambda-1769": "arn:aws:lambda:us-east-1:1:function:w:live"}'
FULL = {"TABLE_NAME": "facts", "WORKERS": WORKERS, "TENANT_CLAIM": "org", "WARM_BUDGET_USD_PER_HOUR": "0.5"}


def test_api_settings_are_read() -> None:
    settings = ApiSettings.read(FULL)

    assert settings.table == "facts"
    assert settings.workers == {"lambda-1769": "arn:aws:lambda:us-east-1:1:function:w:live"}
    assert settings.tenant_claim == "org"
    assert settings.budget_usd_per_h == 0.5
    assert CapacitySettings.read(FULL) == CapacitySettings("facts", settings.workers, 0.5)


def test_every_missing_variable_is_named() -> None:
    with pytest.raises(SettingsError, match="TABLE_NAME, TENANT_CLAIM, WARM_BUDGET_USD_PER_HOUR"):
        ApiSettings.read({"WORKERS": WORKERS, "TENANT_CLAIM": ""})

    with pytest.raises(SettingsError, match="TABLE_NAME, WORKERS, WARM_BUDGET_USD_PER_HOUR"):
        CapacitySettings.read({})

    with pytest.raises(SettingsError, match="TABLE_NAME"):
        SchedulerSettings.read({})


@pytest.mark.parametrize("workers", ["{", "[]", "{}", '{"lambda-1769": 1}', "null"])
def test_workers_must_be_arns_by_tier(workers: str) -> None:
    with pytest.raises(SettingsError, match="WORKERS"):
        ApiSettings.read(FULL | {"WORKERS": workers})


def test_a_gpu_s_component_is_read_where_there_is_one() -> None:
    gpu = FULL | {"GPU": '{"gpu-sagemaker-g6": {"endpoint": "e", "component": "c"}}'}

    assert ApiSettings.read(FULL).gpus == CapacitySettings.read(FULL).gpus == {}
    for settings in (ApiSettings.read(gpu), CapacitySettings.read(gpu)):
        assert settings.gpus == {"gpu-sagemaker-g6": Component("e", "c")}
    with pytest.raises(SettingsError, match="all owners' models in one process"):
        ApiSettings.read(gpu | {"ISOLATE_TENANTS": "on"})
    with pytest.raises(SettingsError, match=r"GPU\.gpu-sagemaker-g6: needs endpoint and component"):
        ApiSettings.read(FULL | {"GPU": '{"gpu-sagemaker-g6": "arn"}'})


@pytest.mark.parametrize(("text", "quota"), [("", math.inf), ("0", math.inf), ("2.5", 2.5)])
def test_a_quota_of_nothing_is_none(text: str, quota: float) -> None:
    assert ApiSettings.read(FULL).requests_per_s == math.inf
    assert ApiSettings.read(FULL | {"QUOTA_REQUESTS_PER_SECOND": text}).requests_per_s == quota


@pytest.mark.parametrize("quota", ["much", "-1", "nan", "inf"])
def test_a_quota_is_a_number_of_requests(quota: str) -> None:
    with pytest.raises(SettingsError, match="QUOTA_REQUESTS_PER_SECOND"):
        ApiSettings.read(FULL | {"QUOTA_REQUESTS_PER_SECOND": quota})


@pytest.mark.parametrize("budget", ["much", "-1", "nan", "inf"])
def test_a_budget_is_an_amount(budget: str) -> None:
    with pytest.raises(SettingsError, match="WARM_BUDGET_USD_PER_HOUR"):
        CapacitySettings.read(FULL | {"WARM_BUDGET_USD_PER_HOUR": budget})
