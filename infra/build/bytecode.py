"""Compiles an artefact with the interpreter version that will run it; it never compiles with another."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path


def find_interpreter(version: str) -> str | None:
    """An interpreter of this `major.minor` that really runs: this one, one on PATH, or one that pyenv keeps."""
    if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
        return sys.executable
    kept = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    # A pyenv shim on PATH refuses where its version is not the one in use.
    for folder in (*os.get_exec_path(), *sorted(map(str, kept.glob(f"{version}.*/bin")), reverse=True)):
        candidate = shutil.which(f"python{version}", path=folder)
        if candidate and _version(candidate) == version:
            return candidate
    return None


def check_interpreter(interpreter: str, version: str) -> None:
    """Raise ValueError unless this interpreter runs and is of this version: other bytecode would be ignored."""
    actual = _version(interpreter)
    if actual != version:
        raise ValueError(f"{interpreter} is {f'Python {actual}' if actual else 'no interpreter'}, not Python {version}")


def compile_tree(interpreter: str, root: Path, folder: Path) -> None:
    """Write bytecode below `folder` that is never checked against its source, as lying below /var/task.

    Lambda's copy is read-only, and its files have other dates than ours.
    """
    options = ["-q", "--invalidation-mode", "unchecked-hash", "-s", str(root), "-p", "/var/task"]
    subprocess.run([interpreter, "-m", "compileall", *options, str(folder)], check=True)


def _version(interpreter: str) -> str | None:
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([interpreter, "-c", ask], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
