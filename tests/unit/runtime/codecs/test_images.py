"""Images to tensors: layouts, ranges, and files that promise too much."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from registry.model import TensorSpec
from runtime.codecs.native_json import decode_inputs
from runtime.errors import InvalidTensor

PIXELS = np.random.default_rng(3).integers(0, 256, (4, 5, 3), dtype=np.uint8)


def encoded(image: Any, form: str = "PNG") -> dict[str, str]:
    """An image as a JSON value."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form)
    return {"image_b64": base64.b64encode(buffer.getvalue()).decode()}


def decode(datatype: str, shape: tuple[int, ...], inputs: Any) -> Any:
    """The one tensor of such inputs."""
    return decode_inputs((TensorSpec("x", datatype, shape),), inputs)["x"]


def test_channels_last_first_and_grey() -> None:
    last = decode("UINT8", (-1, 4, 5, 3), encoded(PIXELS))
    first = decode("UINT8", (-1, 3, 4, 5), encoded(PIXELS))
    grey = decode("UINT8", (-1, 4, 5), encoded(PIXELS[:, :, 0]))

    np.testing.assert_array_equal(last, PIXELS[None])
    np.testing.assert_array_equal(first, PIXELS.transpose(2, 0, 1)[None])
    np.testing.assert_array_equal(grey, PIXELS[None, :, :, 0])
    assert decode("UINT8", (-1, 4, 5, 1), encoded(PIXELS)).shape == (1, 4, 5, 1)
    assert decode("UINT8", (-1, 4, 4, 5), encoded(PIXELS)).shape == (1, 4, 4, 5), "RGBA"


def test_floating_point_is_the_same_from_zero_to_one() -> None:
    x = decode("FP32", (-1, -1, -1, 3), {"x": [encoded(PIXELS), encoded(PIXELS)]})

    assert x.dtype == np.float32
    np.testing.assert_allclose(x, np.stack([PIXELS, PIXELS]) / 255, rtol=1e-6)


def test_jpeg() -> None:
    flat = np.full((8, 8, 3), 200, np.uint8)

    np.testing.assert_allclose(decode("UINT8", (-1, 8, 8, 3), encoded(flat, "JPEG"))[0], flat, atol=2)


def png_of(width: int, height: int) -> dict[str, str]:
    """A PNG whose header promises a size, with next to nothing behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    whole = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )
    return {"image_b64": base64.b64encode(whole).decode()}


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        (encoded(PIXELS[:3]), "image 0 is 5 × 3"),
        ([encoded(PIXELS), {"image_b64": 3}], "image 1 is not an image"),
        ([encoded(PIXELS), {"image_b64": "", "url": "http://x"}], "image 1 is not an image"),
        ([encoded(PIXELS), 3], "image 1 is not an image"),
        ({"image_b64": "!"}, "image 0 cannot be decoded"),
        ({"image_b64": base64.b64encode(b"GIF89a" + bytes(20)).decode()}, "image 0 cannot be decoded"),
        ({"image_b64": encoded(PIXELS)["image_b64"][:80]}, "image 0 cannot be decoded"),
        (encoded(PIXELS, "BMP"), "image 0 cannot be decoded"),
    ],
)
def test_what_is_refused(inputs: Any, problem: str) -> None:
    with pytest.raises(InvalidTensor) as refused:
        decode("UINT8", (-1, 4, 5, 3), inputs)

    assert refused.value.tensor == "x"
    assert refused.value.problem.startswith(problem)


@pytest.mark.parametrize("side", [5000, 12_000, 30_000])
def test_a_bomb_is_refused_by_its_header(side: int) -> None:
    with pytest.raises(InvalidTensor, match="image 0"):
        decode("UINT8", (-1, -1, -1), png_of(side, side))


def test_a_batch_is_capped_as_one() -> None:
    with pytest.raises(InvalidTensor, match="image 1 has 9000000 pixels"):
        decode("UINT8", (-1, -1, -1), [encoded(np.zeros((3000, 3000), np.uint8))] * 2)


def test_images_of_a_batch_are_of_one_size() -> None:
    with pytest.raises(InvalidTensor, match="image 1 is 5 × 3; expected 5 × 4, as the first one is"):
        decode("UINT8", (-1, -1, -1, 3), [encoded(PIXELS), encoded(PIXELS[:3])])
