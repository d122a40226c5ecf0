"""What an environment does before its first answer, phase by phase; it changes nothing of what it measures.

Cold: a fresh interpreter does what Lambda's runtime client and the function do, one statement after another, and says
when each was done. `interpreter` counts from before the process was made; `runtime client` is AWS's; the rest is the
function's. Its path has packages with bytecode, as the artefact has. What the function says of a store or a bucket
that is not here is left out; a bucket's GETs are answered by a server on this machine after GET_MS.

Restored: the worker in a copy of a snapshot that holds the variant (`copy`, `first run`), and what a restored worker
does for a variant that the snapshot does not hold, in a process that rehearsed the SDK as the hook before the snapshot
does.

The model is 100 MB of weights in 25 tensors, the catalogue one of 1,000 placements. `share` is of the function's whole.
The CPU is a whole core: on Lambda, a function of 512 MB has 0.29 of one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import uvloop

from benchmarks.coldstart import settled
from benchmarks.harness import Row, interval, run
from benchmarks.lambda_call import http_event
from benchmarks.models import dense
from benchmarks.synthetic import catalogue
from gateway.backends.process import ProcessBackend, worker_spec
from gateway.backends.protocol import Invocation
from gateway.environments.spec import environ_of, import_roots
from optimizer.artifact import make_artifact
from registry.blobs.files import Files
from registry.model import Accuracy, Placement, Recipe, StartMode, Tier, Variant
from registry.prices import local_tiers
from registry.stores.snapshots import pack

WIDTH, DEPTH = 1024, 25
"""Of a chain of dense layers: 100 MB of weights."""

SMALL = 128
"""The width of what comes from the bucket: as many blobs, and little to carry."""

MEMORY_MB = 1769
"""One vCPU."""

GET_MS = 30.0
"""Until a GET's first byte: within what S3 takes (its performance guidelines: 100 to 200 ms at worst)."""

PLACEMENTS = 1000

Phase = tuple[str, str]
"""A name and the statements that it times."""

START: tuple[Phase, ...] = (
    ("interpreter", ""),
    ("runtime client", "import awslambdaric.bootstrap"),
)

WORKER: tuple[Phase, ...] = (
    ("import ctypes", "import ctypes"),
    ("import json", "import json"),
    ("import blake3", "import blake3"),
    ("import ours", "import runtime.worker, registry.blobs.files"),
    (
        "settings",
        "import functions.worker.app as app; from runtime import ort; from runtime.session import Session; "
        "from runtime.tensor import Tensor; from registry import artifacts",
    ),
)

LOADED: tuple[Phase, ...] = (
    ("library", "ort.start()"),
    ("manifest", "blobs = app.worker._blobs; manifest = artifacts.read_manifest(blobs, DIGEST)"),
    ("graph", "graph = blobs.get(manifest.graph)"),
    ("hash weights", "[blobs.check(digest) for digest in manifest.digests[1:]]"),
    ("session", "session = ort.OrtSession(graph, blobs.folder, threads=1, prepack=False)"),
    ("first run", f"session.run({{'x': Tensor('FP32', (1, {WIDTH}), bytes({WIDTH * 4}))}})"),
)

BUCKET: tuple[Phase, ...] = (
    ("import botocore", "import botocore.session"),
    ("store", "from registry.blobs.s3 import S3Blobs; blobs = S3Blobs('bucket', CACHE)"),
    ("client", "blobs._client"),
    ("blobs", "manifest = artifacts.read_manifest(blobs, DIGEST); blobs.fetch(dict.fromkeys(manifest.digests, 0))()"),
    ("session", "session = Session.open(blobs, DIGEST, threads=1, prepack=False)"),
)

SDK: tuple[Phase, ...] = (
    ("import botocore", "import botocore.session"),
    ("client", "from registry.aws import make_client; make_client('dynamodb')"),
)

SCHEDULER: tuple[Phase, ...] = (
    ("import numpy", "import numpy"),
    ("import registry", "import registry.model, registry.catalogue, registry.generations"),
    ("import scheduler", "import scheduler.choose, scheduler.fleet"),
    ("import ours", "import functions.aws.catalogue, functions.aws.settings, gateway.documents"),
    ("settings", "import functions.scheduler.app as app"),
    *SDK,
    (
        "catalogue",
        "from registry.stores.snapshots import unpack; facts = unpack(CATALOGUE); app.snapshots.replace(facts)",
    ),
    ("first decision", "app.answer({'task': 'synthetic'}, facts, 0.0)"),
)

API: tuple[Phase, ...] = (
    ("import asyncio", "import asyncio"),
    ("import numpy", "import numpy"),
    ("import pydantic", "import pydantic"),
    ("import powertools", "import aws_lambda_powertools.event_handler.openapi.params, aws_lambda_powertools"),
    ("import registry", "import registry.model, registry.catalogue, registry.generations"),
    ("import scheduler", "import scheduler.choose, scheduler.fleet"),
    ("import schemas", "import gateway.schemas"),
    ("import ours", "import functions.api.routes, functions.aws.backends"),
    ("settings, routes", "import functions.api.app as app"),
    *SDK,
    ("client of lambda", "from gateway.backends.lambda_ import _botocore_client; _botocore_client(8)"),
    ("catalogue", "from registry.stores.snapshots import unpack; app.service.snapshots.replace(unpack(CATALOGUE))"),
    ("first decision", "app.watch._asked = float('inf'); assert app.handler(EVENT, CONTEXT)['statusCode'] == 200"),
)

EVENT = http_event("POST", "/v1/tasks/synthetic/plan", {}, "arn:aws:iam::123456789012:user/benchmark")

CONTEXT = """
class Context:
    function_name, memory_limit_in_mb, invoked_function_arn, aws_request_id = "api", 512, "arn", "1"
    def get_remaining_time_in_millis(self): return 29000
CONTEXT = Context()
"""


@dataclass(frozen=True, slots=True)
class Start:
    """One function's way to its first answer."""

    function: str
    start: str
    phases: tuple[Phase, ...]
    environ: Mapping[str, str]
    names: str
    """Statements that name what the phases use; not a phase."""
    timed_from_spawn: bool = True
    samples: dict[str, list[float]] = field(default_factory=dict)
    """Milliseconds, by phase."""

    def sample(self) -> None:
        """Run the phases in a process of their own."""
        lines = ["import time as _time", self.names, "_done = [_time.monotonic()]"]
        for _, statements in self.phases:
            lines += [statements, "_done.append(_time.monotonic())"]
        program = "\n".join([*lines, "print(_done)"])
        began = time.monotonic()
        command = [sys.executable, "-S", "-s", "-P", "-c", program]
        done = subprocess.run(command, env=dict(self.environ), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        times = json.loads(done.stdout.splitlines()[-1])
        if self.timed_from_spawn:
            times[0] = began
        for (name, _), start, end in zip(self.phases, times, times[1:], strict=False):
            self.samples.setdefault(name, []).append((end - start) * 1e3)


def rows(quick: bool) -> list[Row]:
    """One row per phase, and the whole, of each function."""
    repeats = 5 if quick else 15
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faststart-")))
        blobs = Files(folder / "blobs")
        digest = make_artifact(dense(WIDTH, DEPTH), blobs)
        starts = _starts(folder, blobs, stack.enter_context(_bucket(blobs)))
        for start in starts:
            start.sample()  # writes bytecode, warms the page cache
            start.samples.clear()
        for turn in range(repeats):
            for start in starts if turn % 2 == 0 else starts[::-1]:
                start.sample()
            print(f"  {turn + 1} of {repeats}", file=sys.stderr)
        restored: dict[str, list[float]] = uvloop.run(_restored(blobs, digest, repeats))
    table = [row for start in starts for row in _rows(start.function, start.start, start.samples)]
    return [*table, *_rows("worker", "restored", restored)]


def _rows(function: str, start: str, samples: Mapping[str, Sequence[float]]) -> Iterator[Row]:
    whole = [sum(parts) for parts in zip(*samples.values(), strict=True)]
    median = interval(whole)[0]
    for phase, taken in {**samples, "whole": whole}.items():
        ms, low, high = interval(taken)
        yield {
            "function": function,
            "start": start,
            "phase": phase,
            "ms": ms,
            "low_ms": low,
            "high_ms": high,
            "share": ms / median,
            "repeats": len(taken),
        }


# ---------------------------------------------------------------------- what is started


def _starts(folder: Path, blobs: Files, endpoint: str) -> list[Start]:
    packed = folder / "catalogue"
    packed.write_bytes(pack(catalogue(PLACEMENTS).at(1)))
    facts = f"CATALOGUE = open({str(packed)!r}, 'rb').read()"
    large, small = (make_artifact(dense(width, DEPTH), blobs) for width in (WIDTH, SMALL))
    worker, deciding = _worker_environ(blobs, endpoint), _deciding_environ()
    bucket = f"import os; CACHE = {str(folder)!r} + f'/{{os.getpid()}}'; DIGEST = {small!r}"
    rehearsed = "; ".join(statements for _, statements in (*WORKER, *BUCKET[:2]))
    return [
        Start("worker", "cold", (*START, *WORKER, *LOADED), worker, names=f"DIGEST = {large!r}"),
        Start("worker on S3", "cold", (*START, *WORKER, *BUCKET), worker, names=bucket),
        Start(
            "worker on S3",
            "restored",
            (("hook", "blobs.renew()"), *BUCKET[2:]),
            worker,
            names=f"{bucket}; {rehearsed}; blobs.rehearse(); ort.start()",
            timed_from_spawn=False,
        ),
        Start("scheduler", "cold", (*START, *SCHEDULER), deciding, names=facts),
        Start("api", "cold", (*START, *API), deciding, names=f"{facts}\nEVENT = {EVENT!r}\n{CONTEXT}"),
    ]


def _worker_environ(blobs: Files, endpoint: str) -> dict[str, str]:
    (tier,) = _tiers(StartMode.ONDEMAND)
    environ = environ_of(worker_spec(tier, blobs.root), "127.0.0.1:1", "stream")
    return {**environ, "AWS_ENDPOINT_URL_S3": endpoint, "AWS_ACCESS_KEY_ID": "-", "AWS_SECRET_ACCESS_KEY": "-"}


def _deciding_environ() -> dict[str, str]:
    """What the template gives the api and the scheduler function."""
    path = import_roots("functions", "numpy", "aws_lambda_powertools", "awslambdaric")
    return {
        "PATH": os.defpath,
        "PYTHONPATH": ":".join(path),
        "OPENBLAS_NUM_THREADS": "1",
        "TABLE_NAME": "facts",
        "WORKERS": '{"lambda-1769-snapstart": "arn"}',
        "TENANT_CLAIM": "sub",
        "WARM_BUDGET_USD_PER_HOUR": "0",
        "POWERTOOLS_SERVICE_NAME": "api",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "-",
        "AWS_SECRET_ACCESS_KEY": "-",
    }


def _tiers(mode: StartMode) -> list[Tier]:
    return [tier for tier in local_tiers() if tier.memory_mb == MEMORY_MB and tier.start_mode is mode]


# ---------------------------------------------------------------------- a bucket


@contextmanager
def _bucket(blobs: Files) -> Iterator[str]:
    """The URL of what answers S3's GETs of these blobs, in any bucket, each after GET_MS."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            data = (blobs.root / self.path.partition("/blobs/")[2]).read_bytes()
            time.sleep(GET_MS / 1e3)
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's own name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


# ---------------------------------------------------------------------- copies of a snapshot


async def _restored(blobs: Files, digest: str, repeats: int) -> dict[str, list[float]]:
    """Milliseconds until a copy takes work, and of its first answer."""
    (tier,) = _tiers(StartMode.SNAPSTART)
    variant = Variant("bench", "dense", digest, Recipe("bench"), Accuracy(0.5, 0.4, 0.6, 100, "wilson"))
    placement = Placement(variant.id, tier.name, threads=1, prepack=False)
    row = np.ones((1, WIDTH), np.float32)
    samples: dict[str, list[float]] = {"copy": [], "first answer": []}
    backend = ProcessBackend(tier, emit=lambda event: None, blobs_root=blobs.root, preload=[(placement, variant)])
    try:
        await backend.prepare()
        for _ in range(repeats):
            began = time.perf_counter()
            reply = await backend.invoke(Invocation("1", placement, variant, {"x": row}, time.monotonic() + 60))
            took = (time.perf_counter() - began) * 1e3
            assert reply.cold, "an environment was left over"
            samples["copy"].append(reply.init_ms)
            samples["first answer"].append(took - reply.init_ms)
            await settled(backend.pool)
    finally:
        await backend.close()
    return samples


if __name__ == "__main__":
    raise SystemExit(run("faststart", rows))
