"""Runs the jobs of one machine when its requests leave room; it chooses no placement and keeps nothing.

A job is only begun while nobody waits for an answer, or while a core beyond those that answer is free: whoever waits
comes first, and finds at most `at_once` runs before it. Jobs wait for as long as requests leave no room.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from functools import partial

from gateway.jobs.carry_out import carry_out, hand_back
from gateway.service import Service
from registry.errors import ClaimLost, NotFound, RegistryError
from registry.jobs import Job, JobQueue, extend

log = logging.getLogger(__name__)

LEASE_S = 30.0
"""How long after a crash its jobs are claimed again: longer than a busy machine delays a heartbeat."""

BEAT_S = LEASE_S / 3

EVERY_S = 2.0
"""How often it is looked for what other processes queued or left, and for pauses that ended: one small query."""


class Runner:
    """Claims one job after the other and carries it out. All methods but `wake` are for the service's loop."""

    def __init__(
        self, queue: JobQueue, service: Service, *, at_once: int, cores: int, every_s: float = EVERY_S
    ) -> None:
        """`at_once` is how many jobs run at the same time, `cores` how many requests and jobs may."""
        self._queue, self._service = queue, service
        self._cores, self._every_s = cores, every_s
        self._free = asyncio.Semaphore(at_once)
        self._some = asyncio.Event()
        self._answered = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._loop = asyncio.get_running_loop()
        service.watch_with(lambda _: self._answered.set())

    def wake(self) -> None:
        """A job may be waiting; for any thread."""
        self._loop.call_soon_threadsafe(self._some.set)

    def cancel(self, id_: str) -> None:
        """Give up a job that was cancelled, if it runs here; for any thread."""
        self._loop.call_soon_threadsafe(self._give_up, id_)

    async def keep_running(self) -> None:
        """Until cancelled; what runs is then given back."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._free.acquire()
                job = await self._next()
                self._running[job.id] = running = group.create_task(self._one(job))
                running.add_done_callback(partial(self._ended, job))

    async def _next(self) -> Job:
        """The next job, claimed once there is room for it."""
        while True:
            while not self._has_room():
                self._answered.clear()
                await self._within_a_while(self._answered)
            self._some.clear()
            try:
                job = await self._claimed()
            except RegistryError as fault:
                log.warning("jobs cannot be claimed: %s", fault)
                job = None
            if job is not None:
                return job
            await self._within_a_while(self._some)

    async def _claimed(self) -> Job | None:
        """The next waiting job; what is claimed while this is cancelled is given back."""
        claiming = asyncio.ensure_future(asyncio.to_thread(self._queue.claim_next, secrets.token_hex(8), LEASE_S))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await asyncio.wait([claiming])  # a thread cannot be stopped
            if claiming.exception() is None and (job := claiming.result()) is not None:
                self._hand_back(job)
            raise

    async def _within_a_while(self, event: asyncio.Event) -> None:
        """Wait for an event, or until it is time to look anyway: who leaves before the answer sets none."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._every_s):
                await event.wait()

    def _has_room(self) -> bool:
        under_way = self._service.under_way
        return under_way == 0 or under_way + 2 <= self._cores

    async def _one(self, job: Job) -> None:
        beating = asyncio.create_task(self._beat(job))
        try:
            await carry_out(job, self._service, self._queue)
        except Exception:  # the outermost handler of a job: its lease ends, and it is claimed again
            log.exception("job %s", job.id)
        finally:
            beating.cancel()

    def _ended(self, job: Job, task: asyncio.Task[None]) -> None:
        """Make room, and give back what was stopped; not in the task, which may be cancelled before its first step."""
        self._free.release()
        if self._running.get(job.id) is task:
            del self._running[job.id]
            if task.cancelled():
                self._hand_back(job)

    def _hand_back(self, job: Job) -> None:
        try:
            hand_back(job, self._queue)
        except RegistryError as fault:  # its lease ends, and it is claimed again
            log.warning("job %s cannot be given back: %s", job.id, fault)

    async def _beat(self, job: Job) -> None:
        """Extend the lease until cancelled; a job that is somebody else's by now, or nobody's, is given up."""
        step = partial(extend, holder=job.holder, lease_s=LEASE_S)
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                await asyncio.to_thread(self._queue.move, job.tenant, job.id, step)
            except (ClaimLost, NotFound):
                self._give_up(job.id)
                return
            except RegistryError as fault:
                log.warning("job %s cannot be extended: %s", job.id, fault)

    def _give_up(self, id_: str) -> None:
        """Stop a job that is nobody's to give back."""
        if (running := self._running.pop(id_, None)) is not None:
            running.cancel()
