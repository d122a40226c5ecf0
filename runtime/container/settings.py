"""What an operator may set of a container, from MODELLESS_CONTAINER_* and SageMaker's variables."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from registry.errors import InvalidValue
from runtime.ort import PROVIDERS

PREFIX = "MODELLESS_CONTAINER_"

SAGEMAKER_MODEL = Path("/opt/ml/model")
SAGEMAKER_MODELS = Path("/opt/ml/models")

MEMORY_SHARE = 0.75
"""The part of the machine's or the container's memory that models may fill where nothing is set: the rest is for
bodies, activations and the server itself."""

CGROUPS = "/sys/fs/cgroup"
"""The control group as a container sees its own, version 2 or else version 1."""

BODIES_SHARE = 0.125
"""The part of the memory that bodies may fill where nothing is set: arrays made of them take as much again."""

MOST_CONNECTIONS = 16_384
"""Where nothing is set, and open files are no limit."""

PLACES = ("models", "home", "blobs")
"""Settings that say where models come from: one of them."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A container's settings; the defaults serve one machine to itself."""

    models: Path | None = None
    """A folder of models; None: SageMaker's, unless `home` is given."""
    home: Path | None = None
    """A platform's home, whose tasks and variants are served as profiled on `tier`."""
    blobs: str = ""
    """A blob store whose artifacts are served by their digests, and nothing else: a folder, or s3://BUCKET/PREFIX."""
    signing_key: str = ""
    """The key of KMS that artifacts of `blobs` must be signed with; empty: they need not be."""
    tier: str = "container-cpu"
    host: str = "127.0.0.1"
    port: int = 8080
    """0 takes a free one."""
    grpc_port: int | None = None
    """None: no gRPC; 0 takes a free one."""
    cores: int = 0
    """Cores that runs may use; 0: those that this process may run on."""
    memory_mb: int = 0
    """Private memory that loaded models may occupy; 0: a share of the machine's or the container's."""
    providers: tuple[str, ...] = ("CPU",)
    """Execution providers, the preferred one first."""
    load: tuple[str, ...] = ("all",)
    """What is loaded before requests are taken: `all`, `none`, or names of models."""
    body_limit: int = 64 * 2**20
    """Largest request body in bytes."""
    bodies_limit: int = 0
    """Bytes of bodies that are under way on all connections together; 0: a share of the memory."""
    connections: int = 0
    """Most connections, and most calls over gRPC; 0: what the files that this process may open allow."""
    drain_s: float = 20.0
    """How long requests under way may take after a stop; SageMaker and ECS kill 30 s after it."""
    multi_model: bool = False
    """Whether SageMaker's multi-model API loads and unloads what is asked for."""

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Settings:
        """Settings from environment variables; raises InvalidValue naming the variable."""
        given = {name.removeprefix(PREFIX).lower(): text for name, text in variables.items() if name.startswith(PREFIX)}
        given.setdefault("port", variables.get("SAGEMAKER_BIND_TO_PORT", ""))
        given.setdefault("multi_model", variables.get("SAGEMAKER_MULTI_MODEL", ""))
        return cls().given({name: text for name, text in given.items() if text}, lambda name: PREFIX + name.upper())

    def given(self, texts: Mapping[str, str], named: Callable[[str], str] = str) -> Settings:
        """These settings with others laid over them, as text; raises InvalidValue naming what is wrong.

        `named` says how the caller calls a setting. One place takes that of another.
        """
        changes: dict[str, object] = {}
        for name, text in texts.items():
            read = _READERS.get(name)
            if read is None:
                raise InvalidValue(named(name), "is no setting", f"use one of {', '.join(map(named, _READERS))}")
            try:
                changes[name] = read(text)
            except ValueError as error:
                raise InvalidValue(named(name), f"{text!r:.80} is {error}", "leave it out for the default") from None
        places = [name for name in PLACES if changes.get(name)]
        if len(places) > 1:
            raise InvalidValue(" and ".join(map(named, places)), "each says what to serve", "give one of them")
        if places:
            changes = {"models": None, "home": None, "blobs": ""} | changes
        return replace(self, **changes)  # type: ignore[arg-type]

    @property
    def usable_cores(self) -> int:
        """Cores that runs may use."""
        return self.cores or usable_cores()

    @property
    def budget_mb(self) -> float:
        """Private memory that loaded models may occupy."""
        return self.memory_mb or MEMORY_SHARE * usable_memory_mb()

    @property
    def bodies_bytes(self) -> int:
        """Bytes of bodies that may be under way together; one of the largest always may."""
        return self.bodies_limit or max(self.body_limit, int(BODIES_SHARE * usable_memory_mb() * 2**20))

    @property
    def most_connections(self) -> int:
        """Connections that may be open."""
        return self.connections or usable_connections()


def usable_cores() -> int:
    """Cores that this process may run on: its affinity, within its control group's quota."""
    cores = len(os.sched_getaffinity(0))
    quota, _, period = _read(f"{CGROUPS}/cpu.max").partition(" ")
    if not quota:
        quota, period = (_read(f"{CGROUPS}/cpu/cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    if quota.isdecimal() and period.strip().isdecimal():
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def usable_memory_mb() -> float:
    """Memory of the control group, or of the machine."""
    limit = (_read(f"{CGROUPS}/memory.max") or _read(f"{CGROUPS}/memory/memory.limit_in_bytes")).strip()
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return (min(total, int(limit)) if limit.isdecimal() else total) / 2**20


def usable_connections() -> int:
    """What models and their files leave of the files that this process may open."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST_CONNECTIONS if files == resource.RLIM_INFINITY else max(1, min(MOST_CONNECTIONS, files * 3 // 4))


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except OSError:
        return ""


def _whole(most: int, least: int = 0) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise ValueError(f"not a whole number from {least} to {most}")
        return int(text)

    return read


def _names(text: str) -> tuple[str, ...]:
    names = tuple(filter(None, (part.strip() for part in text.split(","))))
    if not names:
        raise ValueError("empty")
    return names


def _providers(text: str) -> tuple[str, ...]:
    names: Sequence[str] = _names(text.upper())
    for name in names:
        if name not in PROVIDERS:
            raise ValueError(f"not of {', '.join(PROVIDERS)}")
    return tuple(names)


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError("neither true nor false")
    return text.lower() in ("true", "1")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 3600:
        raise ValueError("not from 0 to 3600 s")
    return seconds


def _path(text: str) -> Path | None:
    return Path(text).expanduser() if text else None


_DEFAULTS = Settings()

MEANINGS: Mapping[str, str] = {
    "models": "folder of models, NAME/[VERSION/]model.onnx [default: SageMaker's]",
    "home": "a platform's home, in place of a folder [default: none]",
    "blobs": "a blob store, DIR or s3://BUCKET/PREFIX: any artifact by its digest [default: none]",
    "signing_key": "key of KMS, by its ARN, that a blob store's artifacts must be signed with [default: none]",
    "tier": f"which of the home's tiers this is [default: {_DEFAULTS.tier}]",
    "host": f"address to listen on [default: {_DEFAULTS.host}]",
    "port": f"port to listen on; 0 takes a free one [default: {_DEFAULTS.port}]",
    "grpc_port": "port for gRPC; 0 takes a free one [default: no gRPC]",
    "cores": "cores that runs may use [default: this process's]",
    "memory_mb": f"MB that loaded models may occupy [default: {MEMORY_SHARE:.0%} of the memory]",
    "providers": f"execution providers, the preferred first [default: {','.join(_DEFAULTS.providers)}]",
    "load": f"what is loaded first: all, none, or names [default: {','.join(_DEFAULTS.load)}]",
    "body_limit": f"largest body in bytes [default: {_DEFAULTS.body_limit}]",
    "bodies_limit": f"bytes of bodies under way together [default: {BODIES_SHARE:.1%} of the memory]",
    "connections": "most connections, and calls over gRPC [default: three quarters of the files that may be open]",
    "drain_s": f"seconds that requests under way may take at the end [default: {_DEFAULTS.drain_s:g}]",
    "multi_model": "whether SageMaker loads and unloads models itself [default: false]",
}
"""What each setting is, in a line."""

_READERS: Mapping[str, Callable[[str], object]] = {
    "models": _path,
    "home": _path,
    "blobs": str,
    "signing_key": str,
    "tier": str,
    "host": str,
    "port": _whole(65_535),
    "grpc_port": _whole(65_535),
    "cores": _whole(1024, 1),
    "memory_mb": _whole(2**31, 1),
    "providers": _providers,
    "load": _names,
    "body_limit": _whole(2**31 - 1),  # gRPC's own limit is an int32
    "bodies_limit": _whole(2**50, 1),
    "connections": _whole(2**20, 1),
    "drain_s": _seconds,
    "multi_model": _flag,
}
