"""A registration's outcome is told in full: the family, and what came to nothing with its numbers."""

from __future__ import annotations

from pathlib import Path

from cli.family import document, render
from cli.output import screen
from optimizer.family import Failure
from optimizer.register import Registered
from registry.lineage import Outcome, Tried
from registry.model import Accuracy, Recipe, Task, TensorSpec, Variant

TASK = Task(
    "digits", (TensorSpec("X", "FP32", (-1, 64)),), (TensorSpec("label", "INT64", (-1,)),), "accuracy", judged="label"
)
ACCURACY = Accuracy(0.95, 0.93, 0.97, 400, "wilson")
HALF = Tried(
    "digits",
    "trees-50",
    Recipe("trees", "forest", (("percent", "50"),)),
    Outcome.DROPPED,
    "is on no axis better than forest",
    (("accuracy", 0.94), ("p50_ms", 0.25), ("forest.accuracy", 0.95), ("forest.p50_ms", 0.2)),
)
DONE = Registered(
    TASK,
    3,
    (Variant("digits", "forest", "blake3:0", Recipe("convert"), ACCURACY, 1500),),
    (),
    (),
    (Failure("broken", "is not ONNX"),),
    2.0,
    (HALF,),
    ("only 12 rows were judged",),
)


def test_the_document_has_every_number() -> None:
    told = document(DONE)
    assert told["judged"] == "label"
    assert told["inputs"] == [{"name": "X", "datatype": "FP32", "shape": [-1, 64]}]
    assert told["variants"] == [
        {
            "id": "digits/forest",
            "generator": "convert",
            "parent": None,
            "parameters": {},
            "accuracy": 0.95,
            "accuracy_low": 0.93,
            "accuracy_high": 0.97,
            "rows": 400,
            "size_bytes": 1500,
        }
    ]
    (tried,) = told["tried"]
    assert (tried["id"], tried["parent"], tried["parameters"]) == ("digits/trees-50", "forest", {"percent": "50"})
    assert told["warnings"] == ["only 12 rows were judged"]
    assert (tried["outcome"], tried["numbers"]["forest.p50_ms"]) == ("dropped", 0.2)


def test_people_see_both_tables() -> None:
    console = screen()
    with console.capture() as shown:
        render(console, DONE, Path("/home"))
    text = " ".join(shown.get().split())
    assert "forest convert – 0.9500 0.930–0.970 1.5 KB" in text
    assert "trees-50 trees forest dropped is on no axis better than forest accuracy 0.94 (0.95)" in text
    assert "Left out broken: is not ONNX" in text
    assert "Warning: only 12 rows were judged." in text
    assert "Release 3: digits, 1 variant in 0 placements, measured" in text
