"""What this machine is to a catalogue: which tiers it can serve, and what does not hold here; nothing is measured."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version

from gateway.settings import containers_of
from gateway.snapshots import Snapshots
from optimizer.fingerprint import fingerprint, stale, unfit
from registry.catalogue import Catalogue
from registry.model import Tier
from registry.prices import gpu_tier, local_tiers
from scheduler.events import VariantQuarantined

log = logging.getLogger(__name__)

CUDA_DISTRIBUTION = "onnxruntime-gpu"

ASK_CUDA = "from runtime.ort import check_providers; check_providers(['CUDA'])"
"""In a process of its own: ONNX Runtime, once loaded, would have the threads that it has then."""

ASK_S = 60.0


def tiers_here(variables: Mapping[str, str]) -> tuple[Tier, ...]:
    """The tiers that are measured where nobody names any: those of any machine, and `container-gpu` where there is one.

    There is one where MODELLESS_CONTAINERS says at which URL, or where CUDA can be used here. Raises InvalidValue.
    """
    gpu = gpu_tier()
    return (*local_tiers(), gpu) if gpu.name in containers_of(variables) or cuda_here() else local_tiers()


def cuda_here() -> bool:
    """Whether ONNX Runtime can use CUDA on this machine: it is asked, where a build with CUDA is installed."""
    try:
        version(CUDA_DISTRIBUTION)
    except PackageNotFoundError:
        return False
    command = [sys.executable, "-P", "-c", ASK_CUDA]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=False)  # noqa: S603 - ours
    if asked.returncode:
        log.warning("%s is installed, and there is no tier for it: %s", CUDA_DISTRIBUTION, asked.stderr.strip()[-300:])
    return asked.returncode == 0


def stale_here(catalogue: Catalogue) -> frozenset[str]:
    """The placements on tiers of this machine whose profiles were taken on another; by id, once per snapshot.

    They are used all the same, as what is best known: live outcomes correct them.
    """
    return catalogue.derived(stale_here, lambda snapshot: stale(snapshot, fingerprint()))


def warn_of_stale(catalogue: Catalogue) -> None:
    """Log one warning that names the tasks with stale profiles and what to run, if there are any."""
    tasks = sorted({catalogue.placements[id_].task for id_ in stale_here(catalogue)})
    if tasks:
        log.warning(
            "profiles of %s were taken on other hardware and are used until they are measured again: %s",
            ", ".join(tasks),
            "; ".join(f"modelless profile {task}" for task in tasks),
        )


def quarantine_unfit(snapshots: Snapshots, clock: Callable[[], float]) -> None:
    """Keep variants from running that were compiled for a CPU that this machine does not have: they answer wrongly."""
    catalogue, fleet = snapshots.view()
    for variant, reason in unfit(catalogue, fingerprint()).items():
        if variant not in fleet.quarantined:
            log.warning("variant %s is quarantined: %s", variant, reason)
            snapshots.emit(VariantQuarantined(variant, reason, clock()))
