from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.environments.cgroups import PERIOD_US, Group, Tree


def files(folder: Path, **contents: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.fixture
def v1(tmp_path: Path) -> Tree:
    tree = Tree(1, {"cpu": tmp_path / "cpu", "memory": tmp_path / "memory"})
    files(tmp_path / "cpu" / "env-1", cpu__cfs_period_us="", cpu__cfs_quota_us="", cgroup__procs="")
    files(tmp_path / "memory" / "env-1", memory__limit_in_bytes="", memory__oom_control="", cgroup__procs="")
    return tree


@pytest.fixture
def v2(tmp_path: Path) -> Tree:
    files(tmp_path / "env-1", cpu__max="", memory__max="", memory__events="oom 0\noom_kill 0\n", cgroup__procs="")
    return Tree(2, {"cpu": tmp_path, "memory": tmp_path})


def read(group: Group, controller: str, name: str) -> str:
    return (group.paths[controller] / name).read_text()


def test_version_1_gets_quota_period_and_cap(v1: Tree) -> None:
    group = v1.group(0.5, 884)
    assert v1.kind == "cgroup-v1"
    assert read(group, "cpu", "cpu.cfs_period_us") == str(PERIOD_US)
    assert read(group, "cpu", "cpu.cfs_quota_us") == "10000"
    assert read(group, "memory", "memory.limit_in_bytes") == str(884 * 1024 * 1024)


def test_version_2_gets_the_same_in_its_words(v2: Tree) -> None:
    group = v2.group(2.0, 3538)
    assert v2.kind == "cgroup-v2"
    assert read(group, "cpu", "cpu.max") == f"40000 {PERIOD_US}"
    assert read(group, "memory", "memory.max") == str(3538 << 20)


def test_a_process_is_moved_into_every_hierarchy(v1: Tree) -> None:
    group = v1.group(1.0, 1769)
    group.add(os.getpid())
    assert read(group, "cpu", "cgroup.procs") == read(group, "memory", "cgroup.procs") == str(os.getpid())


def test_a_group_given_back_is_used_again(v1: Tree) -> None:
    group = v1.group(1.0, 1769)
    v1.give_back(group)
    assert v1.group(0.5, 884) is group
    assert read(group, "cpu", "cpu.cfs_quota_us") == "10000"


def test_an_oom_kill_counts_for_one_environment_only(v2: Tree) -> None:
    group = v2.group(1.0, 1769)
    events = group.paths["memory"] / "memory.events"
    events.write_text("oom 3\noom_kill 2\noom_group_kill 0\n")
    assert group.oom_killed()
    v2.give_back(group)
    assert v2.group(1.0, 1769) is group
    assert not group.oom_killed()
    events.write_text("oom 4\noom_kill 3\noom_group_kill 0\n")
    assert group.oom_killed()


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"cpu\.max"):
        Tree(2, {"cpu": tmp_path, "memory": tmp_path}).group(1.0, 128)
