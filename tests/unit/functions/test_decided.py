"""A decided request's line: its metrics, what is looked up of it, and nothing of what was sent or answered."""

from __future__ import annotations

import json
from typing import Any

from functions.aws.decided import Decided
from functions.aws.emf import Emf

TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


async def test_an_answer_makes_one_line_of_metrics_and_ids(api: Any) -> None:
    lines: list[str] = []
    decided = Decided(Emf("stack-api", write=lines.append), variables={"_X_AMZN_TRACE_ID": TRACE})
    decided.request_id = "lambda-1"
    api.service.watch_with(decided.observe)

    status, answer = await api("POST", "/v1/tasks/sum/predict", {"inputs": {"x": [[987654.25, 1.0]]}})

    assert status == 200
    assert answer["outputs"]["y"] == [987655.25]
    (line,) = map(json.loads, lines)
    assert (line["Requests"], line["SloMet"], line["ColdStart"]) == (1, 1, 1)
    assert (line["request_id"], line["trace_id"]) == ("lambda-1", "1-5759e988-bd862e3fe1be46a994272793")
    assert (line["decision_id"], line["variant"]) == (answer["decision"]["decision_id"], answer["decision"]["variant"])
    assert "98765" not in lines[0].replace(line["decision_id"], "")
