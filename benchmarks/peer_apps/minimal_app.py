"""What a user would write by hand: granian, orjson and one ONNX Runtime session a model; it never batches.

MODELS=DIR granian --interface rsgi minimal_app:app answers the v2 protocol's POST /v2/models/{name}/infer.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
import orjson


def session(model: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(os.environ["THREADS"])
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


SESSIONS = {model.parent.name: session(model) for model in Path(os.environ["MODELS"]).glob("*/model.onnx")}


async def app(scope, protocol):
    name = scope.path.split("/")[3]
    [given] = orjson.loads(await protocol())["inputs"]
    x = np.array(given["data"], np.float32).reshape(given["shape"])
    [y] = SESSIONS[name].run(None, {given["name"]: x})
    output = {"name": "y", "datatype": "FP32", "shape": y.shape, "data": y.ravel()}
    answer = orjson.dumps({"model_name": name, "outputs": [output]}, option=orjson.OPT_SERIALIZE_NUMPY)
    protocol.response_bytes(200, [("content-type", "application/json")], answer)
