"""Search in this process, one trial after the other, without Ray."""

from __future__ import annotations

import time
import traceback
from typing import Literal

from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner

from sweeps.tuning.objective import Data, evaluate
from sweeps.tuning.search_progress import TuningProgress
from sweeps.tuning.study import Claim, SharedStudy

Scheduler = Literal["asha", "median", "none", "pbt"]

REDUCTION = 3
"""Of so many trials that ASHA compares at a step, one goes on."""
N_BEFORE_MEDIAN = 5
"""Trials before the median stops any."""
POLL_SECONDS = 1.0


class _StoppedEarly(Exception):
    """Others did better at this step."""


def run_inline(shared: SharedStudy, data: Data, scheduler: Scheduler, progress: TuningProgress) -> None:
    """Compute trials until the study has as many as it is to have.

    Args:
        shared: the study.
        data: the data set.
        scheduler: which trials are stopped early.
        progress: is told of every trial.
    """
    shared.study.pruner = _pruner(scheduler, grace_steps(shared))
    with shared.alive(), progress:
        while True:
            claim = shared.take()
            if claim is not None:
                progress.update()
                _compute(shared, claim, data)
            elif shared.more_may_come():
                time.sleep(POLL_SECONDS)
            else:
                break
            progress.update()


def grace_steps(shared: SharedStudy) -> int:
    """Epochs before the first trial may be stopped: a fifth of a training."""
    training = shared.search.cell.training
    return 1 if training is None else max(1, training.recipe.epochs // 5)


def _compute(shared: SharedStudy, claim: Claim, data: Data) -> None:
    trial = shared.trial(claim.number)
    start, steps = time.perf_counter(), 0

    def watch(value: float) -> None:
        nonlocal steps
        steps += 1
        shared.report(claim.number, steps, value)
        if not shared.several and trial.should_prune():
            raise _StoppedEarly

    try:
        found = evaluate(shared.search, claim.point, data, watch)
    except _StoppedEarly:
        shared.stop(claim.number, time.perf_counter() - start)
    except Exception:
        shared.fail(claim.number, traceback.format_exc())
    else:
        shared.finish(claim.number, found.value, found.seconds, found.by_seed)


def _pruner(scheduler: Scheduler, grace: int) -> BasePruner:
    if scheduler == "asha":
        return SuccessiveHalvingPruner(min_resource=grace, reduction_factor=REDUCTION)
    if scheduler == "median":
        return MedianPruner(n_startup_trials=N_BEFORE_MEDIAN, n_warmup_steps=grace)
    return NopPruner()
