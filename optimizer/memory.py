"""How much private memory a loaded variant adds to a process; counted by the kernel, never estimated."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from statistics import median

from optimizer.backend import Tensors
from runtime.heap import give_back
from runtime.memory import private_mb
from runtime.session import Session

COPIES = 3
"""Loaded side by side; the median copy counts, for one may fill memory that the C library kept from before (it trims
no thread's arena at its top), or load while older garbage is collected."""


def per_copy_mb(open_session: Callable[[], Session], inputs: Tensors) -> float:
    """The megabytes by which one copy grows this process, after a run of `inputs` has filled its buffers.

    Mapped weights do not count, for all copies share them. Other threads must not allocate meanwhile.
    """
    # On a thread of its own: what a pool's thread has freed stays at the top of its arena, and would be used again.
    with ThreadPoolExecutor(1) as own:
        return own.submit(_growth_mb, open_session, inputs).result()


def _growth_mb(open_session: Callable[[], Session], inputs: Tensors) -> float:
    give_back()
    copies, held_mb = [], [private_mb()]
    for _ in range(COPIES):
        session = open_session()
        session.run(inputs)
        copies.append(session)
        held_mb.append(private_mb())
    copies.clear()
    give_back()
    return max(0.0, median(after - before for before, after in pairwise(held_mb)))
