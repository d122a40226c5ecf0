"""A function that lacks a variable says every one it lacks, before it serves anything."""

from __future__ import annotations

import pytest

from functions.aws.settings import ApiSettings, SchedulerSettings, SettingsError

WORKERS = '{"lambda-1769": "arn:aws:lambda:us-east-1:1:function:w:live"}'


def test_api_settings_are_read() -> None:
    settings = ApiSettings.read({"TABLE_NAME": "facts", "WORKERS": WORKERS, "TENANT_CLAIM": "org"})

    assert settings.table == "facts"
    assert settings.workers == {"lambda-1769": "arn:aws:lambda:us-east-1:1:function:w:live"}
    assert settings.tenant_claim == "org"


def test_every_missing_variable_is_named() -> None:
    with pytest.raises(SettingsError, match="TABLE_NAME, TENANT_CLAIM"):
        ApiSettings.read({"WORKERS": WORKERS, "TENANT_CLAIM": ""})

    with pytest.raises(SettingsError, match="TABLE_NAME"):
        SchedulerSettings.read({})


@pytest.mark.parametrize("workers", ["{", "[]", "{}", '{"lambda-1769": 1}', "null"])
def test_workers_must_be_arns_by_tier(workers: str) -> None:
    with pytest.raises(SettingsError, match="WORKERS"):
        ApiSettings.read({"TABLE_NAME": "facts", "WORKERS": workers, "TENANT_CLAIM": "sub"})
