"""Search through Ray Tune: trials run in parallel on a cluster, and Tune's schedulers stop trials early.

`StudySearch` connects Tune to the study.  Tune's own OptunaSearch would report a trial that was stopped early as
complete, count the trials of one driver only, and compute a point twice.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler
from ray.tune.search import Searcher

from sweeps.cluster.fit import fit_trials
from sweeps.tuning.objective import DataSet, Evaluation, evaluate_point
from sweeps.tuning.search import Search
from sweeps.tuning.search_inline import ASHA_REDUCTION, N_BEFORE_MEDIAN, Scheduler, grace_epochs
from sweeps.tuning.search_progress import SearchProgress
from sweeps.tuning.study import SharedStudy

_STEP, _VALUE, _EVALUATION, _ERROR = "step", "value", "evaluation", "error"
# ASHA ends trials at this step.  No trial is as long, although methods that train several times have many epochs.
_MAX_STEPS = 10**6


def run_search_on_ray(
    study: SharedStudy, data: DataSet, scheduler: Scheduler, progress: SearchProgress, resources: Mapping[str, float]
) -> None:
    """Compute trials on the connected Ray cluster, on the whole data set, until the study has all its trials.

    The scheduler decides which trials are stopped early.  Each trial gets the resources "CPU" and "GPU".
    """
    trainable = tune.with_parameters(_compute, search=study.search, data=data, n_threads=int(resources["CPU"]))
    with study.keep_alive(), progress:
        fit_trials(
            tune.with_resources(trainable, dict(resources)),
            tune_config=tune.TuneConfig(
                search_alg=StudySearch(study, progress),
                scheduler=_scheduler(scheduler, grace_epochs(study)),
                num_samples=study.n_trials,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: f"trial-{trial.trial_id}",
            ),
            run_config=tune.RunConfig(name="search"),
        )


class StudySearch(Searcher):
    """Claims trials of a study for Tune, and stores their results in the study."""

    def __init__(self, study: SharedStudy, progress: SearchProgress) -> None:
        super().__init__(metric=_VALUE, mode="max")
        self._study, self._progress = study, progress
        self._numbers: dict[str, int] = {}
        self._began: dict[str, float] = {}

    def suggest(self, trial_id: str) -> Any:
        """Return a new point.  Return None if there is no trial now, and FINISHED if the study has all its trials."""
        claim = self._study.claim()
        self._progress.update()
        if claim is None:
            return None if self._study.more_may_come() else Searcher.FINISHED
        self._numbers[trial_id] = claim.number
        self._began[trial_id] = time.monotonic()
        return {"point": claim.point}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Store the value of a running trial."""
        if result.get(_VALUE) is not None and _EVALUATION not in result:
            self._study.report(self._numbers[trial_id], result[_STEP], result[_VALUE])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Store that a trial is done, was stopped early, or failed."""
        last = result or {}
        evaluation: Evaluation | None = last.get(_EVALUATION)
        number = self._numbers[trial_id]
        if evaluation is not None:
            self._study.finish(number, evaluation.value, evaluation.seconds, evaluation.by_seed)
        elif error or result is None or _ERROR in last:
            self._study.fail(number, last.get(_ERROR, "the trial's process died"))
        else:
            self.on_trial_result(trial_id, last)  # Tune passes the last result of a stopped trial only here
            self._study.stop(number, time.monotonic() - self._began[trial_id])
        self._progress.update()

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the study is the only state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the study is the only state."""

    def __getstate__(self) -> dict[str, Any]:
        """Return no state: Tune pickles its searcher, but a search never resumes from Tune's state."""
        return {}


def _compute(config: Mapping[str, Any], *, search: Search, data: DataSet, n_threads: int) -> None:
    steps = 0

    def on_epoch(value: float) -> None:
        nonlocal steps
        steps += 1
        tune.report({_STEP: steps, _VALUE: value})

    if search.cell.training is not None:
        import torch

        torch.set_num_threads(max(1, n_threads))
    try:
        result = evaluate_point(search, config["point"], data, on_epoch)
    except Exception:
        tune.report({_STEP: steps + 1, _VALUE: None, _ERROR: traceback.format_exc()})
    else:
        tune.report({_STEP: steps + 1, _VALUE: result.value, _EVALUATION: result})


def _scheduler(kind: Scheduler, grace: int) -> TrialScheduler:
    settings = {"time_attr": _STEP, "metric": _VALUE, "mode": "max", "grace_period": grace}
    if kind == "asha":
        return ASHAScheduler(**settings, max_t=_MAX_STEPS, reduction_factor=ASHA_REDUCTION)
    if kind == "median":
        return MedianStoppingRule(**settings, min_samples_required=N_BEFORE_MEDIAN)
    return FIFOScheduler()
