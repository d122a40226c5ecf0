"""A registered task, a platform that serves it as its own process, and the truth to compare answers with."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from cli.demo import environments_only
from cli.running import Running, running
from registry.catalogue import Catalogue
from registry.store import update
from registry.stores.sqlite import SqliteStore

ROOT = Path(__file__).resolve().parents[2]

Rows = NDArray[np.float32]
Start = Callable[..., Running]
Environment = Callable[[str], Path]


@pytest.fixture(scope="session")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with `digits`, measured quickly; nobody writes to it."""
    home = tmp_path_factory.mktemp("registered")
    register("digits", home)
    return home


@pytest.fixture(scope="session")
def platform(registered: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One platform for every test that only asks."""
    with running(registered, log=tmp_path_factory.mktemp("platform") / "up.log") as up:
        yield up


@pytest.fixture(scope="session")
def http(platform: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=platform.url, timeout=30) as client:
        yield client


@pytest.fixture
def home(registered: Path, tmp_path: Path) -> Path:
    """A copy of the registered home, to write to."""
    return shutil.copytree(registered, tmp_path / "home")


@pytest.fixture
def start() -> Iterator[Start]:
    """Start platforms that end with the test."""
    with ExitStack() as stack:
        yield lambda home, *arguments: stack.enter_context(running(home, *arguments))


@dataclass(frozen=True, slots=True)
class Sample:
    """Held-out digits and what they are."""

    rows: Rows
    labels: NDArray[np.int64]


@pytest.fixture(scope="session")
def sample() -> Sample:
    from examples.digits.data import sample

    return Sample(*sample(64))


@pytest.fixture(scope="session")
def truth(registered: Path) -> Callable[[str, Rows], dict[str, NDArray[Any]]]:
    """What a variant (by id) really answers: its own session, without the platform."""
    from registry.blobs.files import Files
    from runtime.session import Session

    catalogue, blobs = catalogue_of(registered), Files(registered / "blobs")

    def run(variant: str, rows: Rows) -> dict[str, NDArray[Any]]:
        session = Session.open(blobs, catalogue.variants[variant].artifact, threads=1, prepack=False)
        name = catalogue.task(variant.partition("/")[0]).inputs[0].name
        return session.run({name: rows})

    return run


@pytest.fixture(scope="session")
def edit() -> Callable[[Path, Callable[[Catalogue], Catalogue]], Catalogue]:
    """Publish an edit of a home's catalogue."""

    def publish(home: Path, change: Callable[[Catalogue], Catalogue]) -> Catalogue:
        store = SqliteStore(home / "catalogue.db")
        try:
            return update(store, change, note="test")
        finally:
            store.close()

    return publish


@pytest.fixture
def processes_only(home: Path, edit: Callable[..., Catalogue]) -> Path:
    """A home where nothing is always on, so that every request runs in an execution environment."""
    edit(home, environments_only)
    return home


@pytest.fixture(scope="session")
def environments() -> Callable[[int], list[psutil.Process]]:
    """The execution environments of a platform, as processes; templates of snapshots are not among them."""

    def find(pid: int) -> list[psutil.Process]:
        below = psutil.Process(pid).children(recursive=True)
        programs = {p.pid: _program(p) for p in below}
        return [p for p in below if programs[p.pid] == "launch.py" or programs.get(_parent(p)) == "snapshot.py"]

    return find


@pytest.fixture(scope="session")
def environment() -> Environment:
    """The folder of an environment with one requirement, for what must not be beside us; made once, kept in .cache/."""

    def make(requirement: str) -> Path:
        folder = ROOT / ".cache" / requirement.replace("==", "-")
        python, done = folder / "bin" / "python", folder / ".installed"
        folder.parent.mkdir(exist_ok=True)
        with folder.with_name(f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                clean = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
                subprocess.run([sys.executable, "-m", "venv", folder], check=True, env=clean)
                subprocess.run([python, "-m", "pip", "install", "-qq", requirement], check=True, env=clean)
                done.touch()
        return folder

    return make


def _program(process: psutil.Process) -> str:
    try:
        names = [Path(a).name for a in process.cmdline()]
    except psutil.NoSuchProcess:
        return ""
    return next((n for n in names if n in {"launch.py", "snapshot.py"}), "")


def _parent(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return 0


def register(source: str, home: Path) -> None:
    run = "from cli.main import main; main()"
    command = [sys.executable, "-P", "-c", run, "register", source, "--quick", "--json", "--home", os.fspath(home)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def catalogue_of(home: Path) -> Catalogue:
    store = SqliteStore(home / "catalogue.db")
    try:
        return store.load()
    finally:
        store.close()
