"""What runs the functions in place of Lambda's managed runtime: an interpreter, and AWS's client for it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bytecode import check_interpreter, find_interpreter
from recipes import PYTHON

ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64"}
"""What a machine calls itself, to what Lambda calls it."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """An interpreter that functions are built for and run with."""

    interpreter: str | None
    """None: it is not on this machine, and there is nothing to compile bytecode with."""
    version: str
    """`major.minor`."""

    @property
    def architecture(self) -> str:
        """This machine's, whatever the template says: emulators run functions where they are."""
        return ARCHITECTURES[platform.machine()]

    @property
    def managed(self) -> bool:
        """Whether it is of the version that template.yaml names."""
        return self.version == PYTHON

    def packages(self, cache: Path) -> Path:
        """The folder with AWS's runtime client, as /var/runtime is; made when it is not there."""
        folder = cache / f"runtime-{self.version}-{self.architecture}"
        if folder.exists():
            return folder
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            made = Path(scratch) / "packages"
            options = ["--quiet", "--only-binary=:all:", "--python-version", self.version, "--target", str(made)]
            subprocess.run([sys.executable, "-m", "pip", "install", *options, "awslambdaric>=4,<5"], check=True)
            made.rename(folder)
        return folder


def find_runtime(*, here: bool) -> Runtime:
    """The template's Python, as PYTHON313 names it or as it is found; where none is and it must run `here`, this one.

    Raises ValueError where PYTHON313 is something else.
    """
    if named := os.environ.get("PYTHON313"):
        check_interpreter(named, PYTHON)
    found = named or find_interpreter(PYTHON)
    if found is None and here:
        return Runtime(sys.executable, f"{sys.version_info[0]}.{sys.version_info[1]}")
    return Runtime(found, PYTHON)
