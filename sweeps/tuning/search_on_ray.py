"""Search through Ray Tune: trials side by side on a cluster, stopped early by Tune's schedulers.

Tune's own OptunaSearch tells the study of a trial that was stopped early as of one that ran to its end, counts the
trials of one driver only, and computes a point twice; so `StudySearch` stands between Tune and the study instead.
"""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Mapping
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler
from ray.tune.search import Searcher

from sweeps.tuning.objective import Data, Evaluation, evaluate
from sweeps.tuning.search import Search
from sweeps.tuning.search_inline import N_BEFORE_MEDIAN, REDUCTION, Scheduler, grace_steps
from sweeps.tuning.search_progress import TuningProgress
from sweeps.tuning.study import SharedStudy

STEP, VALUE = "step", "value"
_DONE, _ERROR = "evaluation", "error"
# Longer than any trial: ASHA ends trials at this step, and a method that trains several times takes as many epochs.
_NEVER = 10**6


def run_on_ray(
    shared: SharedStudy, data: Data, scheduler: Scheduler, progress: TuningProgress, resources: Mapping[str, float]
) -> None:
    """Compute trials on the connected Ray cluster until the study has as many as it is to have.

    Args:
        shared: the study.
        data: the data set.
        scheduler: which trials are stopped early.
        progress: is told of every trial.
        resources: of a trial, "CPU" and "GPU".
    """
    trainable = tune.with_parameters(_compute, search=shared.search, data=data, n_threads=int(resources["CPU"]))
    with tempfile.TemporaryDirectory(prefix="crowdml-tune-") as storage, shared.alive(), progress:
        tune.Tuner(
            tune.with_resources(trainable, dict(resources)),
            tune_config=tune.TuneConfig(
                search_alg=StudySearch(shared, progress),
                scheduler=_scheduler(scheduler, grace_steps(shared)),
                num_samples=shared.n_trials,
                reuse_actors=True,
                trial_dirname_creator=_short_name,
            ),
            run_config=tune.RunConfig(name="search", storage_path=storage, verbose=0),
        ).fit()


class StudySearch(Searcher):
    """Takes Tune's trials from a study, and tells the study what became of them."""

    def __init__(self, shared: SharedStudy, progress: TuningProgress) -> None:
        super().__init__(metric=VALUE, mode="max")
        self._shared, self._progress = shared, progress
        self._numbers: dict[str, int] = {}
        self._began: dict[str, float] = {}

    def suggest(self, trial_id: str) -> Any:
        """A point; None to be asked again, FINISHED when the study is complete."""
        claim = self._shared.take()
        self._progress.update()
        if claim is None:
            return None if self._shared.more_may_come() else Searcher.FINISHED
        self._numbers[trial_id] = claim.number
        self._began[trial_id] = time.monotonic()
        return {"point": claim.point}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """A trial has got so far."""
        if result.get(VALUE) is not None and _DONE not in result:
            self._shared.report(self._numbers[trial_id], result[STEP], result[VALUE])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial ended, was stopped, or its process died."""
        last = result or {}
        found: Evaluation | None = last.get(_DONE)
        number = self._numbers[trial_id]
        if found is not None:
            self._shared.finish(number, found.value, found.seconds, found.by_seed)
        elif error or result is None or _ERROR in last:
            self._shared.fail(number, last.get(_ERROR, "the trial's process died"))
        else:
            self.on_trial_result(trial_id, last)  # Tune tells of the result that a trial is stopped at only here
            self._shared.stop(number, time.monotonic() - self._began[trial_id])
        self._progress.update()

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study is the only state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune saves what it runs with, but a search never goes on from Tune's state."""
        return {}


def _compute(config: Mapping[str, Any], *, search: Search, data: Data, n_threads: int) -> None:
    """One trial, in a process of its own."""
    steps = 0

    def watch(value: float) -> None:
        nonlocal steps
        steps += 1
        tune.report({STEP: steps, VALUE: value})

    if search.cell.network is not None:
        import torch

        torch.set_num_threads(max(1, n_threads))
    try:
        found = evaluate(search, config["point"], data, watch)
    except Exception:
        tune.report({STEP: steps + 1, VALUE: None, _ERROR: traceback.format_exc()})
    else:
        tune.report({STEP: steps + 1, VALUE: found.value, _DONE: found})


def _scheduler(kind: Scheduler, grace: int) -> TrialScheduler:
    where = {"time_attr": STEP, "metric": VALUE, "mode": "max", "grace_period": grace}
    if kind == "asha":
        return ASHAScheduler(**where, max_t=_NEVER, reduction_factor=REDUCTION)
    if kind == "median":
        return MedianStoppingRule(**where, min_samples_required=N_BEFORE_MEDIAN)
    return FIFOScheduler()


def _short_name(trial: Any) -> str:
    return f"trial-{trial.trial_id}"
