"""Memory size to CPU share and memory cap, by the best means this machine allows; it always says which.

The ladder: cgroup v2 `cpu.max` -> cgroup v1 `cpu.cfs_quota_us` -> a SIGSTOP/SIGCONT duty cycle on the process's CPU
clock -> nothing. A share also freezes and thaws, because a duty cycle uses the same two signals.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Protocol

from gateway.environments.cgroups import PERIOD_US, Group, Tree, open_tree
from gateway.environments.processes import Child

PERIOD_S = PERIOD_US / 1e6
MEMORY_CHECK_S = 0.1
"""How often private memory is read where no cgroup caps it."""

KINDS = ("cgroup-v2", "cgroup-v1", "duty-cycle", "none")


class Share(Protocol):
    """One environment's CPU share and memory cap."""

    def attach(self, child: Child) -> None:
        """Take charge of a running process."""

    def freeze(self) -> None:
        """Stop the process."""

    def thaw(self) -> None:
        """Let it run within its share."""

    def oom_killed(self) -> bool:
        """Whether the memory cap killed it."""

    def close(self) -> None:
        """Let go; called once, after the process has ended (or never began)."""


class Shares:
    """Makes shares; opened once per gateway process, closed after the last environment."""

    def __init__(self, kind: str | None = None) -> None:
        """Climb down the ladder, or take the rung `kind`. Raises ValueError when that rung is not there."""
        self._tree: Tree | None = open_tree() if kind in (None, "cgroup-v1", "cgroup-v2") else None
        self.kind = self._tree.kind if self._tree else (kind or "duty-cycle")
        if kind not in (None, self.kind) or self.kind not in KINDS:
            self.close()
            raise ValueError(f"CPU share {kind!r} is not to be had here; this machine offers {self.kind!r}")

    def share(self, vcpus: float, memory_mb: int) -> Share:
        """A share for one environment. Raises OSError."""
        if self._tree is not None:
            return GroupShare(self._tree, self._tree.group(vcpus, memory_mb))
        return DutyCycle(vcpus if self.kind == "duty-cycle" else float("inf"), memory_mb)

    def close(self) -> None:
        """Remove every group that was made."""
        if self._tree is not None:
            self._tree.remove()


class GroupShare:
    """A share that the kernel enforces."""

    def __init__(self, tree: Tree, group: Group) -> None:
        self._tree, self._group = tree, group
        self._child: Child | None = None
        self._attached: asyncio.Future[None] | None = None

    def attach(self, child: Child) -> None:
        """Move the process into its group, off the loop: the kernel may wait an RCU grace period (10 ms) for it."""
        self._child = child
        self._attached = asyncio.get_running_loop().run_in_executor(None, self._group.add, child.pid)
        self._attached.add_done_callback(self._checked)

    def _checked(self, attached: asyncio.Future[None]) -> None:
        """What cannot be capped must not run: a profile says that it was."""
        if attached.exception() is not None and self._child is not None:
            self._child.signal(signal.SIGKILL)

    def freeze(self) -> None:
        """See Share."""
        if self._child is not None:
            self._child.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """See Share."""
        if self._child is not None:
            self._child.signal(signal.SIGCONT)

    def oom_killed(self) -> bool:
        """See Share."""
        return self._group.oom_killed()

    def close(self) -> None:
        """Give the group back once nothing can be put into it any more."""
        if self._attached is None:
            self._tree.give_back(self._group)
        else:
            self._attached.add_done_callback(lambda _: self._tree.give_back(self._group))


class DutyCycle:
    """A token bucket of CPU time, one period deep, fed at the share's rate and drained by the process's CPU clock.

    The process is stopped when the bucket is empty and goes on when half a period's share is back in it. Measured
    against a CPU-bound job it holds the share within 1 % up to 1,024 MB. An infinite share caps memory only.
    """

    def __init__(self, vcpus: float, memory_mb: int) -> None:
        self._vcpus, self._cap_kb = vcpus, memory_mb << 10
        self._depth = vcpus * PERIOD_S
        self._tokens = self._depth
        self._cores = float(os.cpu_count() or 1)
        """Only to bound how fast the bucket can drain; threads are never sized by it."""
        self._child: Child | None = None
        self._running = False
        self._stopped = False
        self._oom = False
        self._timer: asyncio.TimerHandle | None = None
        self._now = self._cpu = self._memory_at = 0.0

    def attach(self, child: Child) -> None:
        """See Share."""
        self._child = child
        self._now, self._cpu = time.monotonic(), 0.0
        self._running = True
        self._arm(PERIOD_S)

    def freeze(self) -> None:
        """Stop the process and the cycle; the bucket goes on filling."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        if self._child is not None and not self._stopped:
            self._child.signal(signal.SIGSTOP)
        self._stopped = True

    def thaw(self) -> None:
        """Go on, at once if there are tokens."""
        self._running = True
        self._tick()

    def oom_killed(self) -> bool:
        """See Share."""
        return self._oom

    def close(self) -> None:
        """See Share."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        self._child = None

    def _tick(self) -> None:
        if self._child is None or not self._running:
            return
        try:
            self._account()
        except OSError:  # the process has ended and its watcher is about to say so
            return
        if self._stopped and self._tokens > 0:
            self._stopped = False
            self._child.signal(signal.SIGCONT)
        elif not self._stopped and self._tokens <= 0:
            self._stopped = True
            self._child.signal(signal.SIGSTOP)
        if self._oom:
            return
        self._arm(self._next_look())

    def _account(self) -> None:
        child = self._child
        assert child is not None
        now = time.monotonic()
        # CPUCLOCK_PID | CPUCLOCK_SCHED (linux/posix-timers.h): the CPU clock of another process.
        cpu = time.clock_gettime((~child.pid << 3) | 2)
        if self._depth != float("inf"):
            gained = self._vcpus * (now - self._now) - (cpu - self._cpu)
            self._tokens = min(self._depth, self._tokens + gained)
        self._now, self._cpu = now, cpu
        if now - self._memory_at >= MEMORY_CHECK_S:
            self._memory_at = now
            self._check_memory(child)

    def _check_memory(self, child: Child) -> None:
        if _anonymous_kb(child.pid) > self._cap_kb:
            self._oom = True
            child.signal(signal.SIGKILL)

    def _next_look(self) -> float:
        """When the bucket can be empty at the earliest (running), or half full (stopped)."""
        if self._stopped:
            return max(0.001, (self._depth / 2 - self._tokens) / self._vcpus)
        if self._tokens == float("inf"):
            return MEMORY_CHECK_S
        return min(PERIOD_S, max(0.002, self._tokens / self._cores))

    def _arm(self, delay: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay, self._tick)


def _anonymous_kb(pid: int) -> int:
    """Private memory of a process, without the pages that files share (VmRSS counts each mapping of those)."""
    with open(f"/proc/{pid}/status", "rb") as status:
        for line in status:
            if line.startswith(b"RssAnon:"):
                return int(line.split()[1])
    return 0
