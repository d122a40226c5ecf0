"""Inference components as settings name them, by tier; it asks none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from registry.errors import InvalidValue

EXAMPLE = 'give {"gpu-sagemaker-g6": {"endpoint": "…", "component": "…"}}'

COPIES_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Component:
    """An inference component that runs our container."""

    endpoint: str
    name: str
    most: int = 1
    """Copies that may be asked for (MaxCopies of infra/gpu.yaml)."""


def components_of(variables: Mapping[str, str], name: str) -> dict[str, Component]:
    """The components that a variable holds as JSON; none where it is absent. Raises InvalidValue naming it."""
    try:
        document = json.loads(variables.get(name) or "{}")
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise InvalidValue(name, "is no JSON object of tiers to components", EXAMPLE)
    return {tier: _component(f"{name}.{tier:.64}", entry) for tier, entry in document.items()}


def _component(where: str, entry: Any) -> Component:
    if not isinstance(entry, dict) or not {"endpoint", "component"} <= entry.keys() <= {
        "endpoint",
        "component",
        "copies",
    }:
        raise InvalidValue(where, "needs endpoint and component, and may have copies", EXAMPLE)
    endpoint, component, copies = entry["endpoint"], entry["component"], entry.get("copies", 1)
    if not all(isinstance(text, str) and text for text in (endpoint, component)):
        raise InvalidValue(where, "has an endpoint or component that is no name", EXAMPLE)
    if type(copies) is not int or not 1 <= copies <= COPIES_LIMIT:
        raise InvalidValue(f"{where}.copies", f"{copies!r:.40} is impossible", f"give 1 to {COPIES_LIMIT}")
    return Component(endpoint, component, copies)
