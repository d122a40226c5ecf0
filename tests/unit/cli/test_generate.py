"""What makes variants does not outlive the platform that started it."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

from cli.up import _generator

CHILD = """
import os, signal
from cli.generate import stop_with
stop_with(int(os.environ["PARENT"]))
os.write(int(os.environ["MARK"]), b"started")
signal.pause()
"""
PARENT = """
import os, subprocess, sys
environ = os.environ | {"PARENT": str(os.getpid())}
subprocess.run([sys.executable, "-c", os.environ["CHILD"]], env=environ, pass_fds=[int(os.environ["MARK"])])
"""


def test_it_stops_when_its_parent_is_killed() -> None:
    ours, theirs = os.pipe()
    try:
        environ = os.environ | {"CHILD": CHILD, "MARK": str(theirs)}
        parent = subprocess.Popen([sys.executable, "-c", PARENT], env=environ, pass_fds=[theirs])
        os.close(theirs)
        assert os.read(ours, 100) == b"started"
        parent.kill()
        parent.wait()
        # The end of the pipe: nobody holds its other end any more.
        assert select.select([ours], [], [], 20)[0] == [ours]
        assert os.read(ours, 100) == b""
    finally:
        os.close(ours)


def test_it_does_not_start_without_its_parent() -> None:
    program = "from cli.generate import stop_with; stop_with(1 << 30); print('on')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == ""


def test_the_platform_names_itself_as_the_parent() -> None:
    assert _generator(Path("home"))[-2:] == ["--parent", str(os.getpid())]
