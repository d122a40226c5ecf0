"""Clients that know nothing of Modelless get correct answers over the Open Inference Protocol: Triton's, KServe's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import tritonclient.http as triton

from cli.running import Running

KSERVE = "kserve==0.21.0"
"""Needs psutil < 6, pandas and a Kubernetes client: it gets an environment of its own, once."""

Truth = Callable[[str, Any], dict[str, Any]]


@pytest.fixture
def client(platform: Running) -> Any:
    connection = triton.InferenceServerClient(urlsplit(platform.url).netloc)
    yield connection
    connection.close()


def test_triton_sees_a_task_as_a_model(client: Any) -> None:
    metadata = client.get_model_metadata("digits")

    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert not client.is_model_ready("nothing")
    assert metadata["name"] == "digits"
    assert [(i["datatype"], i["shape"]) for i in metadata["inputs"]] == [("FP32", [-1, 64])]


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_triton_gets_correct_answers(client: Any, binary: bool, sample: Any, truth: Truth) -> None:
    metadata = client.get_model_metadata("digits")
    tensor = triton.InferInput(metadata["inputs"][0]["name"], list(sample.rows.shape), "FP32")
    tensor.set_data_from_numpy(sample.rows, binary_data=binary)
    outputs = [triton.InferRequestedOutput(o["name"], binary_data=binary) for o in metadata["outputs"]]
    result = client.infer("digits", [tensor], outputs=outputs, request_id="r-1", parameters={"objective": "accuracy"})
    response = result.get_response()

    assert response["id"] == "r-1"
    expected = truth(response["parameters"]["variant"], sample.rows)
    for output in metadata["outputs"]:
        np.testing.assert_allclose(result.as_numpy(output["name"]), expected[output["name"]], rtol=1e-4, atol=1e-5)
    assert np.mean(result.as_numpy("label") == sample.labels) > 0.9


def test_triton_hints_reach_the_scheduler(client: Any, sample: Any) -> None:
    name = client.get_model_metadata("digits")["inputs"][0]["name"]
    tensor = triton.InferInput(name, [1, 64], "FP32")
    tensor.set_data_from_numpy(sample.rows[:1])

    with pytest.raises(triton.InferenceServerException, match="min_accuracy"):
        client.infer("digits", [tensor], parameters={"min_accuracy": 7})


KSERVE_CLIENT = """
import asyncio, json, sys
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

async def main(url, rows, labels):
    client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=30))
    assert await client.is_server_live(url) and await client.is_server_ready(url)
    assert await client.is_model_ready(url, "digits")
    image = InferInput(name=sys.argv[2], shape=[len(rows), 64], datatype="FP32", data=[v for row in rows for v in row])
    answer = await client.infer(url, InferRequest(model_name="digits", infer_inputs=[image]), model_name="digits")
    print(json.dumps({"variant": answer.parameters["variant"], "outputs": {o.name: o.data for o in answer.outputs}}))

document = json.load(sys.stdin)
asyncio.run(main(sys.argv[1], document["rows"], document["labels"]))
"""


def test_kserve_gets_correct_answers(
    client: Any, platform: Running, sample: Any, truth: Truth, environment: Callable[[str], Path]
) -> None:
    name = client.get_model_metadata("digits")["inputs"][0]["name"]
    given = json.dumps({"rows": sample.rows.tolist(), "labels": sample.labels.tolist()})
    done = subprocess.run(
        [environment(KSERVE) / "bin" / "python", "-c", KSERVE_CLIENT, platform.url, name],
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])

    expected = truth(answer["variant"], sample.rows)
    assert answer["outputs"]["label"] == expected["label"].tolist()
