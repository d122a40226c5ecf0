"""What the kernel holds a process to; never what this program could be talked out of."""

from __future__ import annotations

import ctypes
import os
import resource
import sys

from optimizer.vet.caps import Caps

FILE_BYTES = 1 << 16
"""Largest file: standard error, whose end says how a process crashed."""

OPEN_FILES = 64
"""Python and ONNX Runtime hold about ten."""

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _SIGKILL = 1, 38, 9
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def isolate() -> None:
    """Give up the network and new privileges for good, as far as this host lets an ordinary process do so."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # Refused in most containers; what is left then is that a model has no operator that opens a connection.
    if libc.unshare(_CLONE_NEWNET):
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)


def confine(caps: Caps) -> None:
    """Limit what this process may take from now on: memory, processor time, files and dumps."""
    if sys.platform == "linux":  # macOS has the limit and does not keep to it
        _limit(resource.RLIMIT_AS, _address_space() + (caps.memory_mb << 20))
    # SIGXCPU ends it at the soft limit; the hard one is for a process that learnt to ignore it.
    resource.setrlimit(resource.RLIMIT_CPU, (caps.cpu_s, caps.cpu_s + 1))
    _limit(resource.RLIMIT_FSIZE, FILE_BYTES)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    _limit(resource.RLIMIT_CORE, 0)


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (bound, bound))


def _address_space() -> int:
    """Bytes that this process has mapped: libraries, mostly, which are no model's doing."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
