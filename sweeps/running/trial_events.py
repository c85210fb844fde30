"""What Tune tells the driver while trials run: passed on to the progress view, and the reason to stop."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray import tune

from sweeps.watching.progress import Progress

LOOK_SECONDS = 2.0
"""How often the cluster is asked what is in use."""


class TrialEvents(tune.Callback):
    """Feeds Tune's events, which arrive in the driver, to the progress view.

    Attributes:
        unwritable: why results cannot be written, once a trial has found so.
    """

    def __init__(self, progress: Progress) -> None:
        self.unwritable: str | None = None
        self._progress = progress
        self._looked = 0.0
        self._started = False

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune saves its callbacks, but a run is never restored from Tune's state."""
        return {}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune did something: now and then say what runs."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._look(trials)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A process has begun with a shard; with the first the time begins that is shared out."""
        if not self._started:
            self._started = True
            # Tune calls it running only after this.
            self._look(trials, n_starting=1)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Some of a shard's cells are done and written."""
        # Tune keeps the last result of every trial until the end; of thousands that would be a copy of all outcomes.
        outcomes, errors = (_take(name, result, trial.last_result) for name in ("outcomes", "errors"))
        self._progress.record(outcomes or [], errors=errors or {})
        self.unwritable = self.unwritable or result.get("unwritable")

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """All trials have ended."""
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
    """Ends all trials when one found that results cannot be written."""

    def __init__(self, events: TrialEvents) -> None:
        self._events = events

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """A single trial is never stopped."""
        return False

    def stop_all(self) -> bool:
        """Whether all are."""
        return self._events.unwritable is not None


def _take(name: str, *results: dict[str, Any] | None) -> Any:
    """The value, taken out of all of them."""
    taken = [result.pop(name, None) for result in results if result is not None]
    return next((value for value in taken if value is not None), None)
