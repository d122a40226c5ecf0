"""Control groups of one gateway process, version 1 or 2: made, filled, read and removed; never anybody else's.

All groups of a tree live in one directory `modelless-<pid>-<n>` beneath the gateway's own group, so what a killed
gateway left behind is recognised and removed by the next one.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")

PERIOD_US = 20_000
"""Quota period: at 20 ms the share is within 2 %, and 5 ms falls below the kernel's 1 ms quota floor (measured)."""

PREFIX = "modelless-"

_trees = itertools.count(1)


class Tree:
    """Directories, one per controller (v1) or one for all (v2), under which groups are made."""

    def __init__(self, version: int, bases: Mapping[str, Path]) -> None:
        self.version = version
        self._bases = bases
        self._serial = itertools.count(1)
        self._spare: list[Group] = []
        self._made: list[Group] = []

    @property
    def kind(self) -> str:
        """`cgroup-v1` or `cgroup-v2`."""
        return f"cgroup-v{self.version}"

    def group(self, vcpus: float, memory_mb: int) -> Group:
        """A group with this share and cap, used before or new. Raises OSError."""
        if self._spare:
            group = self._spare.pop()
        else:
            name = f"env-{next(self._serial)}"
            group = Group(self, {controller: base / name for controller, base in self._bases.items()})
            self._made.append(group)
            for path in group.paths.values():
                path.mkdir(exist_ok=True)
        group.limit(vcpus, memory_mb)
        return group

    def give_back(self, group: Group) -> None:
        """Keep an empty group for the next environment: cheaper than to remove it and make another."""
        group.forget()
        self._spare.append(group)

    def remove(self) -> None:
        """Remove every group that holds no process, and this tree."""
        for group in self._made:
            _remove(group.paths.values())
        self._made.clear()
        self._spare.clear()
        _remove(self._bases.values())


class Group:
    """One environment's group."""

    def __init__(self, tree: Tree, paths: Mapping[str, Path]) -> None:
        self._tree = tree
        self.paths = paths
        self._limits = (0, 0)
        self._oom_kills = 0

    def limit(self, vcpus: float, memory_mb: int) -> None:
        """Set CPU quota and memory cap, unless they are set already. Raises OSError."""
        limits = int(vcpus * PERIOD_US), memory_mb << 20
        if limits != self._limits:
            self._write_limits(*limits)
            self._limits = limits

    def _write_limits(self, quota: int, cap: int) -> None:
        if self._tree.version == 2:
            _write(self.paths["cpu"] / "cpu.max", f"{quota} {PERIOD_US}")
            _write(self.paths["memory"] / "memory.max", str(cap))
        else:
            _write(self.paths["cpu"] / "cpu.cfs_period_us", str(PERIOD_US))
            _write(self.paths["cpu"] / "cpu.cfs_quota_us", str(quota))
            _write(self.paths["memory"] / "memory.limit_in_bytes", str(cap))

    def add(self, pid: int) -> None:
        """Move a process in; a process that has ended meanwhile is no fault. Raises OSError."""
        for path in dict.fromkeys(self.paths.values()):
            with contextlib.suppress(ProcessLookupError):
                _write(path / "cgroup.procs", str(pid))

    def oom_killed(self) -> bool:
        """Whether the memory cap has killed a process of the present environment."""
        return self._read_oom_kills() > self._oom_kills

    def forget(self) -> None:
        """What was killed so far is no business of the next environment."""
        self._oom_kills = self._read_oom_kills()

    def _read_oom_kills(self) -> int:
        name = "memory.events" if self._tree.version == 2 else "memory.oom_control"
        try:
            text = (self.paths["memory"] / name).read_text()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)


def open_tree(root: Path = ROOT) -> Tree | None:
    """The best tree in which this process may make groups, or None."""
    return _open_v2(root) or _open_v1(root)


def _open_v2(root: Path) -> Tree | None:
    own = _own_group(root, "")
    if own is None:
        return None
    base = own / _tree_name()
    try:
        _sweep(own)
        if not {"cpu", "memory"} <= set((own / "cgroup.subtree_control").read_text().split()):
            _write(own / "cgroup.subtree_control", "+cpu +memory")
        base.mkdir(exist_ok=True)
        _write(base / "cgroup.subtree_control", "+cpu +memory")
    except OSError:
        _remove([base])
        return None
    return _tried(Tree(2, {"cpu": base, "memory": base}))


def _open_v1(root: Path) -> Tree | None:
    bases = {}
    name = _tree_name()
    for controller in ("cpu", "memory"):
        own = _own_group(root, controller)
        if own is None:
            return None
        bases[controller] = own / name
        try:
            _sweep(own)
            bases[controller].mkdir(exist_ok=True)
        except OSError:
            _remove(bases.values())
            return None
    return _tried(Tree(1, bases))


def _tried(tree: Tree) -> Tree | None:
    """The tree if a group can really be made and limited in it."""
    try:
        tree.give_back(tree.group(1.0, 1024))
    except OSError:
        tree.remove()
        return None
    return tree


def _own_group(root: Path, controller: str) -> Path | None:
    """Where this process sits: the v2 hierarchy for the empty name, else the v1 hierarchy of a controller."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(",") and (controllers == "") == (controller == ""):
            mount = root / controller if controller else root
            inside = mount / path.lstrip("/")
            # In a container the path may be the host's; then the mount itself is our group.
            place = inside if inside.is_dir() else mount
            return place if (place / "cgroup.procs").exists() else None
    return None


def _tree_name() -> str:
    return f"{PREFIX}{os.getpid()}-{next(_trees)}"


def _sweep(own: Path) -> None:
    """Remove what gateways that no longer run left behind."""
    for base in own.glob(f"{PREFIX}*"):
        pid = base.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            _remove([*base.glob("env-*"), base])


def _remove(paths: Iterable[Path]) -> None:
    for path in dict.fromkeys(paths):
        with contextlib.suppress(OSError):
            path.rmdir()


def _write(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
