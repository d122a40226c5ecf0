"""Inputs of every datatype, and when two answers count as the same."""

from __future__ import annotations

import numpy as np
import pytest

from optimizer.vet import rows
from runtime.codecs.binary import DTYPES, to_tensor

EDGES = ("zeros", "ones", "least", "most", "nan", "infinite")


@pytest.mark.parametrize("datatype", DTYPES)
def test_every_datatype_has_ordinary_rows_and_edges_that_can_travel(datatype: str) -> None:
    made = [rows.random(datatype, (3, 2), np.random.default_rng(0))]
    made += [rows.constant(datatype, (3, 2), edge) for edge in EDGES]

    for array in made:
        assert array.shape == (3, 2)
        assert to_tensor("x", array).datatype == datatype
    assert rows.constant(datatype, (0, 2), "zeros").shape == (0, 2)
    assert rows.random(datatype, (0,), np.random.default_rng(0)).shape == (0,)


def test_the_edges_are_what_they_are_called() -> None:
    assert np.isnan(rows.constant("FP16", (1,), "nan")).all()
    assert np.isinf(rows.constant("FP64", (1,), "infinite")).all()
    assert rows.constant("FP32", (1,), "least")[0] == np.finfo(np.float32).min
    assert rows.constant("INT8", (1,), "most")[0] == 127
    assert rows.constant("INT64", (1,), "infinite")[0] == 2**31 - 1
    assert rows.constant("UINT8", (1,), "nan")[0] == 0
    assert rows.constant("BOOL", (1,), "ones")[0]
    assert rows.constant("BYTES", (1,), "zeros")[0] == b""
    with pytest.raises(UnicodeDecodeError):
        rows.constant("BYTES", (1,), "nan")[0].decode()


def test_answers_agree_up_to_rounding_and_a_few_ties() -> None:
    answer = np.linspace(-1, 1, 40, dtype=np.float32)
    labels = np.arange(8)

    assert rows.agree(answer, answer + np.float32(0.01))
    assert not rows.agree(answer, answer + np.float32(0.1))
    assert rows.agree(labels, np.where(labels == 3, 0, labels))
    assert not rows.agree(labels, labels[::-1])
    assert rows.agree(answer[:0], answer[:0])
    assert not rows.agree(answer, answer[:-1])
    assert not rows.agree(answer, answer.astype(np.float64))


def test_what_is_not_finite_agrees_with_itself_only() -> None:
    odd = np.array([np.nan, np.inf, -np.inf, 1.0], np.float32)

    assert rows.agree(odd, odd)
    assert not rows.agree(odd, odd[::-1].copy())


def test_equal_is_to_the_last_bit_and_knows_nan() -> None:
    answer = np.array([1.0, np.nan])
    words = np.array([b"a", b"b"], dtype=object)

    assert rows.equal(answer, answer.copy())
    assert not rows.equal(answer, np.nextafter(answer, 2))
    assert rows.equal(words, words.copy())
    assert not rows.equal(words, words[::-1])
