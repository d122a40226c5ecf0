"""A home's tasks brought to a deployed stack: blobs, then measurements through its workers, then one release."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelless.stacks import Stack
from modelless.vouching import vouched
from optimizer.journal import FILE, Journal
from optimizer.plan import Plan
from optimizer.transfer import Moved, Transferred, blobs_of, carry, foresee, missing_of, transfer
from registry.errors import InvalidValue

if TYPE_CHECKING:
    from optimizer.progress import Progress
    from registry.blobs import Blobs
    from registry.provenance import BoundBlobs
    from registry.store import Store


@dataclass(frozen=True, slots=True)
class Pushing:
    """What a push would do, with what it does that by."""

    stack: Stack
    moved: tuple[Moved, ...]
    blobs: tuple[str, ...]
    """Digests of all that the tasks need."""
    missing: tuple[str, ...]
    """Those that the stack's bucket lacks."""
    version: int
    """The stack's newest release."""
    source: Blobs
    target: BoundBlobs
    store: Store

    def upload(self, progress: Progress | None = None) -> int:
        """Upload what is missing; returns bytes."""
        return carry(self.missing, self.source, self.target, progress)

    def vouch(self, progress: Progress | None = None) -> tuple[Moved, ...]:
        """What is pushed, bound to the versions of its objects, and signed where the stack wants it; all is uploaded.

        Raises NotFound, and Unavailable when bucket or key cannot be used.
        """
        return vouched(self.moved, self.source, self.target, self.stack.signer(), progress)

    async def publish(
        self,
        moved: Sequence[Moved],
        home: Path,
        *,
        plan: Plan,
        fresh: bool = False,
        progress: Progress | None = None,
    ) -> Transferred:
        """Measure through the workers what has no profile there, and publish all that `vouch` gave in one release.

        Raises MeasurementFailed, BackendError and what the store raises; nothing is published then.
        """
        backends = self.stack.backends(owners={task.task.name: task.task.owner for task in self.moved})
        note = f"push {', '.join(task.task.name for task in self.moved)}"
        try:
            with Journal.open(home / FILE, fresh=fresh) as journal:
                return await transfer(
                    moved,
                    self.store,
                    self.source,
                    backends,
                    progress=progress,
                    plan=plan,
                    journal=journal,
                    note=note,
                )
        finally:
            await asyncio.gather(*(backend.close() for backend in backends.values()))


def look(
    names: Sequence[str], here: Store, source: Blobs, stack: Stack, closing: ExitStack, *, fresh: bool = False
) -> Pushing:
    """What it takes to have tasks of a home (none named: all of them) on a stack; changes nothing.

    Raises InvalidValue where there is nothing to push, NotFound, MeasurementFailed, and Unavailable.
    """
    catalogue = here.load()
    names = tuple(dict.fromkeys(names)) or tuple(catalogue.tasks)
    if not names:
        raise InvalidValue("home", "has no task", "register one: `modelless register digits`")
    store = stack.store()
    there = store.load()
    moved = foresee(catalogue, there, names, stack.tiers, fresh=fresh)
    target = closing.enter_context(stack.blobs())
    digests = blobs_of(moved, source)
    return Pushing(stack, moved, digests, missing_of(digests, target), there.version, source, target, store)
