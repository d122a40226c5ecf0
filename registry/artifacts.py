"""A variant's bytes as one graph and many tensors, each a blob stored once; never parses ONNX itself.

A worker's cold start pays for what this imports, so its values are named tuples rather than dataclasses.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from registry.blobs import Blobs, blob_name
from registry.errors import InvalidValue, NotFound
from registry.typed import Any, NamedTuple

FORMAT = "modelless-artifact-1"


class TensorBlob(NamedTuple):
    """One external initializer: its name in the graph, its blob, its length in bytes."""

    name: str
    digest: str
    nbytes: int


class Manifest(NamedTuple):
    """What an artifact consists of; the digest of its canonical JSON is the artifact's digest."""

    graph: str
    """Digest of an ONNX model whose large initializers are external, at `blob_name(tensor digest)`."""
    tensors: tuple[TensorBlob, ...] = ()
    optimised: bool = True
    """Whether the graph was optimised when the variant was made; if not, it is each time it is loaded."""

    @property
    def digests(self) -> tuple[str, ...]:
        """Every blob the artifact needs, the graph first, each once."""
        return tuple(dict.fromkeys((self.graph, *(t.digest for t in self.tensors))))

    def encode(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces, tensors in order of name; equal manifests have equal bytes."""
        tensors = sorted(self.tensors, key=lambda t: t.name)
        document = {
            "format": FORMAT,
            "graph": self.graph,
            "tensors": [{"name": t.name, "digest": t.digest, "nbytes": t.nbytes} for t in tensors],
            **({} if self.optimised else {"optimised": False}),
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def write_artifact(blobs: Blobs, graph: bytes, tensors: Iterable[TensorBlob] = (), *, optimised: bool = True) -> str:
    """Store a graph beside tensors that are stored already; returns the artifact's digest.

    The manifest goes last, so an artifact that can be read is whole. Raises NotFound for a tensor without a blob.
    """
    listed = tuple(sorted(tensors, key=lambda t: t.name))
    for tensor in listed:
        if not blobs.has(tensor.digest):
            raise NotFound("blob", tensor.digest)
    return blobs.put(Manifest(blobs.put(graph), listed, optimised).encode())


def read_manifest(blobs: Blobs, digest: str) -> Manifest:
    """The manifest of an artifact; raises NotFound, DigestMismatch, or InvalidValue when the blob is no manifest."""
    try:
        document = json.loads(blobs.get(digest))
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']!r}")
        manifest = Manifest(_digest(document["graph"]), tuple(_tensor(t) for t in document["tensors"]), _flag(document))
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidValue(
            f"artifact {digest}", f"is not an artifact manifest ({error})", "register the variant again"
        ) from error
    return manifest


def _tensor(document: dict[str, Any]) -> TensorBlob:
    name, nbytes = document["name"], document["nbytes"]
    if not isinstance(name, str) or not isinstance(nbytes, int) or nbytes < 0:
        raise ValueError(f"tensor {name!r} of {nbytes!r} bytes")
    return TensorBlob(name, _digest(document["digest"]), nbytes)


def _flag(document: dict[str, Any]) -> bool:
    optimised = document.get("optimised", True)
    if not isinstance(optimised, bool):
        raise ValueError(f"optimised {optimised!r}")
    return optimised


def _digest(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"digest {value!r}")
    blob_name(value)
    return value
