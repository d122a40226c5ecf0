"""Has a placement run once, so that its variant is resident there; never chooses which."""

from __future__ import annotations

import logging
import math

import numpy as np
from numpy.typing import NDArray

from gateway.backends.protocol import Invocation
from gateway.errors import BackendError
from gateway.local import Platform
from registry.catalogue import Catalogue
from registry.generations import Generation
from registry.model import Placement, TensorSpec
from runtime.codecs.binary import DTYPES

log = logging.getLogger(__name__)


async def warm_made(generation: Generation, platform: Platform) -> None:
    """Warm a generation's variant on the tier that it was made for: whoever asked for it asks for it warm."""
    catalogue = await platform.refresh()
    for placement in catalogue.placements_of(generation.task) if generation.task in catalogue.tasks else ():
        if (placement.variant, placement.tier) == (f"{generation.task}/{generation.variant}", generation.tier):
            await warm(placement, generation.rows, catalogue, platform)


async def warm(placement: Placement, rows: int, catalogue: Catalogue, platform: Platform) -> None:
    """Run `rows` rows of zeros, past any decision: nobody waits for it, and its time says nothing of a caller's rows.

    As many as are asked for, since the first run of a batch size also gets its buffers: twice the time of the next one.
    What cannot be run is said in the log.
    """
    variant, backend = catalogue.variants[placement.variant], platform.backends.get(placement.tier)
    if backend is None:
        return
    inputs = {spec.name: _zeros(spec, min(rows, placement.max_batch)) for spec in catalogue.tasks[variant.task].inputs}
    deadline = platform.clock() + backend.tier.timeout_s
    try:
        await backend.invoke(Invocation(f"{placement.id}-warm", placement, variant, inputs, deadline))
    except BackendError as fault:
        log.warning("%s could not be warmed: %s", placement.id, fault)


def _zeros(spec: TensorSpec, rows: int) -> NDArray[np.generic]:
    shape = (rows, *(max(1, extent) for extent in spec.shape[1:]))
    if spec.datatype == "BYTES":
        empty = np.empty(math.prod(shape), dtype=object)
        empty[:] = [b""] * empty.size
        return empty.reshape(shape)
    return np.zeros(shape, DTYPES[spec.datatype])
