"""What a function's environment variables say, read once at cold start; it opens nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from gateway.backends.components import Component, components_of
from registry.errors import InvalidValue


class SettingsError(Exception):
    """A function cannot start as configured; names every variable at fault."""


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """The scheduler function's."""

    table: str

    VARIABLES: ClassVar[tuple[str, ...]] = ("TABLE_NAME",)

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> SchedulerSettings:
        """Settings from environment variables; raises SettingsError naming every one that is missing."""
        (table,) = _required(variables, cls.VARIABLES)
        return cls(table)


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """The api function's."""

    table: str
    workers: Mapping[str, str]
    """Tier name to the ARN (with alias) of the function that carries it out."""
    tenant_claim: str
    """The JWT claim that names the tenant."""
    budget_usd_per_h: float
    """For what is kept warm; 0: nothing is, and nobody wants to know what is asked for."""
    requests_per_s: float = math.inf
    """Of each tenant; QUOTA_REQUESTS_PER_SECOND, without bound where it is absent or 0."""
    feedback_queue: str = ""
    """URL of the queue of judgements; none: answers cannot be judged."""
    jobs_queue: str = ""
    """URL of the queue of jobs; none: no jobs are taken."""
    bucket: str = ""
    """Where what is large of jobs is kept, and what callers put there themselves; none: nowhere."""
    isolated: bool = False
    """Whether the workers run each task in environments of its owner's alone (ISOLATE_TENANTS)."""
    optimize_queue: str = ""
    """URL of the queue of what is asked in vain; none: no variants are made."""
    gpus: Mapping[str, Component] = field(default_factory=dict)
    """Tier name to the inference component that carries it out; none where GPU is absent."""

    VARIABLES: ClassVar[tuple[str, ...]] = ("TABLE_NAME", "WORKERS", "TENANT_CLAIM", "WARM_BUDGET_USD_PER_HOUR")

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> ApiSettings:
        """Settings from environment variables; raises SettingsError naming every one that is missing or unreadable."""
        table, workers, tenant_claim, budget = _required(variables, cls.VARIABLES)
        return cls(
            table,
            _workers(workers),
            tenant_claim,
            _budget(budget),
            _quota(variables),
            feedback_queue=variables.get("FEEDBACK_QUEUE_URL", ""),
            jobs_queue=variables.get("JOBS_QUEUE_URL", ""),
            bucket=variables.get("BUCKET_NAME", ""),
            isolated=_isolated(variables),
            optimize_queue=variables.get("OPTIMIZE_QUEUE_URL", ""),
            gpus=_gpus(variables),
        )


@dataclass(frozen=True, slots=True)
class JobsSettings:
    """The jobs function's."""

    table: str
    bucket: str
    """Where what is large of jobs is kept."""
    queue: str
    """URL of the queue that it reads, for what it leaves there."""
    workers: Mapping[str, str]
    """As for the api function."""
    isolated: bool = False
    """As for the api function."""
    gpus: Mapping[str, Component] = field(default_factory=dict)
    """As for the api function."""

    VARIABLES: ClassVar[tuple[str, ...]] = ("TABLE_NAME", "BUCKET_NAME", "JOBS_QUEUE_URL", "WORKERS")

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> JobsSettings:
        """Settings from environment variables; raises SettingsError naming every one that is missing or unreadable."""
        table, bucket, queue, workers = _required(variables, cls.VARIABLES)
        return cls(table, bucket, queue, _workers(workers), _isolated(variables), _gpus(variables))


@dataclass(frozen=True, slots=True)
class FeedbackSettings:
    """The feedback function's."""

    table: str
    queue: str
    """URL of the queue that it reads, for what it tells itself later."""

    VARIABLES: ClassVar[tuple[str, ...]] = ("TABLE_NAME", "FEEDBACK_QUEUE_URL")

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> FeedbackSettings:
        """Settings from environment variables; raises SettingsError naming every one that is missing."""
        return cls(*_required(variables, cls.VARIABLES))


@dataclass(frozen=True, slots=True)
class OptimizeSettings:
    """The optimize function's."""

    table: str
    bucket: str
    workers: Mapping[str, str]
    """As for the api function: what it makes is measured through them."""
    queue: str
    """Its own, by its URL: what has to wait goes back."""
    isolated: bool = False
    """As for the api function."""
    reserved: int = 0
    """Environments that each worker has; 0: what the account leaves."""

    VARIABLES: ClassVar[tuple[str, ...]] = ("TABLE_NAME", "BUCKET_NAME", "WORKERS", "OPTIMIZE_QUEUE_URL")

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> OptimizeSettings:
        """Settings from environment variables; raises SettingsError naming every one that is missing or unreadable."""
        table, bucket, workers, queue = _required(variables, cls.VARIABLES)
        return cls(table, bucket, _workers(workers), queue, _isolated(variables), _reserved(variables))


@dataclass(frozen=True, slots=True)
class CapacitySettings:
    """The prewarm and evict functions'."""

    table: str
    workers: Mapping[str, str]
    """As for the api function."""
    budget_usd_per_h: float
    """Most US dollars an hour for what is kept warm."""
    gpus: Mapping[str, Component] = field(default_factory=dict)
    """As for the api function."""

    VARIABLES: ClassVar[tuple[str, ...]] = ("TABLE_NAME", "WORKERS", "WARM_BUDGET_USD_PER_HOUR")

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> CapacitySettings:
        """Settings from environment variables; raises SettingsError naming every one that is missing or unreadable."""
        table, workers, budget = _required(variables, cls.VARIABLES)
        return cls(table, _workers(workers), _budget(budget), _gpus(variables))


def _required(variables: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, ...]:
    missing = [name for name in names if not variables.get(name)]
    if missing:
        raise SettingsError(f"missing environment variables: {', '.join(missing)}")
    return tuple(variables[name] for name in names)


def _reserved(variables: Mapping[str, str]) -> int:
    text = variables.get("WORKER_CONCURRENCY", "0")
    if not text.isdecimal():
        raise SettingsError(f"WORKER_CONCURRENCY is {text!r:.40}; give a number of environments, or 0 for no reserve")
    return int(text)


def _budget(text: str) -> float:
    try:
        budget = float(text)
    except ValueError:
        budget = math.nan
    if not 0 <= budget < math.inf:
        raise SettingsError(f"WARM_BUDGET_USD_PER_HOUR is {text!r}; give US dollars per hour, 0 or more")
    return budget


def _isolated(variables: Mapping[str, str]) -> bool:
    return variables.get("ISOLATE_TENANTS") == "on"


def _quota(variables: Mapping[str, str]) -> float:
    text = variables.get("QUOTA_REQUESTS_PER_SECOND") or "0"
    try:
        quota = float(text)
    except ValueError:
        quota = math.nan
    if not 0 <= quota < math.inf:
        raise SettingsError(f"QUOTA_REQUESTS_PER_SECOND is {text!r}; give requests per second, or 0 for no bound")
    return quota or math.inf


def _gpus(variables: Mapping[str, str]) -> dict[str, Component]:
    try:
        found = components_of(variables, "GPU")
    except InvalidValue as fault:
        raise SettingsError(str(fault)) from None
    if found and _isolated(variables):
        raise SettingsError("ISOLATE_TENANTS is set, and the container on GPU runs all owners' models in one process")
    return found


def _workers(text: str) -> dict[str, str]:
    try:
        workers = json.loads(text)
    except ValueError:
        workers = None
    if not isinstance(workers, dict) or not workers or not all(isinstance(arn, str) for arn in workers.values()):
        raise SettingsError('WORKERS is no JSON object of tiers to function ARNs; give {"lambda-1769": "arn:…"}')
    return workers
