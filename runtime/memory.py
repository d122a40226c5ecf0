"""How much private memory this process holds, as the kernel counts it; never an estimate."""

from __future__ import annotations


def private_mb() -> float:
    """Anonymous resident memory of this process in MB (RssAnon of /proc/self/status).

    Mapped weight files are left out: they are page cache, one copy per machine, and the kernel can drop them.
    """
    with open("/proc/self/status", "rb", buffering=0) as file:
        _, found, rest = file.read(4096).partition(b"RssAnon:")
    if found:
        return int(rest.split(None, 1)[0]) / 1024
    raise OSError("/proc/self/status has no RssAnon; Linux 4.5 or newer is needed")
