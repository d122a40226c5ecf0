"""The program of a template: AWS's runtime client up to where Lambda takes its snapshot, then copies on demand.

Run by path with a bare interpreter; it imports the runtime client and the function, never the gateway. The client runs
INIT and the before-snapshot hooks and calls `restore/next`; Lambda takes the snapshot inside that call. Here the call
forks: it never returns in the template, and returns in every copy, which goes on to its after-restore hooks and its
requests. The template must have one thread then, because only the forking thread exists in a copy.

Arguments: the parent's pid, the handler, the number of an inherited SOCK_SEQPACKET socket. Messages are JSON objects,
one a packet. To the gateway: `{"ready": true}` or `{"error": text}` once; `{"pid": n}` with a pidfd, or
`{"error": text}`, for each request in order; `{"exited": pid, "status": n}` when a copy ends. From the gateway:
`{"environ": {...}}`, the variables that the copy has besides the template's, with the descriptor that takes its output.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import json
import os
import select
import signal
import socket
import sys
import traceback
from _ctypes import call_function, dlopen, dlsym
from typing import Any

# The C client reads its address when it is loaded: it is found here, and loaded in copies only.
_C_CLIENT: Any = importlib.util.find_spec("runtime_client")
sys.modules["runtime_client"] = None  # type: ignore[assignment]

from awslambdaric import bootstrap, lambda_runtime_client  # noqa: E402
from awslambdaric.lambda_config import LambdaConfigProvider  # noqa: E402

del sys.modules["runtime_client"]

PR_SET_PDEATHSIG = 1
PACKET = 1 << 17


_PRCTL = dlsym(dlopen("", os.RTLD_NOW), "prctl")


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; exit now if it already has."""
    call_function(_PRCTL, (PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(0)


class Client(lambda_runtime_client.LambdaRuntimeClient):  # type: ignore[misc]
    """The runtime client, with the snapshot where `restore/next` would wait for it."""

    def __init__(self, channel: socket.socket, handler: str) -> None:
        config = LambdaConfigProvider(["", handler], {**os.environ, "AWS_LAMBDA_RUNTIME_API": ""})
        super().__init__(config.api_address, config.use_thread_polling)
        self._channel = channel

    def post_init_error(self, error_response_data: dict[str, Any], error_type_override: str | None = None) -> None:
        """INIT or a before-snapshot hook failed: tell the gateway; the caller exits."""
        kind = error_type_override or error_response_data["errorType"]
        text = f"{kind}: {error_response_data['errorMessage']}"
        self._channel.send(json.dumps({"error": text[:4000]}).encode())

    def restore_next(self) -> None:
        """Be the snapshot: return in each copy, and never in the template."""
        gc.collect()
        # What exists now is shared; the collector must not write into its pages.
        gc.freeze()
        self._channel.send(b'{"ready": true}')
        environ = Template(self._channel).serve()
        os.environ.update(environ)
        # `random` reseeds itself on fork; numpy's old global generator does not.
        numpy_random = sys.modules.get("numpy.random")
        if numpy_random is not None:
            numpy_random.seed()
        self._connect()

    def _connect(self) -> None:
        """Load the C client, now that its address is known."""
        runtime_client = importlib.util.module_from_spec(_C_CLIENT)
        _C_CLIENT.loader.exec_module(runtime_client)
        runtime_client.initialize_client(lambda_runtime_client._user_agent())
        lambda_runtime_client.runtime_client = runtime_client
        self.lambda_runtime_address = os.environ["AWS_LAMBDA_RUNTIME_API"]


class Template:
    """The loop of a template: one request at a time, and one notice for every copy that ends."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._poll = select.epoll()
        self._poll.register(channel.fileno(), select.EPOLLIN)
        self._copies: dict[int, int] = {}
        """pidfd to pid."""

    def serve(self) -> dict[str, str]:
        """Fork until the gateway closes its end; returns in copies only, with their variables."""
        while True:
            for fd, _ in self._poll.poll():
                if fd in self._copies:
                    self._bury(fd)
                elif (environ := self._answer()) is not None:
                    return environ

    def _answer(self) -> dict[str, str] | None:
        message, fds, _, _ = socket.recv_fds(self._channel, PACKET, 1)
        if not message:
            os._exit(0)
        environ: dict[str, str] = json.loads(message)["environ"]
        threads = len(os.listdir("/proc/self/task"))
        if threads != 1:
            os.close(fds[0])
            self._say({"error": f"the template has {threads} threads after INIT; a copy would have only one"})
            return None
        return environ if self._fork(fds[0]) else None

    def _fork(self, output: int) -> bool:
        """Whether this is the copy."""
        template = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._separate(template, output)
            return True
        os.close(output)
        pidfd = os.pidfd_open(pid)
        self._copies[pidfd] = pid
        self._poll.register(pidfd, select.EPOLLIN)
        socket.send_fds(self._channel, [json.dumps({"pid": pid}).encode()], [pidfd])
        return False

    def _separate(self, template: int, output: int) -> None:
        """A group and output of its own, and nothing of the template's."""
        os.setpgid(0, 0)
        die_with(template)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        self._poll.close()
        self._channel.close()
        for pidfd in self._copies:
            os.close(pidfd)

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
    """Run the client; the template and every copy end here."""
    die_with(parent)
    status = 1
    try:
        bootstrap.run(handler, Client(socket.socket(fileno=fd), handler))
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - the end of the process: say why in its log
        traceback.print_exc()
    finally:
        # No interpreter shutdown: a copy would run what the template registered.
        os._exit(status)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
