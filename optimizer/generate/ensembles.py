"""Tree ensembles inside an ONNX graph: how many rounds they have, and how to keep the first; never runs anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, NodeProto, helper, numpy_helper

Numbers = NDArray[Any]

VOTES = {"TreeEnsembleClassifier": "class", "TreeEnsembleRegressor": "target"}
"""Operators of the domain ai.onnx.ml, and what the names of their leaves' attributes begin with."""

ALIKE = (0.8, 1.25)
"""Within these, the leaves of the later half of a regressor's trees are as large as those of the earlier half. Forests
of 4 to 300 trees on two data sets lie between 0.97 and 1.16. In boosted regressors without base values (LightGBM's)
the first tree holds the mean, and 0.01 to 0.15 was seen; where the mean is nothing, 0.4 to 0.7 after ten trees."""


class Unshortenable(ValueError):
    """An ensemble of which a prefix means nothing; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Ensemble:
    """One node with its trees, in the order in which they were grown."""

    node: NodeProto
    rounds: Numbers
    """Ids of trees, shape [rounds, trees in each]: multi-class boosting grows a tree for each class in a round."""
    averaged: bool
    """Whether leaves were divided by the number of rounds beforehand, so that fewer rounds must weigh more."""

    @property
    def trees(self) -> int:
        """How many trees it has."""
        return int(self.rounds.size)

    def cut(self, rounds: int) -> None:
        """Keep the first rounds, in place; an average stays one."""
        kept = self.rounds[:rounds]
        scale = len(self.rounds) / rounds if self.averaged else 1.0
        for prefix in ("nodes", VOTES[self.node.op_type]):
            mask = np.isin(_numbers(self.node, f"{prefix}_treeids"), kept)
            for attribute in self.node.attribute:
                if attribute.name.startswith(f"{prefix}_"):
                    _filter(attribute, mask, scale if attribute.name.startswith(f"{prefix}_weights") else 1.0)


def ensembles(model: ModelProto) -> list[Ensemble]:
    """Every tree ensemble of the main graph, in its order; raises Unshortenable."""
    if any(node.op_type == "TreeEnsemble" and node.domain == "ai.onnx.ml" for node in model.graph.node):
        # It says less than its predecessors of what its sums mean, and no converter writes it yet.
        raise Unshortenable("its trees are in the operator TreeEnsemble of ai.onnx.ml 5, which is not read")
    return [_read(node) for node in model.graph.node if node.op_type in VOTES and node.domain == "ai.onnx.ml"]


def _read(node: NodeProto) -> Ensemble:
    prefix = VOTES[node.op_type]
    trees, votes = _numbers(node, f"{prefix}_treeids"), _numbers(node, f"{prefix}_ids")
    weights = _weights(node, prefix)
    rounds = _rounds(np.unique(_numbers(node, "nodes_treeids")), trees, votes)
    return Ensemble(
        node, rounds, _is_averaged(node, weights, np.searchsorted(rounds[:, 0], trees, "right") - 1, len(rounds))
    )


def _rounds(ids: Numbers, trees: Numbers, votes: Numbers) -> Numbers:
    """Tree ids by round. Trees that each vote for one class of several are a round when there is one for each class."""
    classes = np.unique(votes)
    pairs = np.unique(np.stack([trees, votes]), axis=1)
    if len(classes) == 1 or pairs.shape[1] != len(ids):
        return ids.reshape(-1, 1)
    by_class = [pairs[0, pairs[1] == each] for each in classes]
    if len({len(column) for column in by_class}) != 1:
        raise Unshortenable("its trees vote for one class each, and some class has more trees than another")
    return np.stack(by_class, axis=1)


def _is_averaged(node: NodeProto, weights: Numbers, rounds: Numbers, count: int) -> bool:
    """Whether leaves were divided by the number of trees; told by what no boosted ensemble writes.

    Averages go as they are to the output, start from nothing, and their trees are alike. `AVERAGE` divides by itself.
    XGBoost's random forests start from a base value and are taken for boosted: their prefixes fall short.
    """
    how = _text(node, "aggregate_function", "SUM")
    if how not in ("SUM", "AVERAGE"):
        raise Unshortenable(f"it takes the {how.lower()} of its trees")
    if how == "AVERAGE" or _text(node, "post_transform", "NONE") != "NONE" or _has_base(node):
        return False
    if node.op_type == "TreeEnsembleClassifier":
        return _are_shares(node, weights, 1 / count)
    earlier = rounds < (count + 1) // 2
    if count == 1 or not np.any(weights[earlier]):
        return False
    return bool(ALIKE[0] <= _rms(weights[~earlier]) / _rms(weights[earlier]) <= ALIKE[1])


def _are_shares(node: NodeProto, weights: Numbers, vote: float) -> bool:
    """Whether each leaf gives a tree's `vote` to its classes, or a part of it to the one class that is written down.

    A boosted model that only ever adds would always answer the same.
    """
    if weights.min() < 0.0:
        return False
    if len(np.unique(_numbers(node, "class_ids"))) == 1:
        return bool(weights.max() <= vote * 1.01)
    leaves = np.stack([_numbers(node, "class_treeids"), _numbers(node, "class_nodeids")])
    _, of_leaf = np.unique(leaves, axis=1, return_inverse=True)
    return bool(np.allclose(np.bincount(of_leaf.ravel(), weights), vote, rtol=0.01))


def _rms(values: Numbers) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _has_base(node: NodeProto) -> bool:
    return any(np.any(_values(a)) for a in node.attribute if a.name in ("base_values", "base_values_as_tensor"))


def _weights(node: NodeProto, prefix: str) -> Numbers:
    return _numbers(node, f"{prefix}_weights", f"{prefix}_weights_as_tensor")


def _numbers(node: NodeProto, *names: str) -> Numbers:
    for attribute in node.attribute:
        if attribute.name in names:
            return _values(attribute)
    raise Unshortenable(f"{node.op_type} has no {names[0]}")


def _text(node: NodeProto, name: str, default: str) -> str:
    return next((a.s.decode() for a in node.attribute if a.name == name), default)


def _values(attribute: AttributeProto) -> Numbers:
    if attribute.type == AttributeProto.TENSOR:
        return np.asarray(numpy_helper.to_array(attribute.t))
    return np.array(helper.get_attribute_value(attribute))


def _filter(attribute: AttributeProto, mask: Numbers, scale: float) -> None:
    """Keep the marked elements of one attribute, times `scale`."""
    values = _values(attribute)[mask]
    scaled = values if scale == 1.0 else (values * scale).astype(values.dtype)
    if attribute.type == AttributeProto.TENSOR:
        attribute.t.CopyFrom(numpy_helper.from_array(scaled, attribute.t.name))
        return
    field = {AttributeProto.FLOATS: "floats", AttributeProto.INTS: "ints", AttributeProto.STRINGS: "strings"}
    _replace(getattr(attribute, field[attribute.type]), scaled.tolist())


def _replace(repeated: Any, values: Iterable[Any]) -> None:
    del repeated[:]
    repeated.extend(values)
