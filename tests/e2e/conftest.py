"""A registered task, a platform that serves it as its own process, and the truth to compare answers with."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import psutil
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from cli.demo import environments_only
from cli.running import Running, running
from registry.catalogue import Catalogue
from registry.store import update
from registry.stores.sqlite import SqliteStore

ROOT = Path(__file__).resolve().parents[2]

Rows = NDArray[np.float32]
Start = Callable[..., Running]
Environment = Callable[[str], Path]
Serve = Callable[..., "Container"]


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


@dataclass(frozen=True, slots=True)
class Container:
    """A container's program, and where it listens."""

    url: str
    grpc: str
    pid: int

    @property
    def host(self) -> str:
        """Of HTTP, with the port."""
        return self.url.partition("://")[2]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models that answer what anyone can reckon.

    `double` (whole numbers), `mix` (two inputs), `kinds` (every datatype), `pets` (strings, and what is known of them),
    and `scale`, whose two versions multiply by 1 and by 2.
    """
    folder = tmp_path_factory.mktemp("models")
    pair, fp32 = ["n", 4], TensorProto.FLOAT
    write_model(
        folder / "mix",
        [("Add", ["a", "b"], "sum", {}), ("Sub", ["a", "b"], "difference", {})],
        {"a": (fp32, pair), "b": (fp32, pair)},
        {"sum": (fp32, pair), "difference": (fp32, pair)},
    )
    write_model(
        folder / "kinds",
        [("Identity", [f"in_{name}"], f"out_{name}", {}) for name in KINDS],
        {f"in_{name}": (kind, ["n", 2]) for name, kind in KINDS.items()},
        {f"out_{name}": (kind, ["n", 2]) for name, kind in KINDS.items()},
    )
    known = {"keys_strings": ["cat", "dog"], "values_int64s": [0, 1], "default_int64": -1, "domain": "ai.onnx.ml"}
    write_model(
        folder / "pets",
        [("Identity", ["name"], "echo", {}), ("LabelEncoder", ["name"], "number", known)],
        {"name": (TensorProto.STRING, ["n", 2])},
        {"echo": (TensorProto.STRING, ["n", 2]), "number": (TensorProto.INT64, ["n", 2])},
    )
    counts = (TensorProto.INT32, ["n", 4])
    write_model(folder / "double", [("Add", ["x", "x"], "y", {})], {"x": counts}, {"y": counts})
    for factor in (1, 2):
        constant = {"value_float": float(factor)}
        write_model(
            folder / "scale" / str(factor),
            [("Constant", [], "factor", constant), ("Mul", ["x", "factor"], "y", {})],
            {"x": (fp32, pair)},
            {"y": (fp32, pair)},
        )
    return folder


KINDS = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
}
"""The type of ONNX for each of the protocol's datatypes but BYTES."""


def write_model(folder: Path, nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
    """DIR/model.onnx of nodes (operator, inputs, output, attributes) between tensors (type, shape)."""
    graph = helper.make_graph(
        [helper.make_node(kind, taken, [given], **attributes) for kind, taken, given, attributes in nodes],
        folder.name,
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.checker.check_model(model)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start containers that end with the test."""
    with ExitStack() as stack:
        yield lambda folder, *options: stack.enter_context(
            container_of(folder, *options, log=tmp_path / "container.log")
        )


@pytest.fixture(scope="session")
def container(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """One container for every test that only asks."""
    with container_of(models, log=tmp_path_factory.mktemp("container") / "container.log") as serving:
        yield serving


@contextmanager
def container_of(folder: Path, *options: str, log: Path) -> Iterator[Container]:
    """`python -m runtime.server` over a folder of models, on free loopback ports."""
    command = [sys.executable, "-m", "runtime.server", "--models", os.fspath(folder), "--port", "0", "--grpc-port", "0"]
    with (
        log.open("wb") as sink,
        subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=sink, cwd=ROOT, text=True) as process,
    ):
        try:
            yield Container(*_addresses(process, log), process.pid)
            process.terminate()
            assert process.wait(60) == 0, log.read_text()
        finally:
            process.kill()


def _addresses(process: subprocess.Popen[str], log: Path) -> tuple[str, str]:
    """Where a container listens, as its one line says."""
    assert process.stdout is not None
    timer = threading.Timer(60, process.kill)
    timer.start()
    try:
        line = process.stdout.readline()
    finally:
        timer.cancel()
    found = re.fullmatch(r"listening on (\S+) and gRPC on (\S+)", line.strip())
    assert found is not None, line + log.read_text()
    return found[1], found[2]


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
