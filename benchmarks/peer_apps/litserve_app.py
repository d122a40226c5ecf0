"""The model behind LitServe's batching: POST /infer {"x": row} gives {"y": row}; MODEL and PORT say which and where."""

from __future__ import annotations

import os

import litserve as ls
import numpy as np
import onnxruntime as ort

# Its documentation: on a CPU as many workers as cores, as many HTTP servers as workers, the fast queue from hundreds
# of requests per second on. Its batches wait for the whole timeout, so that a long one costs a lone client; without
# one its workers spin.
WORKERS = 2
MAX_BATCH_SIZE = 64
BATCH_TIMEOUT_S = 0.001


class OnnxApi(ls.LitAPI):
    def setup(self, device: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])

    def decode_request(self, request: dict) -> np.ndarray:
        return np.array(request["x"], np.float32)

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        return np.stack(inputs)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.session.run(None, {"x": x})[0]

    def unbatch(self, output: np.ndarray) -> list[np.ndarray]:
        return list(output)

    def encode_response(self, output: np.ndarray) -> dict:
        return {"y": output.tolist()}


if __name__ == "__main__":
    api = OnnxApi(max_batch_size=MAX_BATCH_SIZE, batch_timeout=BATCH_TIMEOUT_S, api_path="/infer")
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=WORKERS, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        num_api_servers=WORKERS,
        log_level="warning",
        generate_client_file=False,
    )
