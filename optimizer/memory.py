"""How much private memory a loaded variant adds to a process; counted by the kernel, never estimated."""

from __future__ import annotations

from collections.abc import Callable

from optimizer.backend import Tensors
from runtime.memory import give_back, private_mb
from runtime.session import Session

COPIES = 3
"""Loaded side by side, so that what one copy leaves on pages of its neighbours averages out."""


def per_copy_mb(open_session: Callable[[], Session], inputs: Tensors) -> float:
    """The megabytes by which one copy grows this process, after a run of `inputs` has filled its buffers.

    Mapped weights do not count, for all copies share them. Other threads must not allocate meanwhile.
    """
    give_back()
    before = private_mb()
    copies = []
    for _ in range(COPIES):
        session = open_session()
        session.run(inputs)
        copies.append(session)
    grown = private_mb() - before
    copies.clear()
    give_back()
    return max(0.0, grown / COPIES)
