"""The messages of inference.proto; never in the process's common pool, where other clients keep theirs.

The common pool takes each full name once, and tritonclient and kserve both register the protocol's there: a module that
protoc generates could not be imported beside either. It would also refuse every protobuf that is a major version away.
inference.proto says how inference.binpb and inference_pb2.pyi are made from it.
"""

from __future__ import annotations

from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

(_FILE,) = FileDescriptorSet.FromString(Path(__file__).with_name("inference.binpb").read_bytes()).file
_POOL = DescriptorPool()
_POOL.Add(_FILE)
DESCRIPTOR = _POOL.FindFileByName(_FILE.name)
globals().update({name: GetMessageClass(message) for name, message in DESCRIPTOR.message_types_by_name.items()})
