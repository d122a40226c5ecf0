"""The model in Triton by way of PyTriton, with Triton's dynamic batching; MODEL and PORT say which and where."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

MODEL = Path(os.environ["MODEL"])
PORT, GRPC_PORT, METRICS_PORT = (int(port) for port in os.environ["PORTS"].split(","))

options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
[given], [wanted] = session.get_inputs(), session.get_outputs()


@batch
def infer(x: np.ndarray) -> list[np.ndarray]:
    return session.run(None, {"x": x})


if __name__ == "__main__":
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=PORT,
        grpc_address="127.0.0.1",
        grpc_port=GRPC_PORT,
        metrics_port=METRICS_PORT,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name=MODEL.parent.name,
            infer_func=infer,
            inputs=[Tensor(name="x", dtype=np.float32, shape=given.shape[1:])],
            outputs=[Tensor(name="y", dtype=np.float32, shape=wanted.shape[1:])],
            # Triton's documentation starts from no queue delay: batches form while one runs.
            config=ModelConfig(max_batch_size=64, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
        )
        triton.serve()
