"""Makes StringNormalizer work on every host, with equal results; never guesses where they would differ.

ONNX Runtime changes case with the C++ library's `std::tolower` in the locale that the node names, and without one in
en_US.UTF-8, which Lambda, distroless and slim images do not have: the model then fails to run (older versions: to
load). C.UTF-8 is on all of them (part of glibc since 2.35; Debian, Ubuntu, Fedora and Amazon Linux had it before), and
C wherever there is a C library.

Results are equal because every glibc locale takes its case mapping from one file, `i18n_ctype`, C.UTF-8 included; the
exceptions are those with the Turkish dotless i, which come from `tr_TR`, and C, which knows ASCII only.
"""

from __future__ import annotations

import re

from onnx import AttributeProto, ModelProto, NodeProto, helper

from optimizer.errors import ModelRefused, Reason
from optimizer.vet.walk import nodes_of

PORTABLE = frozenset({"C", "POSIX", "C.UTF-8"})
"""Locales that a node may keep: C and POSIX have results of their own."""

TURKISH = frozenset({"tr", "az", "crh", "ku"})
"""Languages whose locales copy `tr_TR`'s case mapping in glibc 2.36, as does tt_RU@iqtelif."""


def make_portable(model: ModelProto) -> bool:
    """Rewrite a model's locales in place, and say whether any was; raises ModelRefused where results would differ."""
    rewritten = False
    for node in nodes_of(model):
        if node.op_type == "StringNormalizer" and node.domain in ("", "ai.onnx"):
            rewritten |= _rewrite(node)
    return rewritten


def _rewrite(node: NodeProto) -> bool:
    attributes = {attribute.name: attribute for attribute in node.attribute}
    given = attributes.get("locale")
    if any(attribute.ref_attr_name for attribute in node.attribute):
        raise ModelRefused(Reason.UNPORTABLE_LOCALE, "the attributes of a StringNormalizer are a function's parameters")
    name = given.s.decode("utf-8", "replace") if given is not None else ""
    if name in PORTABLE:
        return False
    # Without a change of case the locale decides nothing, and the one that every host has will do.
    portable = "C.UTF-8" if _changes_case(attributes) else "C"
    if portable != "C" and _is_turkish(name):
        raise ModelRefused(Reason.UNPORTABLE_LOCALE, f"StringNormalizer changes case as in {name[:40]!r}")
    if given is not None:
        node.attribute.remove(given)
    node.attribute.append(helper.make_attribute("locale", portable))
    return True


def _changes_case(attributes: dict[str, AttributeProto]) -> bool:
    """Whether it compares or writes in another case than it reads (onnx.ai, StringNormalizer)."""
    action = attributes["case_change_action"].s if "case_change_action" in attributes else b"NONE"
    sensitive = "is_case_sensitive" in attributes and attributes["is_case_sensitive"].i != 0
    stops = "stopwords" in attributes and bool(attributes["stopwords"].strings)
    return action != b"NONE" or (stops and not sensitive)


def _is_turkish(locale: str) -> bool:
    language = re.split(r"[-_.@]", locale.lower(), maxsplit=1)[0]
    return language in TURKISH or (language == "tt" and locale.lower().endswith("@iqtelif"))
