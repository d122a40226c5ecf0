"""Every policy that can be simulated, by name; no two know of each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from registry.catalogue import Catalogue
from simulator.policies.batch import Batch
from simulator.policies.cocktail import Cocktail
from simulator.policies.infaas import Infaas, InfaasIndividual, InfaasStatic
from simulator.policies.infadapter import InfAdapter
from simulator.policies.jellyfish import Jellyfish
from simulator.policies.mark import Mark
from simulator.policies.model_switching import ModelSwitching
from simulator.policies.modelless import Modelless
from simulator.policies.proteus import Proteus
from simulator.policies.slackfit import SlackFit
from simulator.policies.static import StaticBest, StaticCheapest
from simulator.policy import Policy


class Factory(Protocol):
    """Makes a policy for a catalogue; what else it takes, it has defaults for."""

    def __call__(self, catalogue: Catalogue) -> Policy:
        """A policy that has decided nothing yet."""


POLICIES: Mapping[str, Factory] = {
    "modelless": Modelless,
    "static_best": StaticBest,
    "static_cheapest": StaticCheapest,
    "infaas_static": InfaasStatic,
    "infaas_individual": InfaasIndividual,
    "infaas": Infaas,
    "slackfit": SlackFit,
    "model_switching": ModelSwitching,
    "jellyfish": Jellyfish,
    "batch": Batch,
    "infadapter": InfAdapter,
    "mark": Mark,
    "cocktail": Cocktail,
    "proteus": Proteus,
}
