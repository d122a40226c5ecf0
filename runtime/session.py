"""One variant, loaded: an ONNX Runtime session over digest-checked bytes; never chooses what is loaded, or when."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from registry.artifacts import read_manifest
from registry.blobs import Blobs
from registry.errors import InvalidSignature, RegistryError, Unavailable
from registry.threads import begin
from registry.typed import TYPE_CHECKING, Any
from runtime import ort
from runtime.errors import CorruptArtifact, Unreadable, Unsigned
from runtime.memory import private_mb
from runtime.ort import OrtSession, use_global_pool
from runtime.tensor import SIZES, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Session", "use_global_pool"]


class Session:
    """A loaded variant; several threads may run it at once."""

    def __init__(self, session: OrtSession, *, digest: str, threads: int, prepack: bool, private_mb: float) -> None:
        self.digest = digest
        self.private_mb = private_mb
        """What the process grew by while ONNX Runtime made it: neither the library itself nor mapped weights."""
        self.threads = threads
        self.prepack = prepack
        self._session = session

    @classmethod
    def open(cls, blobs: Blobs, digest: str, *, threads: int, prepack: bool) -> Session:
        """The artifact of this digest, ready to run on `threads` threads (those of the global pool, if there is one).

        Blobs that are not here are fetched at once. Every blob's bytes are hashed: the manifest, the graph, and each
        tensor's file, which ONNX Runtime then maps rather than reads. Hashing is most of a large artifact's load, so it
        is shared among `threads` threads, and the library starts meanwhile. With `prepack`, ONNX Runtime re-lays
        weights out in private memory. Raises CorruptArtifact when bytes are missing or not what their digest says,
        Unreadable when the storage does not give them, ExecutionFailed when ONNX Runtime refuses the graph.
        """
        graph, optimised = _checked(blobs, digest, threads)
        before = private_mb()
        session = OrtSession(graph, blobs.folder, threads=threads, prepack=prepack, optimised=optimised)
        return cls(session, digest=digest, threads=threads, prepack=prepack, private_mb=max(0.0, private_mb() - before))

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """All outputs by name, read-only, for inputs that were checked against the task's signature before.

        BYTES tensors are object arrays of `bytes` on both sides. Raises ExecutionFailed with ONNX Runtime's reason.
        """
        from runtime.codecs.binary import from_tensor, to_tensor  # noqa: PLC0415 - a worker does without numpy

        outputs = self._session.run({name: to_tensor(name, array) for name, array in inputs.items()})
        return {name: from_tensor(name, tensor) for name, tensor in outputs.items()}

    def run_tensors(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What `run` does, on tensors as they travel, without numpy."""
        return self._session.run(inputs)

    def rehearse(self) -> None:
        """Run once on one row of zeros, so that the first caller does not pay for first touches.

        Raises ExecutionFailed when the variant cannot run on such inputs.
        """
        self._session.run({name: _zeros(datatype, shape) for name, (datatype, shape) in self._session.inputs.items()})

    def close(self) -> None:
        """Free its memory now; nobody may be running it."""
        self._session.close()


def open_artifact(
    blobs: Blobs, digest: str, *, threads: int, prepack: bool, providers: Sequence[str] = ("CPU",)
) -> OrtSession:
    """What `Session.open` wraps, on other execution providers too; raises as it does, or NoProvider."""
    graph, optimised = _checked(blobs, digest, threads)
    return OrtSession(graph, blobs.folder, threads=threads, prepack=prepack, optimised=optimised, providers=providers)


def _checked(blobs: Blobs, digest: str, threads: int) -> tuple[bytes, bool]:
    """An artifact's graph and whether it is optimised, once all its bytes are checked."""
    with reading(digest):
        manifest = read_manifest(blobs, digest)
        arrived = blobs.fetch({manifest.graph: 0, **{tensor.digest: tensor.nbytes for tensor in manifest.tensors}})
        if arrived is not None:
            ort.start()
            arrived()
        graph = blobs.get(manifest.graph)
        _verify(blobs, manifest.digests[1:], threads)
    return graph, manifest.optimised


@contextmanager
def reading(digest: str) -> Iterator[None]:
    """Turn what a blob store raises while an artifact is read into CorruptArtifact, or Unreadable for an outage.

    InvalidSignature becomes Unsigned.
    """
    try:
        yield
    except Unavailable as fault:
        raise Unreadable(f"artifact {digest} cannot be read now: {fault}") from fault
    except InvalidSignature as fault:
        raise Unsigned(str(fault)) from fault
    except RegistryError as fault:
        raise CorruptArtifact(f"artifact {digest}: {fault}") from fault


def _verify(blobs: Blobs, digests: Sequence[str], threads: int) -> None:
    """Check the bytes of every digest on so many threads; raises what the first failure raised."""
    finish = begin(blobs.check, digests, min(threads, len(digests)) - 1)
    ort.start()
    finish()


def _zeros(datatype: str, shape: tuple[int, ...]) -> Tensor:
    extents = tuple(extent if extent > 0 else 1 for extent in shape)
    # A BYTES element of length zero is four zero bytes.
    return Tensor(datatype, extents, bytes(math.prod(extents) * (SIZES[datatype] or 4)))
