"""Settings from the environment; every fault names its variable."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from gateway.backends.components import Component
from gateway.settings import Settings
from registry.errors import InvalidValue


def test_nothing_set_serves_this_machine_to_itself():
    settings = Settings.read({})
    assert (settings.host, settings.port, settings.keys_file) == ("127.0.0.1", 8080, None)
    assert settings.keyring().open
    assert settings.warm_budget == math.inf


def test_every_variable_is_read():
    settings = Settings.read(
        {
            "MODELLESS_HOME": "/tmp/home",
            "MODELLESS_HOST": "0.0.0.0",
            "MODELLESS_PORT": "0",
            "MODELLESS_BODY_LIMIT": "1000",
            "MODELLESS_API_KEYS_FILE": "/tmp/keys",
            "MODELLESS_LAMBDA_FUNCTIONS": '{"lambda-1769": "arn:x"}',
            "MODELLESS_CONTAINERS": '{"container-gpu": "http://gpu:8080"}',
            "MODELLESS_WARM_BUDGET": "0.25",
            "MODELLESS_WARM_PERIOD": "30",
            "MODELLESS_QUOTA_REQUESTS_PER_SECOND": "12.5",
            "MODELLESS_JOBS_AT_ONCE": "3",
            "MODELLESS_MOST_JOBS": "40",
            "MODELLESS_GPU": '{"gpu-sagemaker-g6": {"endpoint": "e", "component": "c", "copies": 2}}',
        }
    )
    assert settings == Settings(
        Path("/tmp/home"),
        "0.0.0.0",
        0,
        Path("/tmp/keys"),
        1000,
        {"lambda-1769": "arn:x"},
        {"container-gpu": "http://gpu:8080"},
        0.25,
        30.0,
        12.5,
        3,
        40,
        {"gpu-sagemaker-g6": Component("e", "c", 2)},
    )


def test_a_gpu_in_the_cloud_needs_a_budget():
    gpu = {"MODELLESS_GPU": '{"gpu-sagemaker-g6": {"endpoint": "e", "component": "c"}}'}
    with pytest.raises(InvalidValue, match="MODELLESS_WARM_BUDGET: is not set"):
        Settings.read(gpu)
    assert Settings.read(gpu | {"MODELLESS_WARM_BUDGET": "0"}).gpus == {"gpu-sagemaker-g6": Component("e", "c")}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODELLESS_PORT", "http"),
        ("MODELLESS_PORT", "70000"),
        ("MODELLESS_JOBS_AT_ONCE", "-1"),
        ("MODELLESS_MOST_JOBS", "many"),
        ("MODELLESS_BODY_LIMIT", "-1"),
        ("MODELLESS_LAMBDA_FUNCTIONS", "[]"),
        ("MODELLESS_LAMBDA_FUNCTIONS", "{"),
        ("MODELLESS_LAMBDA_FUNCTIONS", '{"a": 1}'),
        ("MODELLESS_CONTAINERS", '["http://gpu:8080"]'),
        ("MODELLESS_WARM_BUDGET", "much"),
        ("MODELLESS_WARM_BUDGET", "-1"),
        ("MODELLESS_WARM_BUDGET", "nan"),
        ("MODELLESS_WARM_PERIOD", "0"),
        ("MODELLESS_WARM_PERIOD", "inf"),
        ("MODELLESS_WARM_PERIOD", "often"),
        ("MODELLESS_QUOTA_REQUESTS_PER_SECOND", "0"),
        ("MODELLESS_QUOTA_REQUESTS_PER_SECOND", "many"),
    ],
)
def test_a_wrong_value_names_its_variable(name, value):
    with pytest.raises(InvalidValue) as refused:
        Settings.read({name: value})
    assert refused.value.field == name
