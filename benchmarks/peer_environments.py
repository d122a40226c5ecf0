"""Installs each compared server into an environment of its own, once; it never touches this project's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.peer_servers import Server, own_programs

ENVIRONMENTS = Path(__file__).resolve().parents[1] / ".cache" / "peers"

INSTALLED = "installed.txt"
"""The requirements that an environment was installed from, written when it is whole."""

INSTALL_LIMIT_S = 900.0


class NotInstalled(RuntimeError):
    """A server that cannot be installed here; the message says why."""


def programs(server: Server, root: Path = ENVIRONMENTS) -> Path:
    """The folder of the programs of `server`'s environment, which is installed first where it is not whole.

    Raises NotInstalled.
    """
    if not server.requirements:
        return own_programs()
    folder = root / server.name
    if not is_installed(server, root):
        print(f"installing {' '.join(server.requirements)} ...", file=sys.stderr, flush=True)
        _install(server, folder)
    return folder / "bin"


def is_installed(server: Server, root: Path = ENVIRONMENTS) -> bool:
    """Whether `server`'s environment is whole, with the wanted versions."""
    mark = root / server.name / INSTALLED
    return not server.requirements or (mark.is_file() and mark.read_text() == _lines(server))


def _install(server: Server, folder: Path) -> None:
    _run([sys.executable, "-m", "venv", "--clear", str(folder)])
    _run([str(folder / "bin" / "pip"), "install", "--quiet", "--prefer-binary", *server.requirements])
    (folder / INSTALLED).write_text(_lines(server))


def _run(command: list[str]) -> None:
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False)
    except subprocess.TimeoutExpired as fault:
        raise NotInstalled(f"installing took over {INSTALL_LIMIT_S:.0f} s") from fault
    if ended.returncode:
        lines = [line for line in ended.stderr.splitlines() if line.startswith("ERROR")] or ended.stderr.splitlines()
        raise NotInstalled(f"pip: {lines[-1] if lines else 'no reason given'}")


def _lines(server: Server) -> str:
    return "".join(f"{requirement}\n" for requirement in server.requirements)
