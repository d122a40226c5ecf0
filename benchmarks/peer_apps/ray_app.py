"""The model behind Ray Serve's batching: POST /infer {"x": row} gives {"y": row}; MODEL and PORT say which, where."""

from __future__ import annotations

import os
import signal
import tempfile

import numpy as np
import onnxruntime as ort
import ray
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=int(os.environ["REPLICAS"]), max_ongoing_requests=256)
class Onnx:
    def __init__(self, model: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(os.environ["THREADS"])
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=float(os.environ["BATCH_WAIT_TIMEOUT"]))
    async def infer(self, rows: list[np.ndarray]) -> list[np.ndarray]:
        return list(self.session.run(None, {"x": np.stack(rows)})[0])

    async def __call__(self, request: Request) -> dict:
        y = await self.infer(np.array((await request.json())["x"], np.float32))
        return {"y": y.tolist()}


if __name__ == "__main__":
    ray.init(
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=tempfile.gettempdir(),
    )
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])})
    serve.run(Onnx.bind(os.environ["MODEL"]), route_prefix="/infer")
    signal.pause()
