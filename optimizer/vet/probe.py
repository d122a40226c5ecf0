"""Runs a model on ordinary and on edge inputs, as it would be served; never outside a sandbox."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import numpy as np

from optimizer.errors import ModelRefused, Reason
from optimizer.vet import rows
from optimizer.vet.caps import Caps, Extents
from optimizer.vet.rows import Array
from runtime.codecs.binary import from_tensor, to_tensor
from runtime.errors import ExecutionFailed, RuntimeFault
from runtime.ort import OrtSession
from runtime.tensor import Tensor

EXTENTS = (8, 1, 32, 224)
"""Tried in turn for free axes but the first: short texts and series, nothing, images of CIFAR's size and ImageNet's."""

DRAWN = {"random": 10, "coded": 2}
"""Kinds of ordinary rows, and what their integers are less than: the codes of a category may be two only."""

EDGES = ("zeros", "ones", "least", "most", "nan", "infinite")

ROWS = 3
BATCH = 8
"""Rows for telling whether they mix: four stay and four change."""

SEED = 0

_NO_MEMORY = ("bad_alloc", "Failed to allocate memory", "bad allocation", "would require more than")
_NO_KERNEL = ("is not a registered function/op", "Could not find an implementation")


def probe(model: bytes, caps: Caps, extents: Extents) -> None:
    """Raise ModelRefused unless the model loads, runs on ordinary rows, and keeps to its promises on them.

    They are: outputs have as many rows as inputs and stay within the caps, the same rows get the same bytes, and no
    row's answer depends on the others'. On edge inputs a model may raise; it may not crash, nor answer too much.
    `extents` are those it will be used with, as far as they are known; a free axis takes them first.
    """
    try:
        # The working directory is empty: there is nothing that a reference to a file could find.
        session = OrtSession(model, os.getcwd(), threads=1, prepack=True, optimised=False)
    except ExecutionFailed as fault:
        raise ModelRefused(_reason(fault, Reason.NOT_LOADABLE), str(fault)[:300]) from None
    tried = Probe(session, caps)
    kind = tried.settle(extents)
    tried.repeat()
    if kind in DRAWN:
        tried.exchange()
    for edge in EDGES:
        tried.attempt(tried.inputs(edge, ROWS), ROWS)
    tried.attempt(tried.inputs("zeros", 0), 0)


class Probe:
    """A loaded model under trial."""

    def __init__(self, session: OrtSession, caps: Caps) -> None:
        self._session = session
        self._caps = caps
        self._generator = np.random.default_rng(SEED)
        self._extents: Extents = {}
        self._settled: Mapping[str, Array] = {}
        """Rows that it runs on."""
        self._fault = ""
        """Why the last attempt failed."""

    def settle(self, known: Extents) -> str:
        """The first kind of input that three rows run on, at the first extents that will do; raises ModelRefused."""
        for kind in (*DRAWN, "ones", "zeros"):
            for extents in self._candidates(known):
                self._extents = extents
                self._settled = self.inputs(kind, ROWS)
                if self.attempt(self._settled, ROWS) is not None:
                    return kind
        raise ModelRefused(Reason.NEVER_RUNS, f"it runs neither on random numbers, ones nor zeros: {self._fault}")

    def repeat(self) -> None:
        """Refuse a model that answers the same rows with other bytes."""
        first, second = self._must(self._settled, ROWS), self._must(self._settled, ROWS)
        for name, array in first.items():
            if not rows.equal(array, second[name]):
                raise ModelRefused(Reason.NONDETERMINISTIC, f"output {name[:80]!r} differs from run to run")

    def exchange(self) -> None:
        """Refuse a model whose answer to a row changes when every other row does, or when it comes alone.

        One kind of drawn rows that it runs on will do: of integers, it may take fewer than are drawn first.
        """
        if not any(self._exchanged(kind) for kind in DRAWN):
            raise ModelRefused(Reason.NEVER_RUNS, f"it fails on some batches of ordinary rows: {self._fault}")

    def _exchanged(self, kind: str) -> bool:
        """Whether it runs on these rows, which do not mix then; raises ModelRefused where they do."""
        one, other = (self.inputs(kind, BATCH) for _ in range(2))
        for name, array in other.items():
            array[1::2] = one[name][1::2]
        alone = {name: array[1:2] for name, array in one.items()}
        answers, others, single = self.attempt(one, BATCH), self.attempt(other, BATCH), self.attempt(alone, 1)
        if answers is None or others is None or single is None:
            return False
        for name, array in answers.items():
            kept = rows.agree(array[1::2], others[name][1::2])
            if not kept or not rows.agree(array[1:2], single[name]):
                raise ModelRefused(Reason.MIXES_ROWS, f"a row's {name[:80]!r} depends on the rows beside it")
        return True

    def inputs(self, kind: str, count: int) -> dict[str, Array]:
        """`count` rows of one kind for every input."""
        made = {}
        for name, (datatype, _) in self._session.inputs.items():
            full = (count, *self._extents[name])
            made[name] = (
                rows.random(datatype, full, self._generator, DRAWN[kind])
                if kind in DRAWN
                else rows.constant(datatype, full, kind)
            )
        return made

    def attempt(self, inputs: Mapping[str, Array], count: int) -> dict[str, Array] | None:
        """The outputs, checked, or None where the model raises; raises ModelRefused when memory is what it lacks."""
        try:
            outputs = self._session.run({name: to_tensor(name, array) for name, array in inputs.items()})
        except ExecutionFailed as fault:
            if _reason(fault, Reason.NEVER_RUNS) is Reason.OUT_OF_MEMORY:
                raise ModelRefused(Reason.OUT_OF_MEMORY, str(fault)[:300]) from None
            self._fault = str(fault)[:300]
            return None
        for name, tensor in outputs.items():
            self._check(name, tensor, count)
        try:
            return {name: from_tensor(name, tensor) for name, tensor in outputs.items()}
        except RuntimeFault as fault:
            raise ModelRefused(Reason.UNSERVED_TYPE, str(fault)[:300]) from None

    def _must(self, inputs: Mapping[str, Array], count: int) -> dict[str, Array]:
        outputs = self.attempt(inputs, count)
        if outputs is None:
            raise ModelRefused(Reason.NEVER_RUNS, f"it fails on some batches of ordinary rows: {self._fault}")
        return outputs

    def _check(self, name: str, tensor: Tensor, count: int) -> None:
        label, size = name[:80], memoryview(tensor.data).nbytes
        if size > self._caps.row_bytes * max(count, 1):
            raise ModelRefused(
                Reason.OUTPUT_TOO_LARGE,
                f"{count} rows make {size} bytes of {label!r}: a row may {self._caps.row_bytes}",
            )
        # Whatever comes of no rows is served to nobody.
        if count and (not tensor.shape or tensor.shape[0] != count):
            raise ModelRefused(
                Reason.NO_BATCH_AXIS, f"output {label!r} is of extents {list(tensor.shape)} for {count} rows"
            )

    def _candidates(self, known: Extents) -> Iterator[Extents]:
        """Extents to try in turn, without repetition where no axis is free."""
        shapes = {name: shape[1:] for name, (_, shape) in self._session.inputs.items()}
        wanted = [{name: known.get(name, ()) for name in shapes}] if known else []
        wanted += [{name: (extent,) * len(shape) for name, shape in shapes.items()} for extent in EXTENTS]
        seen: list[Extents] = []
        for sizes in wanted:
            tried = {name: _filled(shape, sizes[name]) for name, shape in shapes.items()}
            if tried not in seen:
                seen.append(tried)
                yield tried


def _filled(shape: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[int, ...]:
    """A shape with its free axes taken from `sizes`, where that is as long."""
    fitting = sizes if len(sizes) == len(shape) else (EXTENTS[0],) * len(shape)
    return tuple(size if axis < 0 else axis for axis, size in zip(shape, fitting, strict=True))


def _reason(fault: ExecutionFailed, otherwise: Reason) -> Reason:
    """What a message of ONNX Runtime's means; its codes do not tell these apart."""
    text = str(fault)
    if any(mark in text for mark in _NO_MEMORY):
        return Reason.OUT_OF_MEMORY
    return Reason.UNKNOWN_OPERATOR if any(mark in text for mark in _NO_KERNEL) else otherwise
