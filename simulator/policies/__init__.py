"""Every policy that can be simulated, by name; no two know of each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from registry.catalogue import Catalogue
from simulator.policies.modelless import Modelless
from simulator.policy import Policy


class Factory(Protocol):
    """Makes a policy for a catalogue; what else it takes, it has defaults for."""

    def __call__(self, catalogue: Catalogue) -> Policy:
        """A policy that has decided nothing yet."""


POLICIES: Mapping[str, Factory] = {
    "modelless": Modelless,
}
