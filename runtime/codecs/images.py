"""PNG and JPEG images to tensors; never resizes, crops or normalises beyond the datatype's own range.

An image is `{"image_b64": <base64 of the file>}`; one of them is a batch of one, a list of them a batch. The tensor
is (N, H, W), (N, H, W, C) or (N, C, H, W) with C of 1, 3 or 4: grey, RGB or RGBA. UINT8 holds 0 to 255, FP32 the
same divided by 255.
"""

from __future__ import annotations

import binascii
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.model import TensorSpec
from runtime.errors import InvalidTensor
from runtime.tensor import MAX_ELEMENTS

MAX_PIXELS = 1 << 24
"""Most pixels of one image, checked from its header: a small file can promise gigabytes."""

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_KEY = "image_b64"


def holds_images(value: Any) -> bool:
    """Whether a JSON value is an image, or a list that begins with one."""
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, dict) and _KEY in first


def decode_images(spec: TensorSpec, value: Any) -> NDArray[Any]:
    """The batch of one image or a list of them, in the layout that the signature has; raises InvalidTensor."""
    documents = value if isinstance(value, list) else [value]
    layout = _layout(spec)
    budget = MAX_ELEMENTS // layout.channels
    arrays: list[NDArray[Any]] = []
    for i, document in enumerate(documents):
        pixels = _decode(spec.name, i, document, layout, min(budget, MAX_PIXELS))
        budget -= pixels.shape[0] * pixels.shape[1]
        if arrays and pixels.shape != arrays[0].shape:
            raise InvalidTensor(spec.name, f"image {i} is {_size(pixels)}", f"{_size(arrays[0])}, as the first one is")
        arrays.append(pixels)
    batch = np.stack(arrays)
    if len(spec.shape) == 4:
        batch = batch.reshape(*batch.shape[:3], layout.channels)
        if layout.channels_first:
            batch = np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
    return batch if spec.datatype == "UINT8" else batch.astype(np.float32) / np.float32(255)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a tensor holds an image; an extent of -1 is any."""

    height: int
    width: int
    channels: int = 1
    channels_first: bool = False


def _layout(spec: TensorSpec) -> _Layout:
    if spec.datatype in ("UINT8", "FP32"):
        match spec.shape:
            case (_, height, width):
                return _Layout(height, width)
            case (_, height, width, channels) if channels in _MODES:
                return _Layout(height, width, channels)
            case (_, channels, height, width) if channels in _MODES:
                return _Layout(height, width, channels, channels_first=True)
    raise InvalidTensor(spec.name, "it does not take images", f"{spec.datatype} {list(spec.shape)} as nested lists")


def _decode(name: str, i: int, document: Any, layout: _Layout, max_pixels: int) -> NDArray[Any]:
    from PIL import Image  # noqa: PLC0415 - only callers that send images pay for it

    if not isinstance(document, dict) or set(document) != {_KEY} or not isinstance(document[_KEY], str):
        raise InvalidTensor(name, f"image {i} is not an image", '{"image_b64": "<base64 of a PNG or JPEG>"}')
    try:
        with Image.open(
            io.BytesIO(binascii.a2b_base64(document[_KEY], strict_mode=True)), formats=("PNG", "JPEG")
        ) as file:
            _check_size(name, i, file.size, layout, max_pixels)
            return np.asarray(file.convert(_MODES[layout.channels]))
    except InvalidTensor:
        raise
    # Pillow reports damaged files by any of these, and promises of too many pixels by the last two.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as fault:
        raise InvalidTensor(name, f"image {i} cannot be decoded ({fault!s:.120})", "a PNG or JPEG file") from None


def _check_size(name: str, i: int, actual: tuple[int, int], layout: _Layout, max_pixels: int) -> None:
    width, height = actual
    if width * height > max_pixels:
        raise InvalidTensor(name, f"image {i} has {width * height} pixels", f"at most {max_pixels}")
    if layout.height not in (-1, height) or layout.width not in (-1, width):
        raise InvalidTensor(
            name, f"image {i} is {width} × {height}", f"{layout.width} × {layout.height} pixels (width × height)"
        )


def _size(pixels: NDArray[Any]) -> str:
    return f"{pixels.shape[1]} × {pixels.shape[0]}"
