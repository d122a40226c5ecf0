"""Models that come as ONNX, vetted before anything here parses them; rewrites no more than vetting does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import load_from_string

from optimizer.errors import ModelRefused, Reason
from optimizer.sources.batch_axis import with_free_axes
from optimizer.vet import vet
from optimizer.vet.zipmaps import make_dense, zipped_classes


def vetted(onnx: bytes, rows: Any = None) -> bytes:
    """The model once it is known to be harmless to read and run here; it may be rewritten.

    Of one whose number of rows is fixed, what is vetted has that axis free: whether it then answers as it did is for
    `infer` to find out. It is tried on extents like those of `rows`, where they are arrays by input. Raises
    ModelRefused and SandboxFailed.
    """
    extents = {name: np.shape(array)[1:] for name, array in rows.items()} if isinstance(rows, Mapping) else {}
    try:
        return vet(onnx, extents=extents)
    except ModelRefused as refused:
        if refused.reason is not Reason.NO_BATCH_AXIS:
            raise
        fixed = refused
    # What is wrong with the rows was found after all that could be wrong with reading it.
    proto = load_from_string(onnx)
    dense = make_dense(proto)
    try:
        vet(with_free_axes(proto), extents=extents)
    except ModelRefused:
        raise fixed from None
    return bytes(proto.SerializeToString(deterministic=True)) if dense else onnx


def class_names(given: bytes, accepted: bytes) -> tuple[str, ...]:
    """The labels, where they are strings, of the ZipMap that vetting took out of a model that it accepted."""
    return () if given == accepted else zipped_classes(load_from_string(given))
