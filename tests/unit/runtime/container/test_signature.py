"""Signatures: what a request must be, said of the first tensor that is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.container.signature import Port, Signature
from runtime.errors import InvalidTensor

ONE = Signature([Port("x", "FP32", (-1, 4))], [Port("y", "FP32", (-1, 2))])
TWO = Signature([Port("x", "FP32", (-1, -1)), Port("n", "INT64", (-1,)), Port("k", "INT64", ())], [])
TEXT = Signature([Port("t", "BYTES", (-1, 1))], [])
FINITE = Signature([Port("x", "FP64", (-1, 2), finite=True)], [])


def test_rows_of_a_fixed_size_may_share_any_run() -> None:
    assert ONE.check({"x": np.zeros((3, 4), np.float32)}) == (3, None)


def test_rows_of_other_extents_are_of_another_form() -> None:
    def inputs(extent: int) -> dict[str, NDArray[Any]]:
        return {"x": np.zeros((2, extent), np.float32), "n": np.zeros(2, np.int64), "k": np.int64(1).reshape(())}

    rows, form = TWO.check(inputs(5))
    assert rows == 2
    assert TWO.check(inputs(5)) == (2, form)
    assert TWO.check(inputs(6))[1] != form


def test_a_graph_of_scalars_has_one_row() -> None:
    assert Signature([Port("k", "INT64", ())], []).check({"k": np.int64(1).reshape(())}) == (1, None)


def test_only_inputs_of_rows_can_be_put_together() -> None:
    assert ONE.batched
    assert not TWO.batched
    assert not Signature([Port("x", "FP32", (1, 4))], []).batched


def test_rows_are_alike_where_no_extent_is_the_callers_choice() -> None:
    assert ONE.fixed
    assert not TWO.fixed
    assert not TEXT.fixed


def test_signatures_are_equal_by_what_they_say() -> None:
    same = Signature([Port("x", "FP32", (-1, 4))], [Port("y", "FP32", (-1, 2))])
    assert same == ONE
    assert hash(ONE) == hash(same)
    assert ONE != FINITE


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        (ONE, {}, r"x: it is missing; expected FP32 \[-1, 4\]"),
        (ONE, {"z": np.zeros((1, 4), np.float32)}, r"z: the model has no such input; expected one of \['x'\]"),
        (ONE, {"x": np.zeros((1, 4))}, r"x: its dtype is float64; expected FP32"),
        (ONE, {"x": np.zeros(4, np.float32)}, "x: its rank is 1; expected rank 2"),
        (ONE, {"x": np.zeros((1, 4, 1), np.float32)}, "x: its rank is 3; expected rank 2"),
        (ONE, {"x": np.zeros((1, 5), np.float32)}, r"x: its shape is \[1, 5\]"),
        (ONE, {"x": np.zeros((0, 4), np.float32)}, "no extent 0"),
        (ONE, {"x": np.zeros((1 << 23, 4), np.float32)}, "x: it has 33554432 elements; expected at most"),
        (
            TWO,
            {"x": np.zeros((2, 1), np.float32), "n": np.zeros(3, np.int64), "k": np.int64(0).reshape(())},
            "n: it has 3 rows; expected 2 rows, as x has",
        ),
        (TEXT, {"t": np.array([[b"fine"], [b"\xff"]], object)}, "t: element 1 is not UTF-8"),
        (FINITE, {"x": np.array([[1.0, np.nan]])}, "x: an element is NaN or infinite"),
    ],
)
def test_what_is_wrong_is_named(signature: Signature, inputs: dict[str, NDArray[Any]], message: str) -> None:
    with pytest.raises(InvalidTensor, match=message):
        signature.check(inputs)


def test_a_graph_that_says_nothing_of_numbers_takes_any() -> None:
    assert ONE.check({"x": np.full((1, 4), np.nan, np.float32)}) == (1, None)


def test_a_port_as_the_protocol_has_it() -> None:
    assert ONE.inputs[0].document == {"name": "x", "datatype": "FP32", "shape": [-1, 4]}
