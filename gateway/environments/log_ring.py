"""What a function writes to stdout and stderr, its last lines kept; never blocks the function or the loop."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable

KEPT_BYTES = 64 * 1024
"""Enough for a traceback and the lines before it."""

Output = Callable[[bytes], None]
"""Hears all that is written, in chunks as they come."""


class LogRing:
    """A pipe whose read end is drained by the loop into a bounded ring of bytes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, output: Output | None = None) -> None:
        self._loop = loop
        self._output = output
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._read_fd, self.write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read_fd, False)
        loop.add_reader(self._read_fd, self.drain)
        self._open = True

    def close_write_end(self) -> None:
        """Leave the write end to the function alone."""
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1

    def close(self) -> None:
        """Take what is left and stop reading."""
        self.drain()
        self._stop()
        self.close_write_end()

    def text(self) -> str:
        """What was kept, oldest first."""
        return b"".join(self._chunks).decode("utf-8", "replace")

    def tail(self, lines: int = 8) -> str:
        """The last `lines` lines, for an error message."""
        return "\n".join(self.text().splitlines()[-lines:])

    def drain(self) -> None:
        """Take what has been written so far, without waiting for the loop to come round to it."""
        while self._open:
            try:
                chunk = os.read(self._read_fd, 65536)
            except BlockingIOError:
                return
            if not chunk:
                self._stop()
                return
            self._keep(chunk)

    def _keep(self, chunk: bytes) -> None:
        if self._output is not None:
            self._output(chunk)
        self._chunks.append(chunk)
        self._size += len(chunk)
        while self._size > KEPT_BYTES and len(self._chunks) > 1:
            self._size -= len(self._chunks.popleft())

    def _stop(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._read_fd)
            os.close(self._read_fd)
