"""`register`: one call from a model to a measured family in a home; decides nothing about what is measured."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from gateway.local import Platform
from gateway.settings import containers_of
from modelless.choices import Generate, Hints, Tiers
from modelless.describing import describe
from modelless.homes import check_home, default_home, make_home
from modelless.progress import bar
from modelless.waiting import wait
from optimizer.journal import FILE, Journal
from optimizer.plan import FULL, QUICK
from optimizer.progress import Progress
from optimizer.register import Registered
from optimizer.register import register as measured
from optimizer.registration import Registration


def register(
    task: str,
    model: Any,
    X: Any,  # noqa: N803 - as every library of models calls its rows
    y: Any,
    *,
    calibration: Any = None,
    output: str | None = None,
    metric: str | None = None,
    tiers: Tiers = None,
    slo: Hints = None,
    home: str | os.PathLike[str] | None = None,
    generate: Generate = True,
    name: str | None = None,
    description: str = "",
    quick: bool = False,
    fresh: bool = False,
    progress: bool = True,
) -> Registered:
    """Make a task of a model: convert it, make variants of it, measure them on this machine, publish what is worth it.

    `model` is a scikit-learn estimator or Pipeline, an estimator or Booster of LightGBM or XGBoost, a
    `torch.nn.Module`, a Keras model, or ONNX (a path, bytes or a ModelProto). `X` and `y` are held-out rows and their
    right answers: rows that the model was trained on would flatter every variant. `X` is an array, a data frame, or a
    mapping from the names of the inputs to arrays; `y` labels or numbers. `calibration` are more rows like `X`, on
    which nothing is judged; without them some of `X` are set aside when a generator needs rows.

    `output` and `metric` say which output `y` answers and how it is judged, where that is not plain: `accuracy` for
    labels, `rmse_skill` for numbers. `tiers` are names of tiers (None: those here), `slo` the task's default bounds,
    `home` the folder to publish in (None: MODELLESS_HOME, else ~/.modelless), `generate` whether variants are made of
    the model, or the generators that make them. `quick` measures for a shorter time, and `fresh` measures anew what was
    measured within a day, too. A task registered before is replaced.

    What looks wrong about the rows or their answers is warned of, and in the result's `warnings`.

    Raises NotConvertible, ModelRefused, InvalidValue and InvalidEvaluation for what the caller can mend, other errors
    of optimizer.errors, registry.errors and gateway.errors when measuring or publishing fails; nothing is published
    then.
    """
    folder = default_home() if home is None else Path(home)
    check_home(folder)
    registration = describe(
        task,
        model,
        X,
        y,
        calibration=calibration,
        output=output,
        metric=metric,
        tiers=tiers,
        slo=slo,
        generate=generate,
        name=name,
        description=description,
    )
    with bar(f"Registering {task}", shown=progress) as step:
        done = wait(registered(registration, folder, quick=quick, fresh=fresh, progress=step))
    for doubt in done.warnings:
        warnings.warn(f"{task}: {doubt}", stacklevel=2)
    return done


async def registered(
    registration: Registration,
    home: Path,
    *,
    quick: bool = False,
    fresh: bool = False,
    progress: Progress | None = None,
) -> Registered:
    """Make, measure and publish a registration in a home, on its tiers; raises what `optimizer.register` raises.

    One that was interrupted goes on where it stopped, unless `fresh`.
    """
    make_home(home)
    async with Platform.open(home, containers=containers_of(os.environ)) as platform:
        platform.serve(*registration.tiers)
        await platform.prepare()
        with Journal.open(home / FILE, fresh=fresh) as journal:
            return await measured(
                registration,
                platform.store,
                platform.blobs,
                platform.backends,
                progress=progress,
                plan=QUICK if quick else FULL,
                clock=platform.clock,
                journal=journal,
            )
