"""Settings: what variables and options may say, and what stands for what they leave out."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.errors import InvalidValue
from runtime.container import settings
from runtime.container.settings import Settings, usable_cores, usable_memory_mb


def test_nothing_set_is_the_defaults() -> None:
    assert Settings.read({}) == Settings()
    assert Settings().load == ("all",)


def test_every_variable_is_read() -> None:
    variables = {
        "HOME": "/home",
        "TIER": "gpu",
        "HOST": "0.0.0.0",
        "PORT": "0",
        "GRPC_PORT": "9000",
        "CORES": "3",
        "MEMORY_MB": "512",
        "PROVIDERS": "cuda, cpu",
        "LOAD": "a, b",
        "BODY_LIMIT": "1000",
        "BODIES_LIMIT": "5000",
        "CONNECTIONS": "7",
        "DRAIN_S": "2.5",
        "MULTI_MODEL": "true",
    }
    read = Settings.read({f"MODELLESS_CONTAINER_{name}": text for name, text in variables.items()})
    assert read == Settings(
        home=Path("/home"),
        tier="gpu",
        host="0.0.0.0",
        port=0,
        grpc_port=9000,
        cores=3,
        memory_mb=512,
        providers=("CUDA", "CPU"),
        load=("a", "b"),
        body_limit=1000,
        bodies_limit=5000,
        connections=7,
        drain_s=2.5,
        multi_model=True,
    )
    assert (read.usable_cores, read.budget_mb, read.bodies_bytes, read.most_connections) == (3, 512, 5000, 7)


def test_sagemakers_variables_count_unless_ours_are_set() -> None:
    theirs = {"SAGEMAKER_BIND_TO_PORT": "8081", "SAGEMAKER_MULTI_MODEL": "true"}
    assert (Settings.read(theirs).port, Settings.read(theirs).multi_model) == (8081, True)
    assert Settings.read({**theirs, "MODELLESS_CONTAINER_PORT": "1234"}).port == 1234


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("PORT", "70000", "MODELLESS_CONTAINER_PORT '70000' is not a whole number from 0 to 65535"),
        ("CORES", "0", "not a whole number from 1"),
        ("CORES", "two", "not a whole number"),
        ("PROVIDERS", "TPU", "not of CUDA, CPU"),
        ("BODY_LIMIT", "2147483648", "not a whole number from 0 to 2147483647"),
        ("LOAD", ",", "empty"),
        ("MULTI_MODEL", "maybe", "neither true nor false"),
        ("DRAIN_S", "-1", "not from 0 to 3600 s"),
        ("DRAIN_S", "soon", "could not convert"),
        ("SIZE", "1", "MODELLESS_CONTAINER_SIZE.*is no setting.*MODELLESS_CONTAINER_PORT"),
    ],
)
def test_what_is_wrong_is_named(name: str, text: str, message: str) -> None:
    with pytest.raises(InvalidValue) as fault:
        Settings.read({f"MODELLESS_CONTAINER_{name}": text})
    assert fault.match(message.replace(" '", ".*'")) if "'" in message else fault.match(f".*{message}")


def test_a_folder_can_be_set_back_to_none() -> None:
    assert Settings(home=Path("/h")).given({"home": ""}).home is None


def test_two_places_cannot_both_be_served() -> None:
    with pytest.raises(InvalidValue, match="--models and --home: each says what to serve; give one of them"):
        Settings().given({"models": "/m", "home": "/h"}, lambda name: f"--{name}")
    with pytest.raises(InvalidValue, match="--home and --blobs: each says what to serve"):
        Settings().given({"home": "/h", "blobs": "s3://bucket/blobs"}, lambda name: f"--{name}")
    with pytest.raises(InvalidValue, match="MODELLESS_CONTAINER_MODELS and MODELLESS_CONTAINER_HOME"):
        Settings.read({"MODELLESS_CONTAINER_MODELS": "/m", "MODELLESS_CONTAINER_HOME": "/h"})


@pytest.mark.parametrize(("given", "other"), [("models", "home"), ("home", "models")])
def test_what_is_given_takes_the_place_of_what_was_set_before(given: str, other: str) -> None:
    settings = Settings().given({other: "/before"}).given({given: "/now"})
    assert (getattr(settings, given), getattr(settings, other)) == (Path("/now"), None)


def test_a_blob_store_takes_the_place_of_a_home_and_a_home_its_place() -> None:
    settings = Settings().given({"home": "/h"}).given({"blobs": "s3://bucket/blobs"})
    assert (settings.blobs, settings.home) == ("s3://bucket/blobs", None)
    assert settings.given({"home": "/h"}).blobs == ""


@pytest.mark.parametrize(
    ("quota", "most"), [("", 64), ("max 100000\n", 64), ("150000 100000\n", 1), ("50000 100000", 1)]
)
def test_cores_are_those_of_the_control_group(monkeypatch: pytest.MonkeyPatch, quota: str, most: int) -> None:
    monkeypatch.setattr(settings, "_read", lambda path: quota)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(64)))
    assert usable_cores() == most
    assert Settings().usable_cores == most


@pytest.mark.parametrize(("limit", "mb"), [(str(512 * 2**20), 512.0), (str(2**60), 1024.0), ("max\n", 1024.0)])
def test_memory_is_that_of_the_control_group(monkeypatch: pytest.MonkeyPatch, limit: str, mb: float) -> None:
    monkeypatch.setattr(settings, "_read", lambda path: limit)
    monkeypatch.setattr("os.sysconf", lambda name: {"SC_PHYS_PAGES": 2**18, "SC_PAGE_SIZE": 4096}[name])
    assert usable_memory_mb() == mb
    assert Settings().budget_mb == 0.75 * mb


@pytest.mark.parametrize(("quota", "cores"), [("150000", 1), ("400000", 4), ("-1", 64)])
def test_control_groups_of_version_1_count_too(monkeypatch: pytest.MonkeyPatch, quota: str, cores: int) -> None:
    files = {
        "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": f"{quota}\n",
        "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes": f"{512 * 2**20}\n",
    }
    monkeypatch.setattr(settings, "_read", lambda path: files.get(path, ""))
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(64)))
    monkeypatch.setattr("os.sysconf", lambda name: {"SC_PHYS_PAGES": 2**18, "SC_PAGE_SIZE": 4096}[name])
    assert (usable_cores(), usable_memory_mb()) == (cores, 512.0)


def test_bodies_may_fill_a_share_of_the_memory_and_one_is_always_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "usable_memory_mb", lambda: 1024.0)
    assert Settings().bodies_bytes == 128 * 2**20
    assert Settings(body_limit=2**30).bodies_bytes == 2**30


@pytest.mark.parametrize(("files", "most"), [(1024, 768), (1, 1), (2**30, 16_384), (-1, 16_384)])
def test_connections_leave_files_for_models(monkeypatch: pytest.MonkeyPatch, files: int, most: int) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda what: (files, files))
    assert Settings().most_connections == most


def test_a_file_that_is_not_there_says_nothing() -> None:
    assert settings._read("/nowhere/at/all") == ""
