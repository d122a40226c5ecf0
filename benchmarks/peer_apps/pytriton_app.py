"""The model in Triton by way of PyTriton, with Triton's dynamic batching; MODEL and PORT say which and where."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

MODEL = Path(os.environ["MODEL"])
PORT, GRPC_PORT, METRICS_PORT = (int(port) for port in os.environ["PORTS"].split(","))


def session() -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(os.environ["THREADS"])
    return ort.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])


def infer_func(instance: ort.InferenceSession) -> Callable:
    @batch
    def infer(x: np.ndarray) -> list[np.ndarray]:
        return instance.run(None, {"x": x})

    return infer


if __name__ == "__main__":
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=PORT,
        grpc_address="127.0.0.1",
        grpc_port=GRPC_PORT,
        metrics_port=METRICS_PORT,
    )
    batcher = DynamicBatcher(max_queue_delay_microseconds=int(os.environ["QUEUE_DELAY_US"]))
    instances = [session() for _ in range(int(os.environ["INSTANCES"]))]
    [given], [wanted] = instances[0].get_inputs(), instances[0].get_outputs()
    with Triton(config=config) as triton:
        triton.bind(
            model_name=MODEL.parent.name,
            infer_func=[infer_func(instance) for instance in instances],
            inputs=[Tensor(name="x", dtype=np.float32, shape=given.shape[1:])],
            outputs=[Tensor(name="y", dtype=np.float32, shape=wanted.shape[1:])],
            config=ModelConfig(max_batch_size=64, batcher=batcher),
        )
        triton.serve()
