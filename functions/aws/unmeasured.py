"""Ends the copies of components on which nothing was measured yet, so that no plan counts them; it starts none.

SageMaker makes a component with a copy, and the catalogue has its tier from the first push to it on.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from gateway.backends.components import Component
from gateway.errors import BackendError

if TYPE_CHECKING:
    from gateway.backends.sagemaker_calls import Calls

log = logging.getLogger(__name__)


class Unmeasured:
    """The components of one function, by tier. Calls block, so they belong on a thread."""

    def __init__(self, gpus: Mapping[str, Component]) -> None:
        self._gpus = gpus
        self._made: dict[str, Calls] = {}

    def end(self, measured: Collection[str]) -> None:
        """Have components of other tiers than the `measured` go to zero; what fails, the next minute tries again."""
        for tier in self._gpus.keys() - set(measured):
            try:
                self._end(tier)
            except BackendError as fault:
                log.warning("the copies of %s cannot be ended: %s", tier, fault)

    def _end(self, tier: str) -> None:
        if tier not in self._made:
            # Most stacks have no component.
            from gateway.backends.sagemaker_calls import Calls  # noqa: PLC0415

            self._made[tier] = Calls(self._gpus[tier])
        found = self._made[tier].describe()
        if found.settled and found.desired:
            self._made[tier].update(0)
            log.info("nothing is measured on %s: its copies are given up", tier)
