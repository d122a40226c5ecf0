"""The load generator's process: it carries out the plan in a folder and leaves what it measured there."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import uvloop

from benchmarks.load_files import Plan, write_measured
from benchmarks.load_loops import ClosedLoop, Connection, Loop, OpenLoop, Record
from benchmarks.load_measured import Measured

PLAN, MEASURED = "plan.npz", "measured.npz"
"""Files of the folder that the two processes share."""

SWEEP_S = 0.05
"""How often to look for what takes too long, or for the end."""

LEAD_S = 0.05
"""From the last connection's opening to the first intended send time of an open loop."""

CONNECT_S = 10.0
"""How long opening a connection may take."""

clock = time.perf_counter


class Usage(NamedTuple):
    """Wall and CPU seconds so far."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Usage:
        return cls(clock(), time.process_time())

    def share_since(self, before: Usage) -> float:
        return (self.cpu - before.cpu) / (self.wall - before.wall)


class Timer:
    """A timer of the kernel's, in microseconds: an event loop's own are in milliseconds, as long as many an answer."""

    _ABSOLUTE = 1  # TFD_TIMER_ABSTIME, timerfd_create(2)

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        # struct itimerspec: seconds and nanoseconds of the interval, then of the first expiry.
        self._spec = (ctypes.c_long * 4)()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self.fd)
        os.close(self.fd)

    def set(self, when: float) -> None:
        """Expire at `when` on `time.perf_counter`, which is the monotonic clock; at once if it has passed."""
        seconds = int(when)
        self._spec[2], self._spec[3] = seconds, int((when - seconds) * 1e9)
        self._libc.timerfd_settime(self.fd, self._ABSOLUTE, self._spec, None)

    def calls(self, expired: Callable[[], None]) -> None:
        """Call this on the running loop at every expiry, until the timer's exit."""

        def readable() -> None:
            # The count of expiries, read so that the descriptor is readable no more; none if it was set anew since.
            with contextlib.suppress(BlockingIOError):
                os.read(self.fd, 8)
            expired()

        asyncio.get_running_loop().add_reader(self.fd, readable)


async def when_due(times: Sequence[float], call: Callable[[int], None]) -> None:
    """Call with the number of each of these instants (s, monotonic) once it has come; returns after the last.

    What falls due meanwhile waits for the loop's next turn, as what a server has not read yet.
    """
    over = asyncio.get_running_loop().create_future()
    following, timer = 0, Timer()

    def due() -> None:
        nonlocal following
        now = time.monotonic()
        while following < len(times) and times[following] <= now:
            call(following)
            following += 1
        if following < len(times):
            timer.set(times[following])
        elif not over.done():
            over.set_result(None)

    with timer:
        timer.calls(due)
        due()
        await over


class Opener:
    """Opens a plan's connections for a loop."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: Loop

    async def open_first(self, loop: Loop) -> None:
        """Open the connections that the plan begins with; raises OSError where one cannot be opened."""
        self._loop = loop
        await asyncio.gather(*(self._open() for _ in range(self._plan.connections)))

    def connect(self) -> None:
        """Begin to open another; the loop hears of it."""
        task = asyncio.ensure_future(self._try())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _try(self) -> None:
        try:
            await self._open()
        except OSError:
            self._loop.not_joined()

    async def _open(self) -> None:
        running = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_S):
            await running.create_connection(lambda: Connection(self._loop), self._plan.host, self._plan.port)


def main(folder: Path) -> None:
    """Carry out the plan in `folder`; exits with a message where the target cannot be reached."""
    plan = Plan.read(folder / PLAN)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # What lives now lives on; a request makes no cycles, and a collection would be a pause in every latency.
    gc.freeze()
    gc.disable()
    try:
        measured = uvloop.run(_run(plan))
    except OSError as fault:
        raise SystemExit(f"{plan.host}:{plan.port} cannot be reached: {fault}") from fault
    write_measured(measured, folder / MEASURED)


async def _run(plan: Plan) -> Measured:
    # A fault in a callback would otherwise be a line in a log and a figure that is wrong.
    asyncio.get_running_loop().set_exception_handler(_fail)
    return await (_closed(plan) if plan.times is None else _open(plan))


def _fail(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    loop.default_exception_handler(context)
    os._exit(1)


async def _closed(plan: Plan) -> Measured:
    record, opener = Record(len(plan.requests)), Opener(plan)
    loop = ClosedLoop(
        plan.requests, record, most=plan.connections, timeout_s=plan.timeout_s, clock=clock, connect=opener.connect
    )
    await opener.open_first(loop)
    origin = clock() + plan.warm_s
    loop.stop = origin + plan.seconds
    await _sweeping(loop, lambda: clock() >= origin)
    before = Usage.now()
    await _sweeping(loop, lambda: clock() >= loop.stop)
    share = Usage.now().share_since(before)
    await _sweeping(loop, loop.finished)
    loop.close()
    return _measured(plan, record, origin, share)


async def _open(plan: Plan) -> Measured:
    assert plan.times is not None
    record, opener = Record(len(plan.requests), len(plan.times)), Opener(plan)
    with Timer() as timer:
        loop = OpenLoop(
            plan.requests,
            record,
            plan.times,
            most=plan.most_connections,
            timeout_s=plan.timeout_s,
            clock=clock,
            connect=opener.connect,
            wake_at=timer.set,
        )
        timer.calls(loop.send_due)
        await opener.open_first(loop)
        before, origin = Usage.now(), clock() + LEAD_S
        loop.start(origin)
        await _sweeping(loop, loop.finished)
        share = Usage.now().share_since(before)
    loop.close()
    return _measured(plan, record, origin, share)


async def _sweeping(loop: Loop, until: Callable[[], bool]) -> None:
    while not until():
        await asyncio.sleep(SWEEP_S)
        loop.sweep(clock())


def _measured(plan: Plan, record: Record, origin: float, share: float) -> Measured:
    sent, done = np.array(record.sent) - origin, np.array(record.done) - origin
    # What a closed loop had answers to before its window was to warm up.
    slots = np.flatnonzero(done >= 0.0)
    return Measured(
        intended=sent[slots] if plan.times is None else plan.times,
        sent=sent[slots],
        done=done[slots],
        status=np.array(record.status, dtype=np.int64)[slots],
        index=slots % len(plan.requests),
        bodies=record.bodies,
        refused=record.refused,
        cpu_share=share,
        seconds=plan.seconds,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
