"""Prewarm's Lambda function: a schedule's event to the growing part of the capacity plan; it only wires."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from functions.aws.capacity import Capacity
from functions.aws.emf import Emf
from functions.aws.settings import CapacitySettings
from gateway.capacity.carry_out import Part

capacity = Capacity(CapacitySettings.read(os.environ), Part.GROW, emf=Emf.of(os.environ, "prewarm"))
# One loop for the environment's life: backends keep connections between events.
runner = asyncio.Runner()


def handler(event: Any, context: Any) -> dict[str, Any]:
    """One minute's plan, and what came of warming up and of provisioning more; errors leave by their class names."""
    return runner.run(capacity.once())
