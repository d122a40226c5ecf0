"""The servers that are compared: what each is installed from, started with and asked; it starts nothing itself.

Every peer batches, with the settings that its own documentation gives for throughput; where that leaves a choice, the
one that was faster at 64 clients on two cores stands here, and `note` says it.
"""

from __future__ import annotations

import json
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arrivals import Floats

APPS = Path(__file__).parent / "peer_apps"

RUNTIME = f"onnxruntime=={version('onnxruntime')}"
"""The same runtime everywhere: what is compared is what stands around it."""

OURS, MINIMAL = "modelless", "minimal"


@dataclass(frozen=True, slots=True)
class Launch:
    """One start of a server with one model, `models`/`model`/model.onnx."""

    programs: Path
    """The folder of the environment's programs, its Python among them."""
    models: Path
    model: str
    folder: Path
    """Empty, for the server's own files; it is gone after the stop."""
    ports: tuple[int, int, int]
    """HTTP, and two that some servers want besides."""

    @property
    def file(self) -> Path:
        return self.models / self.model / "model.onnx"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a server is asked for one row of `x`, and where the row of `y` stands in its answer."""

    path: str
    body: Callable[[Sequence[float]], Any]
    answer: Callable[[Any], Any]

    def request(self, row: Floats) -> bytes:
        """The JSON body that asks for `row`."""
        return json.dumps(self.body(row.tolist())).encode()

    def output(self, answered: bytes) -> Floats:
        """The row that a JSON body answers; raises ValueError, KeyError or TypeError where it is not of this form."""
        return np.asarray(self.answer(json.loads(answered)), dtype=np.float64).ravel()


V2 = Dialect(
    "/v2/models/{model}/infer",
    lambda row: {"inputs": [{"name": "x", "shape": [1, len(row)], "datatype": "FP32", "data": row}]},
    lambda answered: answered["outputs"][0]["data"],
)
ROW = Dialect("/infer", lambda row: {"x": row}, lambda answered: answered["y"])
ROWS = Dialect("/infer", lambda row: {"x": [row]}, lambda answered: answered)


@dataclass(frozen=True, slots=True)
class Server:
    """One server of the comparison."""

    name: str
    requirements: tuple[str, ...]
    """What its environment is installed from; nothing for a server that runs in this project's own."""
    command: Callable[[Launch], list[str]]
    """The command that starts it; may write files into the launch's folder."""
    dialect: Dialect
    note: str
    """The settings, in a few words."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that it needs besides those that every app gets (`variables`)."""


def variables(launch: Launch) -> dict[str, str]:
    """The environment variables that tell the apps what to serve and where."""
    return {
        "MODELS": str(launch.models),
        "MODEL": str(launch.file),
        "PORT": str(launch.ports[0]),
        "PORTS": ",".join(map(str, launch.ports)),
        "TMPDIR": str(launch.folder),
        "PYTHONPATH": str(APPS),
    }


def _modelless(launch: Launch) -> list[str]:
    port = str(launch.ports[0])
    return [f"{launch.programs}/modelless", "container", "up", "--models", str(launch.models), "--port", port, "--json"]


def _minimal(launch: Launch) -> list[str]:
    options = "--interface rsgi --loop uvloop --workers 1 --no-ws --log-level error --host 127.0.0.1 --port"
    return [f"{launch.programs}/granian", *options.split(), str(launch.ports[0]), "minimal_app:app"]


def _mlserver(launch: Launch) -> list[str]:
    port, grpc_port, metrics_port = launch.ports
    settings = {
        "debug": False,
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": grpc_port,
        "metrics_port": metrics_port,
        "parallel_workers": 0,
    }
    model = {
        "name": launch.model,
        "implementation": "mlserver_app.OnnxModel",
        "max_batch_size": 64,
        "max_batch_time": 0.001,
        "parameters": {"uri": str(launch.file)},
    }
    (launch.folder / "settings.json").write_text(json.dumps(settings))
    (launch.folder / "model-settings.json").write_text(json.dumps(model))
    return [f"{launch.programs}/mlserver", "start", str(launch.folder)]


def _bentoml(launch: Launch) -> list[str]:
    where = ["--working-dir", str(APPS), "--host", "127.0.0.1", "--port", str(launch.ports[0])]
    return [f"{launch.programs}/bentoml", "serve", "bentoml_app:Onnx", *where]


def _app(name: str) -> Callable[[Launch], list[str]]:
    return lambda launch: [f"{launch.programs}/python", str(APPS / f"{name}_app.py")]


SERVERS = (
    Server(OURS, (), _modelless, V2, "as started by hand"),
    Server(
        MINIMAL,
        ("granian==2.8.7", "uvloop==0.23.0", "orjson==3.13.0", RUNTIME),
        _minimal,
        V2,
        "1 process, 1 thread a session, no batching",
    ),
    Server("mlserver", ("mlserver==1.7.1", RUNTIME), _mlserver, V2, "batches of 64 within 1 ms, parallel_workers 0"),
    Server(
        "litserve",
        ("litserve==0.2.19", RUNTIME),
        _app("litserve"),
        ROW,
        "batches of 64 within 1 ms, 2 workers, 2 HTTP servers, fast_queue",
    ),
    Server(
        "bentoml",
        ("bentoml==1.4.40", RUNTIME),
        _bentoml,
        ROWS,
        "adaptive batches of 64, 1 worker",
        {"BENTOML_DO_NOT_TRACK": "True"},
    ),
    Server(
        "ray",
        ("ray[serve]==2.60.0", RUNTIME),
        _app("ray"),
        ROW,
        "batches of 64 within 1 ms, 1 replica, HAProxy, throughput optimized",
        {
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
        },
    ),
    Server(
        "triton",
        ("nvidia-pytriton==0.7.0", RUNTIME),
        _app("pytriton"),
        V2,
        "PyTriton, dynamic batches of 64 without delay",
        # Triton's Python backend finds no libpython outside the system's folders.
        {"LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))},
    ),
)


def own_programs() -> Path:
    """The folder of this environment's programs."""
    return Path(sys.executable).parent
