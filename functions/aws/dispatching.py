"""The service of a function that dispatches, opened alike in all of them; it decides nothing."""

from __future__ import annotations

import os
from random import random
from typing import NamedTuple

from functions.aws.backends import CloudBackends
from functions.aws.catalogue import CatalogueWatch
from functions.aws.decided import Decided
from functions.aws.emf import Emf
from functions.aws.settings import ApiSettings, JobsSettings
from functions.aws.xray import XRay
from gateway.apart import ApartSnapshots
from gateway.service import Service
from gateway.snapshots import Snapshots
from registry.catalogue import Catalogue
from registry.stores.dynamodb import DynamoStore
from registry.stores.dynamodb_leases import DynamoLeases
from registry.stores.dynamodb_table import DynamoTable
from registry.tracing import UNTRACED


class Dispatching(NamedTuple):
    """What serves requests, and what keeps it so."""

    service: Service
    backends: CloudBackends
    watch: CatalogueWatch
    """For a look before each event."""
    decided: Decided
    """To be told the id of each event."""


def open_service(settings: ApiSettings | JobsSettings, table: DynamoTable, emf: Emf) -> Dispatching:
    """A service over the table's catalogue and the tiers that settings name; nothing is read before a look."""
    snapshots = (ApartSnapshots if settings.isolated else Snapshots)(Catalogue.empty())
    backends = CloudBackends(
        settings.workers,
        emit=snapshots.emit,
        gpus=settings.gpus,
        leases=DynamoLeases(table),
        isolated=settings.isolated,
    )
    watch = CatalogueWatch(DynamoStore(table), snapshots, changed=backends.follow)
    # Without probes: after an answer the environment is frozen, and what runs in the background would be cut off.
    service = Service(snapshots, backends.by_tier, probes=False, uniform=random)
    decided = Decided(emf)
    service.watch_with(decided.observe)
    service.trace_with(XRay.of(os.environ) or UNTRACED)
    return Dispatching(service, backends, watch, decided)
