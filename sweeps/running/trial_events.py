"""Pass Tune's events in the driver on to the progress view, and stop a run that cannot write results."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray import tune

from sweeps.watching.progress import Progress

LOOK_SECONDS = 2.0
"""Seconds between two looks at which resources of the cluster are in use."""


class TrialEvents(tune.Callback):
    """Passes Tune's events to the progress view.

    Attributes:
        unwritable: why results cannot be written; None until a trial reports it.
    """

    def __init__(self, progress: Progress) -> None:
        self.unwritable: str | None = None
        self._progress = progress
        self._looked = 0.0
        self._started = False

    def __getstate__(self) -> dict[str, Any]:
        """Return no state: Tune pickles its callbacks, but a run never resumes from Tune's state."""
        return {}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Update the progress view, at most every LOOK_SECONDS."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._look(trials)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Update the progress view when the first shard starts, because the time in cells counts from then on."""
        if not self._started:
            self._started = True
            # Tune counts this trial as running only after this call.
            self._look(trials, n_starting=1)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Record the cells that a trial has written."""
        # Tune keeps the last result of each trial until the end, which would be a second copy of all outcomes.  So the
        # outcomes are removed from both of Tune's records.
        outcomes = [kept.pop("outcomes", None) for kept in (result, trial.last_result or {})]
        self._progress.record(outcomes[0] or outcomes[1] or [])
        self.unwritable = self.unwritable or result.get("unwritable")

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Update the progress view: nothing runs any more."""
        self._look(trials)

    def _look(self, trials: list[Any], *, n_starting: int = 0) -> None:
        self._looked = time.monotonic()
        total, free = ray.cluster_resources(), ray.available_resources()
        of = {name: total.get(name, 0.0) for name in ("CPU", "GPU")}
        self._progress.set_running(
            running=sum(trial.status == "RUNNING" for trial in trials) + n_starting,
            pending=sum(trial.status == "PENDING" for trial in trials) - n_starting,
            cpus_used=of["CPU"] - free.get("CPU", 0.0),
            cpus=of["CPU"],
            gpus_used=of["GPU"] - free.get("GPU", 0.0),
            gpus=of["GPU"],
        )


class StopWhere(tune.Stopper):
    """Stops all trials when one trial cannot write results."""

    def __init__(self, events: TrialEvents) -> None:
        self._events = events

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False: no single trial is stopped."""
        return False

    def stop_all(self) -> bool:
        """Return whether to stop all trials."""
        return self._events.unwritable is not None
