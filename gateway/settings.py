"""What an operator may set, from MODELLESS_* variables; every fault is named, nothing is guessed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.auth import KEYS_FILE_VARIABLE, Keyring
from gateway.backends.components import Component, components_of
from registry.errors import InvalidValue
from registry.jobs import MOST_OPEN

HOME = Path("~/.modelless")

BODY_LIMIT = 16 * 2**20
"""Largest request body in bytes: a batch of 25 images of 224 x 224 as FP32. Lambda's own limit is 6 MB."""

BODY_S = 60.0
"""Longest that a body may take to arrive, as nginx has it (`client_body_timeout`): BODY_LIMIT at 2 Mbit/s."""

LEAST_REQUESTS_PER_S = 0.001
"""A quota of nothing would be a gateway that answers nobody."""

LONGEST_PERIOD_S = 3600.0
"""Between two plans of what is kept warm: what is foreseen is the next minute."""


def _half_the_cores() -> int:
    """The other half is for who waits for an answer."""
    return max(1, len(os.sched_getaffinity(0)) // 2)


@dataclass(frozen=True, slots=True)
class Settings:
    """A gateway's settings; the defaults serve one machine to itself."""

    home: Path = field(default_factory=HOME.expanduser)
    """Where catalogue and blobs are kept."""
    host: str = "127.0.0.1"
    port: int = 8080
    """0 takes a free one."""
    keys_file: Path | None = None
    body_limit: int = BODY_LIMIT
    functions: Mapping[str, str] = field(default_factory=dict)
    """Lambda tier to the name, ARN or alias of its worker function."""
    containers: Mapping[str, str] = field(default_factory=dict)
    """Container or GPU tier to the URL of a container that runs elsewhere; the others are started here."""

    warm_budget: float = math.inf
    """US dollars per hour, at the tiers' prices, for what is kept warm ahead of requests; 0: nothing is. Without bound
    where nothing is billed: a machine of one's own costs the same used or not, and memory bounds what it holds."""

    warm_period_s: float = 60.0
    """Between two plans of what is kept warm; what was asked for is counted by the minute all the same."""

    requests_per_s: float = math.inf
    """Of each tenant whose keys say nothing else; what is over it is refused (429)."""

    jobs_at_once: int = field(default_factory=_half_the_cores)
    """Jobs that run at the same time, and only where requests leave room; 0: another process of the home runs them."""

    most_jobs: int = MOST_OPEN
    """Jobs of one tenant that may wait or run."""

    gpus: Mapping[str, Component] = field(default_factory=dict)
    """GPU tier to the SageMaker inference component that carries it out."""

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Settings:
        """Settings from environment variables; raises InvalidValue naming the variable."""
        defaults = cls()
        keys_file, gpus = variables.get(KEYS_FILE_VARIABLE), gpus_of(variables)
        if gpus and not variables.get("MODELLESS_WARM_BUDGET"):
            raise InvalidValue(
                "MODELLESS_WARM_BUDGET",
                "is not set, and copies of MODELLESS_GPU's components are paid for by the second",
                "give US dollars per hour; 0 leaves their number as it is",
            )
        return cls(
            home=Path(variables.get("MODELLESS_HOME") or defaults.home).expanduser(),
            host=variables.get("MODELLESS_HOST") or defaults.host,
            port=_whole(variables, "MODELLESS_PORT", defaults.port, 65_535),
            keys_file=Path(keys_file) if keys_file else None,
            body_limit=_whole(variables, "MODELLESS_BODY_LIMIT", defaults.body_limit, 2**31),
            functions=_strings(variables, "MODELLESS_LAMBDA_FUNCTIONS", '{"lambda-1769": "arn"}'),
            containers=containers_of(variables),
            gpus=gpus,
            warm_budget=_amount(variables, "MODELLESS_WARM_BUDGET", defaults.warm_budget, "US dollars per hour"),
            jobs_at_once=_whole(variables, "MODELLESS_JOBS_AT_ONCE", defaults.jobs_at_once, 1000),
            most_jobs=_whole(variables, "MODELLESS_MOST_JOBS", defaults.most_jobs, 1_000_000),
            warm_period_s=_amount(
                variables, "MODELLESS_WARM_PERIOD", defaults.warm_period_s, "seconds", least=1.0, most=LONGEST_PERIOD_S
            ),
            requests_per_s=_amount(
                variables,
                "MODELLESS_QUOTA_REQUESTS_PER_SECOND",
                defaults.requests_per_s,
                "requests per second",
                least=LEAST_REQUESTS_PER_S,
            ),
        )

    def keyring(self) -> Keyring:
        """The keys, or an open keyring when no file is set; raises InvalidValue."""
        return Keyring() if self.keys_file is None else Keyring.load(self.keys_file)


def containers_of(variables: Mapping[str, str]) -> dict[str, str]:
    """The containers that run elsewhere, by tier; raises InvalidValue."""
    return _strings(variables, "MODELLESS_CONTAINERS", '{"container-gpu": "http://10.0.0.7:8080"}')


def gpus_of(variables: Mapping[str, str]) -> dict[str, Component]:
    """The inference components, by tier; raises InvalidValue."""
    return components_of(variables, "MODELLESS_GPU")


def _whole(variables: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = variables.get(name)
    if not text:
        return default
    if not text.isdecimal() or int(text) > most:
        raise InvalidValue(name, f"{text!r} is not a whole number up to {most}", f"leave it out for {default}")
    return int(text)


def _amount(
    variables: Mapping[str, str],
    name: str,
    default: float,
    unit: str,
    *,
    least: float = 0.0,
    most: float = math.inf,
) -> float:
    text = variables.get(name)
    try:
        value = float(text) if text else default
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        bounds = f"give {least:g} or more" if most == math.inf else f"give {least:g} to {most:g}"
        raise InvalidValue(name, f"{text!r} is no number of {unit}", bounds)
    return value


def _strings(variables: Mapping[str, str], name: str, example: str) -> dict[str, str]:
    try:
        strings = json.loads(variables.get(name) or "{}")
    except ValueError:
        strings = None
    if not isinstance(strings, dict) or not all(isinstance(v, str) for v in strings.values()):
        raise InvalidValue(name, "is not a JSON object of strings", example)
    return strings
