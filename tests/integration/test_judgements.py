"""A platform over a real store and real sessions: judgements take requests from a variant and give them back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from gateway.auth import ANONYMOUS
from gateway.local import Platform, open_blobs, open_store
from optimizer.accuracy import share
from optimizer.artifact import make_artifact
from registry.catalogue import Catalogue
from registry.model import LEVELS, ZERO, Placement, Profile, Quantiles, Recipe, ServiceTime, Task, TensorSpec, Variant
from registry.prices import local_tiers
from registry.store import update

WORDS = np.array(["tulip", "rose", "lily"], object)
TASK = Task(
    "flower",
    (TensorSpec("x", "FP32", (-1, 3)),),
    (TensorSpec("word", "BYTES", (-1,)),),
    "accuracy",
    judged="word",
    classes=tuple(WORDS),
)
FLOOR = {"min_accuracy": 0.95, "objective": "cost"}
ANY = {"objective": "cost"}


def model() -> bytes:
    """The word of the largest of three numbers."""
    nodes = [
        helper.make_node("ArgMax", ["x"], ["at"], axis=1, keepdims=0),
        helper.make_node("Gather", ["words", "at"], ["word"]),
    ]
    words = numpy_helper.from_array(WORDS, "words")
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])]
    answer = [helper.make_tensor_value_info("word", TensorProto.STRING, ["n"])]
    graph = helper.make_graph(nodes, "flower", given, answer, [words])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return bytes(made.SerializeToString())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """`quick` is the cheaper and, as evaluated, the better; `steady` holds the floor too."""
    blobs, store = open_blobs(tmp_path), open_store(tmp_path)
    artifact = make_artifact(model(), blobs)

    def edit(base: Catalogue) -> Catalogue:
        made = base.with_tasks(TASK).with_tiers(*local_tiers())
        for name, right, ms in (("quick", 392, 1.0), ("steady", 388, 4.0)):
            variant = Variant("flower", name, artifact, Recipe("test"), share(right, 400))
            placement = Placement(variant.id, "inline")
            time = Quantiles((ms,) * len(LEVELS), ms)
            service = (ServiceTime(1, time, ms), ServiceTime(64, time, ms))
            profile = Profile(placement.id, service, ZERO, ZERO, 1.0, "test", "none", 1, "now")
            made = made.with_variants(variant).with_placements(placement).with_profiles(profile)
        return made

    update(store, edit)
    store.close()
    return tmp_path


async def ask(platform: Platform, hints: dict[str, Any], rows: int = 4) -> tuple[str, str]:
    """The variant that answered, and the decision."""
    inputs = {"x": np.eye(3, dtype=np.float32)[np.arange(rows) % 3]}
    answer = await platform.service.predict(ANONYMOUS, "flower", inputs, hints)
    return answer.decision.variant.partition("/")[2], answer.decision.decision_id


async def judge(platform: Platform, decision: str, *, right: bool, rows: int = 4) -> Any:
    words = [str(WORDS[(i + (not right)) % 3]) for i in range(rows)]
    return await platform.judgements.judge(ANONYMOUS, "flower", decision, words)


async def test_a_variant_judged_bad_loses_requests_and_gets_them_back(home: Path) -> None:
    async with Platform.open(home) as platform:
        assert (await ask(platform, FLOOR))[0] == "quick"
        for _ in range(10):
            _, decision = await ask(platform, ANY)
            found = await judge(platform, decision, right=False)
        assert (found.variant, found.rows, found.right, found.drifted) == ("flower/quick", 4, 0, True)
        assert (await ask(platform, FLOOR))[0] == "steady"
        plan = platform.service.plan(ANONYMOUS, "flower", FLOOR)
        assert "accuracy 0 is below 0.95" in plan.why_not()["flower/quick@inline:1"]
    # What was judged is known to whoever opens the home next.
    async with Platform.open(home) as platform:
        first, last = platform.store.history()[1].note, platform.store.history()[-1].note
        assert first.startswith("judged: flower/quick 0.9800 to ")
        assert last.endswith(" to 0.0000 by 40 rows")
        assert (await ask(platform, FLOOR))[0] == "steady"
        # Callers without a floor still take the cheaper one, and find that it is right again.
        for _ in range(30):
            variant, decision = await ask(platform, ANY)
            assert variant == "quick"
            found = await judge(platform, decision, right=True)
        assert found.accuracy.value > 0.95
        assert (await ask(platform, FLOOR))[0] == "quick"


async def test_what_is_registered_again_is_not_what_was_judged(home: Path) -> None:
    async with Platform.open(home) as platform:
        for _ in range(10):
            _, decision = await ask(platform, ANY)
            await judge(platform, decision, right=False)
        known = platform.snapshots.view()[0].variants["flower/quick"]
        update(platform.store, lambda base: base.with_variants(replace(known, accuracy=share(396, 400))))
        await platform.refresh()
        assert (await ask(platform, FLOOR))[0] == "quick"


async def test_what_was_judged_is_known_to_the_next_platform_also_when_it_moved_nothing(home: Path) -> None:
    for rows in (4, 8, 12):
        async with Platform.open(home) as platform:
            found = await judge(platform, (await ask(platform, ANY))[1], right=True)
            assert (found.judged_rows, found.accuracy) == (rows, share(392 + rows, 400 + rows))


async def test_what_a_killed_platform_did_not_publish_the_next_one_does(home: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("gateway.estimator.Estimator.publish", lambda *_: False)
        async with Platform.open(home) as platform:
            for _ in range(10):
                await judge(platform, (await ask(platform, ANY))[1], right=False)
    async with Platform.open(home):
        pass
    async with Platform.open(home) as platform:
        assert platform.snapshots.view()[0].variants["flower/quick"].accuracy == share(0, 40)
