"""The last lines that a function wrote to stdout and stderr; never blocks the function or the loop."""

from __future__ import annotations

import asyncio
import os
from collections import deque

KEPT_BYTES = 64 * 1024
"""Enough for a traceback and the lines before it."""


class LogRing:
    """A pipe whose read end is drained by the loop into a bounded ring of bytes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._read_fd, self.write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read_fd, False)
        loop.add_reader(self._read_fd, self._drain)
        self._open = True

    def close_write_end(self) -> None:
        """Leave the write end to the function alone."""
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1

    def close(self) -> None:
        """Take what is left and stop reading."""
        if self._open:
            self._drain()
        self._stop()
        self.close_write_end()

    def text(self) -> str:
        """What was kept, oldest first."""
        return b"".join(self._chunks).decode("utf-8", "replace")

    def tail(self, lines: int = 8) -> str:
        """The last `lines` lines, for an error message."""
        return "\n".join(self.text().splitlines()[-lines:])

    def _drain(self) -> None:
        while True:
            try:
                chunk = os.read(self._read_fd, 65536)
            except BlockingIOError:
                return
            if not chunk:
                self._stop()
                return
            self._keep(chunk)

    def _keep(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        while self._size > KEPT_BYTES and len(self._chunks) > 1:
            self._size -= len(self._chunks.popleft())

    def _stop(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._read_fd)
            os.close(self._read_fd)
