"""One model, its versions, and what is known of each by now; loads nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple

from runtime.container.loaded import Traits
from runtime.container.repository import Version
from runtime.container.signature import Signature
from runtime.container.statistics import Tally
from runtime.errors import UnknownModel
from scheduler.work import Rung


class Key(NamedTuple):
    """What makes two loads the same."""

    model: str
    version: str
    threads: int

    def __str__(self) -> str:
        return f"{self.model} version {self.version}"


@dataclass(slots=True, eq=False)
class Served:
    """A version, and what is known of it by now."""

    version: Version
    signature: Signature | None
    traits: dict[int, Traits] = field(default_factory=dict)
    """By threads."""
    load_s: float = 0.0
    fault: str = ""
    """Why it could not be loaded when that was last tried."""
    tally: Tally = field(default_factory=Tally)

    def check_stamp(self, stamp: str | None) -> None:
        """Raise UnknownModel unless it is of the bytes that were asked for, if any were."""
        version = self.version
        if stamp is not None and version.stamp != stamp:
            raise UnknownModel(f"{version.model} version {version.name} is not of {stamp:.80}")

    def rung(self) -> Rung:
        """What the station goes by."""
        version = self.version
        batch = max((traits.max_batch for traits in self.traits.values()), default=1)
        tried = {threads: traits.service for threads, traits in self.traits.items() if traits.service}
        load_s = self.load_s or version.load_s
        return Rung(version.name, version.accuracy or 0.0, batch, tried | dict(version.service), load_s)


@dataclass(slots=True, eq=False)
class Model:
    """A model, its versions (the newest first) and how many requests are under way."""

    name: str
    versions: dict[str, Served]
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    added: bool = False
    """It is not the repository's: unloaded, it is known no more."""
    active: int = 0
    """Requests under way."""
    drained: asyncio.Future[None] | None = None

    @property
    def switching(self) -> bool:
        """Whether the scheduler chooses among the versions: it can where each one's accuracy is known."""
        return all(served.version.accuracy is not None for served in self.versions.values())

    @property
    def default(self) -> str:
        """The version that a request without one means: the most accurate, or where that is not known the newest."""
        if not self.switching:
            return next(iter(self.versions))
        return max(self.versions, key=lambda name: self.versions[name].version.accuracy or 0.0)

    def served(self, version: str | None) -> Served:
        """The version of this name, or the default one; raises UnknownModel."""
        name = self.default if version is None else version
        served = self.versions.get(name)
        if served is None:
            raise UnknownModel(f"model {self.name} has no version {name!r:.140}; it has {', '.join(self.versions)}")
        return served

    def task(self, version: str) -> str:
        """What the station calls it: each version is a task of its own unless it may choose."""
        return self.name if self.switching else f"{self.name}/{version}"

    def done(self) -> None:
        """One request under way less."""
        self.active -= 1
        if not self.active and self.drained is not None and not self.drained.done():
            self.drained.set_result(None)


class Target(NamedTuple):
    """What a request's model and version mean, once the signature is known."""

    model: Model
    served: Served
    """Whose signature it is."""
    signature: Signature
    task: str
    variant: str | None
    """The only version that may answer; None leaves the choice to the scheduler."""
