"""The folder that tasks are kept in: which it is, and whether it can be written; makes that folder and no more."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from registry.errors import InvalidValue


def default_home() -> Path:
    """Where tasks are kept unless a caller says: MODELLESS_HOME, else ~/.modelless."""
    return Path(os.environ.get("MODELLESS_HOME") or Path.home() / ".modelless")


def check_home(home: Path) -> None:
    """Raise InvalidValue where it can be foreseen that the folder cannot be written or made; makes nothing."""
    try:
        nearest = next(path for path in (home.absolute(), *home.absolute().parents) if path.exists())
    except OSError as fault:
        raise _unwritable(home, fault) from fault
    if not nearest.is_dir():
        raise _unwritable(home, NotADirectoryError(errno.ENOTDIR, f"{nearest} is no folder"))
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise _unwritable(home, PermissionError(errno.EACCES, f"{nearest} may not be written"))


def make_home(home: Path) -> None:
    """The folder, made if it is not there; raises InvalidValue where it cannot be."""
    check_home(home)
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise _unwritable(home, fault) from fault


def _unwritable(home: Path, fault: OSError) -> InvalidValue:
    fix = "name a folder that you may write: --home FOLDER or MODELLESS_HOME (in Python, home=)"
    return InvalidValue("home", f"{home} cannot be written ({fault.strerror})", fix)
