"""The protocol's messages: what is committed is what inference.proto says, and what other clients mean by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc
from tritonclient.grpc import service_pb2

from runtime.container import inference_pb2

SOURCE = Path(inference_pb2.__file__).parent
MESSAGES: dict[str, Any] = dict(inference_pb2.DESCRIPTOR.message_types_by_name)
METHODS: dict[str, Any] = dict(inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name)


def fields(message: Any) -> dict[str, tuple[Any, ...]]:
    """Number and type of each field of a message and of the messages within it, by dotted name."""
    found = {
        field.name: (
            field.number,
            field.type,
            field.is_repeated,
            field.message_type.full_name if field.message_type else None,
            field.containing_oneof.name if field.containing_oneof else None,
        )
        for field in message.fields
    }
    for nested in message.nested_types:
        found |= {f"{nested.name}.{name}": what for name, what in fields(nested).items()}
    return found


def test_what_is_committed_is_what_the_source_says(tmp_path: Path) -> None:
    again = tmp_path / "inference.binpb"
    arguments = [f"-I{SOURCE}", f"--descriptor_set_out={again}", f"--pyi_out={tmp_path}", "inference.proto"]

    assert protoc.main(["protoc", *arguments]) == 0
    committed = (SOURCE / "inference.binpb").read_bytes()
    assert FileDescriptorSet.FromString(again.read_bytes()) == FileDescriptorSet.FromString(committed)
    assert names(tmp_path / "inference_pb2.pyi") == names(SOURCE / "inference_pb2.pyi")


def names(stub: Path) -> list[str]:
    """What a stub declares, whichever protoc wrote its types."""
    lines = (line for line in stub.read_text().splitlines() if ":" in line and "def __init__" not in line)
    return [line.partition(":")[0] for line in lines]


@pytest.mark.parametrize("name", MESSAGES)
def test_every_field_is_the_one_that_triton_means(name: str) -> None:
    theirs = fields(service_pb2.DESCRIPTOR.message_types_by_name[name])

    assert {field: theirs.get(field) for field in fields(MESSAGES[name])} == fields(MESSAGES[name])


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_the_one_that_triton_calls(name: str) -> None:
    theirs = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name[name]
    ours = METHODS[name]

    assert ours.full_name == theirs.full_name
    assert ours.input_type.full_name == theirs.input_type.full_name
    assert ours.output_type.full_name == theirs.output_type.full_name


def test_messages_of_both_live_in_one_process_and_mean_the_same() -> None:
    ours = inference_pb2.ModelInferRequest(model_name="digits", id="1", raw_input_contents=[b"\0" * 8])
    ours.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    ours.parameters["timeout"].int64_param = 5000
    theirs = service_pb2.ModelInferRequest.FromString(ours.SerializeToString())

    assert (theirs.model_name, theirs.id, theirs.parameters["timeout"].int64_param) == ("digits", "1", 5000)
    assert inference_pb2.ModelInferRequest.FromString(theirs.SerializeToString()) == ours
