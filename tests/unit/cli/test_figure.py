"""A figure is a readable PNG whatever there is to draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cli.canvas import DPI, SIZE_INCHES
from cli.figure import NAMED, save_figure


def points(count: int) -> list[dict[str, Any]]:
    return [
        {
            "placement": f"t/v{i}@tier-{i % 9}:1",
            "tier": f"tier-{i % 9}",
            "accuracy": 0.5 + i / 100,
            "accuracy_low": 0.48 + i / 100,
            "accuracy_high": 0.51 + i / 100,
            "latency_ms": 0.1 * 1.3**i,
            "cost_usd": 1e-9 * i,
            "dominated_by": "t/v0@tier-0:1" if i % 4 == 3 else None,
        }
        for i in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, NAMED * 3 // 2 + 6])
def test_a_figure_is_drawn_of_any_number_of_points(count: int, tmp_path: Path) -> None:
    path = tmp_path / "frontier"  # the format does not hang on the name
    save_figure(path, "t: 1 row", points(count))
    with Image.open(path) as image:
        assert (image.format, image.size) == ("PNG", tuple(round(inches * DPI) for inches in SIZE_INCHES))
        red, green, blue = np.moveaxis(np.asarray(image.convert("RGB")).astype(np.int16), 2, 0)
    # Text is shades of grey; colours come from points and their scale.
    coloured = (np.abs(red - green) + np.abs(green - blue) > 40).mean()
    assert ((red + green + blue) < 200).mean() > 0.001
    assert (coloured > 0.003) == (count > 0)
