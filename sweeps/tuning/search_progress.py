"""SearchProgress: one line about a search."""

from __future__ import annotations

import time

from optuna.trial import TrialState
from rich.console import Console

from crowdml.support.live_text import LiveText, clock_time
from sweeps.tuning.study import COPY_OF, ERROR, SECONDS, SharedStudy


class SearchProgress(LiveText):
    """Show the trials that are done, running, stopped early and failed, the best value, and the time left.

    Call `update` whenever a trial begins or ends.  The line counts the trials of all drivers.
    """

    detail = ""
    """How far the running trials are, if the caller knows it."""

    def __init__(self, console: Console, study: SharedStudy) -> None:
        self._study = study
        self._start = time.monotonic()
        super().__init__(console, self.line)

    def line(self) -> str:
        """Return the progress line."""
        trials, best = self._study.finished_trials(), self._study.best()
        n_stopped = sum(trial.state == TrialState.PRUNED for trial in trials)
        n_failed = sum(ERROR in trial.user_attrs for trial in trials)
        seconds_left = self.seconds_left()
        parts = [
            f"{len(trials)}/{self._study.n_trials} trials",
            f"{self._study.n_running()} running",
            self.detail,
            f"{n_stopped} stopped early" if n_stopped else "",
            f"{n_failed} failed" if n_failed else "",
            f"best {best.values[0]:.4f} (trial {best.number})" if best is not None else "",
            f"{clock_time(time.monotonic() - self._start)} elapsed",
            f"ETA {clock_time(seconds_left)}" if seconds_left is not None else "",
        ]
        return " · ".join(part for part in parts if part)

    def seconds_left(self) -> float | None:
        """Estimate the wall seconds left from the mean trial so far; None if no trial is done or no trial is left."""
        trials = self._study.finished_trials()
        attributes = [trial.user_attrs for trial in trials]
        seconds = [each[SECONDS] for each in attributes if SECONDS in each and COPY_OF not in each]
        n_left = self._study.n_trials - len(trials)
        if not seconds or n_left <= 0:
            return None
        return n_left * sum(seconds) / len(seconds) / max(self._study.n_running(), 1)
