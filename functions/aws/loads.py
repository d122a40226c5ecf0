"""What a worker tells of a load: whoever asked learns of it too, but nobody of those that were warmed up."""

from __future__ import annotations

from collections.abc import Mapping

from functions.aws.emf import Emf
from registry.measures import Measure
from registry.typed import Any


def tell_of_load(variant: str, reply: Mapping[str, Any], variables: Mapping[str, str]) -> None:
    """Count a load; `variables` are the environment's, whose memory and kind of start name its tier."""
    restored = variables.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"
    tier = f"lambda-{variables['AWS_LAMBDA_FUNCTION_MEMORY_SIZE']}{'-snapstart' if restored else ''}"
    loaded = (Measure("ModelLoads", 1, tier=tier), Measure("LoadTime", reply["load_ms"], tier=tier))
    Emf.of(variables, "worker").put(loaded, {"variant": variant, "environment": reply["environment"]})
