"""Search in this process without Ray, one trial after the other."""

from __future__ import annotations

import time
import traceback
from typing import Literal

from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner

from sweeps.tuning.objective import DataSet, evaluate_point
from sweeps.tuning.search_progress import SearchProgress
from sweeps.tuning.study import Claim, SharedStudy

Scheduler = Literal["asha", "median", "none", "pbt"]

ASHA_REDUCTION = 3
"""At each comparison, ASHA continues one in this many trials."""
N_BEFORE_MEDIAN = 5
"""Number of trials before the median rule may stop a trial."""
POLL_SECONDS = 1.0


class _StoppedEarly(Exception):
    pass


def run_search_inline(study: SharedStudy, data: DataSet, scheduler: Scheduler, progress: SearchProgress) -> None:
    """Compute trials on the whole data set until the study has all its trials.

    The scheduler decides which trials are stopped early.
    """
    study.optuna_study.pruner = _pruner(scheduler, grace_epochs(study))
    with study.keep_alive(), progress:
        while True:
            claim = study.claim()
            if claim is not None:
                progress.update()
                _compute(study, claim, data)
            elif study.more_may_come():
                time.sleep(POLL_SECONDS)
            else:
                break
            progress.update()


def grace_epochs(study: SharedStudy) -> int:
    """Return the number of epochs that every trial trains before it may be stopped: a fifth of a training."""
    training = study.search.cell.training
    return 1 if training is None else max(1, training.recipe.epochs // 5)


def _compute(study: SharedStudy, claim: Claim, data: DataSet) -> None:
    start, steps = time.perf_counter(), 0

    def on_epoch(value: float) -> None:
        nonlocal steps
        steps += 1
        study.report(claim.number, steps, value)
        if study.should_prune(claim.number):
            raise _StoppedEarly

    try:
        result = evaluate_point(study.search, claim.point, data, on_epoch)
    except _StoppedEarly:
        study.stop(claim.number, time.perf_counter() - start)
    except Exception:
        study.fail(claim.number, traceback.format_exc())
    else:
        study.finish(claim.number, result.value, result.seconds, result.by_seed)


def _pruner(scheduler: Scheduler, grace: int) -> BasePruner:
    if scheduler == "asha":
        return SuccessiveHalvingPruner(min_resource=grace, reduction_factor=ASHA_REDUCTION)
    if scheduler == "median":
        return MedianPruner(n_startup_trials=N_BEFORE_MEDIAN, n_warmup_steps=grace)
    return NopPruner()
