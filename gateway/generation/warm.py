"""Has a variant that was just made run once where it is wanted: whoever asked for it asks for it warm."""

from __future__ import annotations

import logging
import math

import numpy as np
from numpy.typing import NDArray

from gateway.backends.protocol import Invocation
from gateway.errors import BackendError
from gateway.local import Platform
from registry.jobs import Job
from registry.model import TensorSpec
from runtime.codecs.binary import DTYPES

log = logging.getLogger(__name__)


async def warm(job: Job, platform: Platform) -> None:
    """Run the job's variant on one row of zeros on the tier that it was made for, so that it is resident there.

    A strict SLO that only a resident variant holds would otherwise be refused for ever: nothing that is refused loads
    anything. What cannot be run is said in the log.
    """
    catalogue = await platform.refresh()
    variant = catalogue.variants.get(f"{job.task}/{job.variant}")
    backend = platform.backends.get(job.tier)
    if variant is None or backend is None:
        return
    inputs = {spec.name: _zeros(spec) for spec in catalogue.tasks[job.task].inputs}
    for placement in catalogue.placements_of(job.task):
        if (placement.variant, placement.tier) != (variant.id, job.tier):
            continue
        deadline = platform.clock() + backend.tier.timeout_s
        try:
            await backend.invoke(Invocation(f"{job.id}-warm", placement, variant, inputs, deadline))
        except BackendError as fault:
            log.warning("%s could not be warmed: %s", placement.id, fault)


def _zeros(spec: TensorSpec) -> NDArray[np.generic]:
    shape = (1, *(max(1, extent) for extent in spec.shape[1:]))
    if spec.datatype == "BYTES":
        empty = np.empty(math.prod(shape), dtype=object)
        empty[:] = [b""] * empty.size
        return empty.reshape(shape)
    return np.zeros(shape, DTYPES[spec.datatype])
