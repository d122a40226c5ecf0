"""The program of an on-demand environment: tie this process to its parent, then run AWS's runtime client.

Run by path with a bare interpreter, so it imports nothing but the standard library and never the gateway.
Arguments: the parent's pid, the handler.
"""

from __future__ import annotations

import os
import sys
from _ctypes import call_function, dlopen, dlsym

PR_SET_PDEATHSIG = 1
SIGKILL = 9


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; exit now if it already has.

    `_ctypes` alone is a tenth of the import time of `ctypes`.
    """
    call_function(dlsym(dlopen("", os.RTLD_NOW), "prctl"), (PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(0)


if __name__ == "__main__":
    die_with(int(sys.argv[1]))
    from awslambdaric.__main__ import main

    main(["awslambdaric", sys.argv[2]])
