"""The program of an on-demand environment: tie this process to its parent, then run AWS's runtime client.

Run by path with a bare interpreter, so it imports nothing but the client and the standard library, never the gateway.
Arguments: the parent's pid, the handler.
"""

from __future__ import annotations

import gc
import os
import sys
from _ctypes import call_function, dlopen, dlsym  # a tenth of the import time of `ctypes`

PR_SET_PDEATHSIG = 1
SIGKILL = 9


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; exit now if it already has."""
    call_function(dlsym(dlopen("", os.RTLD_NOW), "prctl"), (PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(0)


def main(handler: str) -> None:
    """What `python -m awslambdaric` does, with no garbage collection until INIT is over: it finds none there."""
    gc.disable()
    from awslambdaric import bootstrap
    from awslambdaric.lambda_config import LambdaConfigProvider
    from awslambdaric.lambda_runtime_client import LambdaRuntimeClient

    class Client(LambdaRuntimeClient):  # type: ignore[misc]
        def wait_next_invocation(self) -> object:
            if not gc.isenabled():
                # What INIT made stays; there is no point in looking through it again and again.
                gc.freeze()
                gc.enable()
            return super().wait_next_invocation()

    config = LambdaConfigProvider(["awslambdaric", handler])
    bootstrap.run(config.handler, Client(config.api_address, config.use_thread_polling))


if __name__ == "__main__":
    die_with(int(sys.argv[1]))
    main(sys.argv[2])
