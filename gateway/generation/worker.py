"""Looks at what was asked in vain, and makes, measures and publishes what may help; runs apart from any gateway."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gateway.errors import BackendError
from gateway.local import Platform
from optimizer.errors import OptimizerError
from optimizer.generate.table import GENERATORS
from optimizer.more import parent_of, proposal, register_more
from optimizer.ondemand import Option, options, wanted
from optimizer.plan import FULL, Plan
from registry.blobs import Blobs
from registry.catalogue import Catalogue
from registry.errors import RegistryError
from registry.jobs import Asked, Job, JobState
from registry.lineage import Outcome, Tried
from registry.model import Variant
from registry.store import Store
from registry.stores.jobs import SqliteJobs
from runtime.errors import RuntimeFault

log = logging.getLogger(__name__)

FAULTS = (OptimizerError, RegistryError, BackendError, RuntimeFault, OSError)
"""What may go wrong with one job and says so by itself."""


async def work(
    platform: Platform, jobs: SqliteJobs, *, plan: Plan = FULL, told: Callable[[Job], None] = lambda _: None
) -> list[Job]:
    """Answer every question that waits and do every job that is queued, one after another; the jobs as they ended.

    `told` is called with each job when it starts and when it ends. Whoever calls this is the only one who runs jobs of
    this home: what is marked as running is nobody's, and queued again.
    """
    jobs.recover()
    done: list[Job] = []
    while True:
        await asyncio.to_thread(answer_all, platform.store, platform.blobs, jobs)
        job = jobs.start_next()
        if job is None:
            return done
        told(job)
        if not done:
            await platform.prepare()
        done.append(await _done(job, platform, jobs, plan))
        told(done[-1])


def answer_all(store: Store, blobs: Blobs, jobs: SqliteJobs) -> None:
    """Look at each question that waits, and queue the job that would make the best answer to it, if there is one.

    Of a task whose models cannot be read nothing is made, which the log says.
    """
    catalogue = store.load()
    possible: dict[str, tuple[Option, ...]] = {}
    for asked in jobs.pending():
        task = asked.task
        jobs.answer(asked, None)  # a model whose planning ends this process must not end every process after it
        if task in catalogue.sources and task not in possible:
            try:
                possible[task] = possible_of(catalogue, blobs, task)
            except FAULTS as fault:  # asked again it would fail again, and every other task would wait for it
                log.warning("nothing can be made for %s: %s", task, fault)
                possible[task] = ()
        job = _job_for(asked, catalogue, possible.get(task, ()), jobs)
        if job is not None:
            jobs.answer(asked, job)


def possible_of(catalogue: Catalogue, blobs: Blobs, task: str) -> tuple[Option, ...]:
    """Everything that could be made of a task's registered models; raises NotFound, DigestMismatch or Unavailable."""
    names = [name for name, _ in catalogue.sources[task].models]
    parents = (parent_of(catalogue, blobs, task, name) for name in names)
    return options(parents, GENERATORS, alone=len(names) == 1)


def _job_for(asked: Asked, catalogue: Catalogue, possible: tuple[Option, ...], jobs: SqliteJobs) -> Job | None:
    if not possible:
        return None
    basis = catalogue.sources[asked.task].evaluation
    failed = {
        job.recipe for job in jobs.jobs() if (job.task, job.basis, job.state) == (asked.task, basis, JobState.FAILED)
    }
    wish = wanted(asked, catalogue, [option for option in possible if option.recipe not in failed])
    if wish is None:
        return None
    option = wish.option
    return jobs.queue(
        asked.task, option.name, option.suffix, option.recipe, basis=basis, tier=wish.tier, rows=asked.rows
    )


async def _done(job: Job, platform: Platform, jobs: SqliteJobs, plan: Plan) -> Job:
    """The job as it ended; queued again when this is cancelled."""
    try:
        made = await _made(job, platform, plan)
    except asyncio.CancelledError:
        jobs.move(job.id, JobState.QUEUED)
        raise
    except FAULTS as fault:
        return jobs.move(job.id, JobState.FAILED, str(fault))
    except Exception as fault:  # the outermost handler of a job: the next one is not to suffer
        log.exception("job %s", job.id)
        return jobs.move(job.id, JobState.FAILED, f"{type(fault).__name__}: {fault}")
    if isinstance(made, Tried):
        state = JobState.DROPPED if made.outcome is Outcome.DROPPED else JobState.FAILED
        return jobs.move(job.id, state, made.reason)
    return jobs.move(job.id, JobState.PUBLISHED, f"accuracy {made.accuracy.value:.4f}")


async def _made(job: Job, platform: Platform, plan: Plan) -> Variant | Tried:
    recipe = job.recipe
    model = proposal(
        platform.store.load(), job.task, recipe.parent or "", job.suffix, (recipe.generator, dict(recipe.parameters))
    )
    return await register_more(
        job.task, model, platform.store, platform.blobs, platform.backends, plan=plan, clock=platform.clock
    )
