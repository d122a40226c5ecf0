"""The program of a template: initialise a function once, then fork restored copies of it on demand.

Run by path with a bare interpreter; it imports the runtime client and the function, never the gateway. It must have
one thread when it forks, because only the forking thread exists in the copy.

Arguments: the parent's pid, the handler, the number of an inherited SOCK_SEQPACKET socket. Messages are JSON objects,
one a packet. To the gateway: `{"ready": true}` or `{"error": text}` once; `{"pid": n}` with a pidfd, or
`{"error": text}`, for each request in order; `{"exited": pid, "status": n}` when a copy ends. From the gateway:
`{"environ": {...}}` with the descriptor that takes the copy's output.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from _ctypes import call_function, dlopen, dlsym
from typing import Any

PR_SET_PDEATHSIG = 1
PACKET = 1 << 17


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; exit now if it already has."""
    call_function(dlsym(dlopen("", 2), "prctl"), (PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(0)


def initialise(handler: str) -> None:
    """INIT as the runtime client does it, then the before-snapshot hooks; raises what the function raises."""
    # The C client reads its address when it is loaded: it must first be loaded in a copy.
    sys.modules["runtime_client"] = None  # type: ignore[assignment]
    # What the client imports late, its error path and restore/next, is imported once, here.
    import http.client

    from awslambdaric import __main__, bootstrap, lambda_runtime_hooks_runner

    bootstrap._get_handler(handler)
    # It takes each hook off its list, so the copies, which call it again, find none.
    lambda_runtime_hooks_runner.run_before_snapshot()
    del sys.modules["runtime_client"]
    del http, __main__
    gc.collect()
    # What exists now is shared; the collector must not write into its pages.
    gc.freeze()


def threads() -> int:
    """How many threads this process has."""
    return len(os.listdir("/proc/self/task"))


def become_copy(template: int, handler: str, environ: dict[str, str], output: int) -> None:
    """Turn this fork into an execution environment and run the runtime client in it; never returns."""
    os.setpgid(0, 0)
    die_with(template)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.clear()
    os.environ.update(environ)
    # `random` reseeds itself on fork; numpy's old global generator does not.
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()

    import runtime_client
    from awslambdaric import __main__, lambda_runtime_client

    runtime_client.initialize_client(lambda_runtime_client._user_agent())
    lambda_runtime_client.runtime_client = runtime_client
    __main__.main(["awslambdaric", handler])


class Template:
    """The loop of a template: one request at a time, and one notice for every copy that ends."""

    def __init__(self, channel: socket.socket, handler: str) -> None:
        self._channel, self._handler = channel, handler
        self._poll = select.epoll()
        self._poll.register(channel.fileno(), select.EPOLLIN)
        self._copies: dict[int, int] = {}
        """pidfd to pid."""

    def serve(self) -> None:
        """Until the gateway closes its end."""
        while True:
            for fd, _ in self._poll.poll():
                if fd in self._copies:
                    self._bury(fd)
                elif not self._answer():
                    return

    def _answer(self) -> bool:
        message, fds, _, _ = socket.recv_fds(self._channel, PACKET, 1)
        if not message:
            return False
        environ, output = json.loads(message)["environ"], fds[0]
        if threads() != 1:
            os.close(output)
            self._say({"error": f"the template has {threads()} threads after INIT; a copy would have only one"})
            return True
        self._fork(environ, output)
        return True

    def _fork(self, environ: dict[str, str], output: int) -> None:
        template = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._run_copy(template, environ, output)
        os.close(output)
        pidfd = os.pidfd_open(pid)
        self._copies[pidfd] = pid
        self._poll.register(pidfd, select.EPOLLIN)
        socket.send_fds(self._channel, [json.dumps({"pid": pid}).encode()], [pidfd])

    def _run_copy(self, template: int, environ: dict[str, str], output: int) -> None:
        status = 1
        try:
            for fd in (self._poll.fileno(), self._channel.fileno(), *self._copies):
                os.close(fd)
            become_copy(template, self._handler, environ, output)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:  # noqa: BLE001 - the end of the process: say why in its log
            traceback.print_exc()
        finally:
            os._exit(status)

    def _bury(self, pidfd: int) -> None:
        pid = self._copies.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        # The zombie still holds the group's number, so what it left behind can be killed safely.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        self._say({"exited": pid, "status": os.waitstatus_to_exitcode(status)})

    def _say(self, message: dict[str, Any]) -> None:
        self._channel.send(json.dumps(message).encode())


def main(parent: int, handler: str, fd: int) -> None:
    """Initialise, say so, serve."""
    die_with(parent)
    channel = socket.socket(fileno=fd)
    try:
        initialise(handler)
    except BaseException as fault:
        traceback.print_exc()
        kind = getattr(fault, "exception_type", None) or type(fault).__name__
        text = f"{kind}: {getattr(fault, 'msg', None) or fault}"
        channel.send(json.dumps({"error": text[:4000]}).encode())
        raise SystemExit(1) from fault
    channel.send(b'{"ready": true}')
    Template(channel, handler).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
