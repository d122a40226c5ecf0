"""The servers that are compared: what each is installed from, started with and asked; it starts nothing itself.

Every peer batches, with the settings that its own documentation gives for throughput. Where that leaves a choice, each
stands here as a server of its own, and the comparison finds the quickest.
"""

from __future__ import annotations

import json
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from simulator.arrivals import Floats

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
    """One server of the comparison, with one choice of settings."""

    name: str
    requirements: tuple[str, ...]
    """What its environment is installed from; nothing for a server that runs in this project's own."""
    command: Callable[[Launch, Mapping[str, str]], list[str]]
    """The command that starts it with its settings; may write files into the launch's folder."""
    dialect: Dialect
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of the product's own."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What is chosen here; an app finds it in environment variables of these names in capitals."""

    @property
    def note(self) -> str:
        """The settings, for a reader."""
        return ", ".join(f"{name} {value}" for name, value in self.settings.items())


def variables(server: Server, launch: Launch) -> dict[str, str]:
    """The environment variables that tell an app what to serve, where and how."""
    return {
        **server.environment,
        **{name.upper(): value for name, value in server.settings.items()},
        "MODELS": str(launch.models),
        "MODEL": str(launch.file),
        "PORT": str(launch.ports[0]),
        "PORTS": ",".join(map(str, launch.ports)),
        "TMPDIR": str(launch.folder),
        "PYTHONPATH": str(APPS),
    }


def _modelless(launch: Launch, settings: Mapping[str, str]) -> list[str]:
    where = ["--models", str(launch.models), "--port", str(launch.ports[0])]
    return [f"{launch.programs}/modelless", "container", "up", *where, "--json"]


def _minimal(launch: Launch, settings: Mapping[str, str]) -> list[str]:
    options = "--interface rsgi --loop uvloop --workers 1 --no-ws --log-level error --host 127.0.0.1 --port"
    return [f"{launch.programs}/granian", *options.split(), str(launch.ports[0]), "minimal_app:app"]


def _mlserver(launch: Launch, settings: Mapping[str, str]) -> list[str]:
    port, grpc_port, metrics_port = launch.ports
    server = {
        "debug": False,
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": grpc_port,
        "metrics_port": metrics_port,
        "parallel_workers": int(settings["parallel_workers"]),
    }
    model = {
        "name": launch.model,
        "implementation": "mlserver_app.OnnxModel",
        "max_batch_size": 64,
        "max_batch_time": float(settings["max_batch_time"]),
        "parameters": {"uri": str(launch.file)},
    }
    (launch.folder / "settings.json").write_text(json.dumps(server))
    (launch.folder / "model-settings.json").write_text(json.dumps(model))
    return [f"{launch.programs}/mlserver", "start", str(launch.folder)]


def _bentoml(launch: Launch, settings: Mapping[str, str]) -> list[str]:
    where = ["--working-dir", str(APPS), "--host", "127.0.0.1", "--port", str(launch.ports[0])]
    return [f"{launch.programs}/bentoml", "serve", "bentoml_app:Onnx", *where]


def _app(name: str) -> Callable[[Launch, Mapping[str, str]], list[str]]:
    return lambda launch, settings: [f"{launch.programs}/python", str(APPS / f"{name}_app.py")]


def _choices(server: Server, *names: str, of: Sequence[Sequence[str]]) -> tuple[Server, ...]:
    """`server` once for each of the values `of` the settings `names`, the documented or usual choice first."""
    return tuple(replace(server, settings=dict(zip(names, one, strict=True))) for one in of)


SERVERS = (
    Server(OURS, (), _modelless, V2),
    *_choices(
        Server(MINIMAL, ("granian==2.8.7", "uvloop==0.23.0", "orjson==3.13.0", RUNTIME), _minimal, V2),
        "threads",
        of=[("1",), ("2",)],
    ),
    # Its documentation: values of batching are found by trying; workers pay where inference holds the loop up. They do
    # not start with an uvloop of after its time.
    *_choices(
        Server("mlserver", ("mlserver==1.7.1", "uvloop==0.21.0", RUNTIME), _mlserver, V2),
        *("parallel_workers", "max_batch_time", "threads"),
        of=[("0", "0.001", "1"), ("0", "0.005", "1"), ("0", "0.005", "2"), ("1", "0.001", "1"), ("1", "0.005", "1")],
    ),
    # Its documentation: on a CPU as many workers as cores, and as many HTTP servers as workers. Its batches wait for
    # the whole timeout; without one its workers spin.
    *_choices(
        Server("litserve", ("litserve==0.2.19", RUNTIME), _app("litserve"), ROW),
        *("workers", "api_servers", "batch_timeout", "threads"),
        of=[("2", "2", "0.001", "1"), ("1", "2", "0.001", "1"), ("1", "2", "0.005", "1"), ("1", "1", "0.005", "2")],
    ),
    # Its batches adapt by themselves.
    *_choices(
        Server("bentoml", ("bentoml==1.4.40", RUNTIME), _bentoml, ROWS, {"BENTOML_DO_NOT_TRACK": "True"}),
        *("workers", "threads"),
        of=[("1", "1"), ("1", "2"), ("2", "1")],
    ),
    # Its documentation: both variables for throughput, the first of which puts HAProxy in the place of a Python proxy.
    *_choices(
        Server(
            "ray",
            ("ray[serve]==2.60.0", RUNTIME),
            _app("ray"),
            ROW,
            {
                "RAY_SERVE_ENABLE_HA_PROXY": "1",
                "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
                "RAY_USAGE_STATS_ENABLED": "0",
            },
        ),
        *("replicas", "batch_wait_timeout", "threads"),
        of=[("1", "0.001", "1"), ("1", "0.005", "1"), ("2", "0.001", "1")],
    ),
    # Its documentation: start without a queue delay, for batches form while one runs, and try more instances.
    *_choices(
        Server(
            "triton",
            ("nvidia-pytriton==0.7.0", RUNTIME),
            _app("pytriton"),
            V2,
            # Triton's Python backend finds no libpython outside the system's folders by itself.
            {"LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))},
        ),
        *("instances", "queue_delay_us", "threads"),
        of=[("1", "0", "1"), ("2", "0", "1"), ("1", "0", "2"), ("1", "500", "1")],
    ),
)
"""Every choice of settings; the comparison tries all of a server's with each model and keeps the quickest."""


def own_programs() -> Path:
    """The folder of this environment's programs."""
    return Path(sys.executable).parent
