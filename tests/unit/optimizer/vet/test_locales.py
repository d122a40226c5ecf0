"""StringNormalizer: rewritten to locales that every host has, with the results of those it named."""

from __future__ import annotations

import locale
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from optimizer.errors import ModelRefused, Reason
from optimizer.vet.locales import make_portable
from runtime.codecs.binary import from_tensor, to_tensor
from runtime.errors import ExecutionFailed
from runtime.ort import OrtSession


def normaliser(**attributes: Any) -> Any:
    """A model of one StringNormalizer, from `x` [n] to `y` [n]."""
    node = helper.make_node("StringNormalizer", ["x"], ["y"], **attributes)
    values = [helper.make_tensor_value_info(name, TensorProto.STRING, [None]) for name in "xy"]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def locale_of(model: Any) -> str | None:
    """The locale that the node names."""
    return next((a.s.decode() for a in model.graph.node[0].attribute if a.name == "locale"), None)


def run(model: Any, *texts: str) -> list[str]:
    """What the model makes of texts, in ONNX Runtime as it serves."""
    session = OrtSession(model.SerializeToString(), "/nonexistent", threads=1, prepack=False)
    batch = np.array([text.encode() for text in texts], dtype=object)
    return [text.decode() for text in from_tensor("y", session.run({"x": to_tensor("x", batch)})["y"])]


@pytest.mark.parametrize("name", [None, "", "en_US.UTF-8", "en_US", "en-US", "de_DE.UTF-8", "lt_LT", "C.utf8", "ttx"])
def test_case_is_changed_in_a_locale_that_every_host_has(name: str | None) -> None:
    model = normaliser(case_change_action="LOWER", **({} if name is None else {"locale": name}))

    assert make_portable(model)

    assert locale_of(model) == "C.UTF-8"
    onnx.checker.check_model(model)
    assert run(model, "ÀÉÎ ΑΒΓ", "ЖЙ Straße", "İI", "\U00010400") == ["àéî αβγ", "жй straße", "ii", "\U00010428"]


@pytest.mark.parametrize("name", ["C", "POSIX", "C.UTF-8"])
def test_portable_locales_stay(name: str) -> None:
    model = normaliser(case_change_action="UPPER", locale=name)
    before = model.SerializeToString()

    assert not make_portable(model)

    assert model.SerializeToString() == before
    assert run(model, "aé") == ["AÉ" if name == "C.UTF-8" else "Aé"]


@pytest.mark.parametrize("attributes", [{}, {"is_case_sensitive": 1, "stopwords": ["the"]}, {"is_case_sensitive": 0}])
def test_what_changes_no_case_needs_no_locale(attributes: dict[str, Any]) -> None:
    model = normaliser(case_change_action="NONE", locale="tr_TR.UTF-8", **attributes)

    assert make_portable(model)

    assert locale_of(model) == "C"
    assert run(model, "I am İ") == ["I am İ"]


def test_stop_words_are_compared_in_another_case() -> None:
    model = normaliser(is_case_sensitive=0, stopwords=["école"])

    assert make_portable(model)

    assert locale_of(model) == "C.UTF-8"
    assert run(model, "ÉCOLE", "Cat") == ["Cat"]


@pytest.mark.parametrize("name", ["tr_TR.UTF-8", "tr-TR", "az_AZ", "ku_TR.ISO8859-9", "crh_UA", "tt_RU@iqtelif"])
def test_turkish_case_is_refused(name: str) -> None:
    with pytest.raises(ModelRefused, match=f"as in {name!r}") as refused:
        make_portable(normaliser(case_change_action="UPPER", locale=name))

    assert refused.value.reason is Reason.UNPORTABLE_LOCALE


def test_nodes_of_branches_are_rewritten_too() -> None:
    branches = {
        name: helper.make_graph(
            [helper.make_node("StringNormalizer", ["x"], [name], case_change_action="LOWER")],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.STRING, [None])],
        )
        for name in ("then_branch", "else_branch")
    }
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.STRING, [None]),
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.STRING, [None])]
    model = helper.make_model(
        helper.make_graph([helper.make_node("If", ["c"], ["y"], **branches)], "g", inputs, outputs)
    )

    assert make_portable(model)

    for attribute in model.graph.node[0].attribute:
        assert [a.s for a in attribute.g.node[0].attribute if a.name == "locale"] == [b"C.UTF-8"]


def test_an_attribute_that_a_function_passes_on_is_refused() -> None:
    model = normaliser(case_change_action="LOWER")
    model.graph.node[0].attribute.add(name="locale", ref_attr_name="where", type=onnx.AttributeProto.STRING)

    with pytest.raises(ModelRefused, match="parameters"):
        make_portable(model)


COMPARE = """
import ctypes, sys
libc = ctypes.CDLL(None)
libc.newlocale.restype, libc.newlocale.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def mapping(name):
    locale = libc.newlocale(1, name.encode(), None)  # LC_CTYPE_MASK
    assert locale, name
    for function in (libc.towlower_l, libc.towupper_l):
        function.argtypes, function.restype = (ctypes.c_uint, ctypes.c_void_p), ctypes.c_uint
    return {c: (libc.towlower_l(c, locale), libc.towupper_l(c, locale)) for c in range(0x20000)}
portable, turkish = mapping("C.UTF-8"), mapping("tr_TR.UTF-8")
assert portable == mapping("en_US.UTF-8")
print(sorted(chr(c) for c in portable if portable[c] != turkish[c]))
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not Path("/usr/share/i18n/locales/tr_TR").exists() or not shutil.which("localedef"),
    reason="needs glibc's localedef and the sources of its locales",
)
def test_the_portable_locale_maps_every_character_as_american_english_does(tmp_path: Path) -> None:
    for name in ("en_US", "tr_TR"):
        # Case mapping is in LC_CTYPE; the other categories take seconds. Forced, as they are missing.
        source = tmp_path / name
        source.write_text(f'LC_CTYPE\ncopy "{name}"\nEND LC_CTYPE\n')
        subprocess.run(["localedef", "-c", "-i", source, "-f", "UTF-8", tmp_path / f"{name}.UTF-8"], check=False)

    told = subprocess.run(
        [sys.executable, "-I", "-c", COMPARE],
        env={"LOCPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert told.stdout.strip() == "['I', 'i']"


def has_american_english() -> bool:
    """Whether this host has the locale that ONNX Runtime takes by default."""
    try:
        before = locale.setlocale(locale.LC_CTYPE)
        locale.setlocale(locale.LC_CTYPE, "en_US.UTF-8")
    except locale.Error:
        return False
    locale.setlocale(locale.LC_CTYPE, before)
    return True


@pytest.mark.skipif(has_american_english(), reason="this host has en_US.UTF-8")
def test_without_rewriting_the_default_locale_fails_on_a_host_that_lacks_it() -> None:
    with pytest.raises(ExecutionFailed, match="locale"):
        run(normaliser(case_change_action="LOWER"), "A")
