"""One line of a search: trials done, stopped and failed, the best so far, and when it will be over."""

from __future__ import annotations

import time
from datetime import timedelta
from types import TracebackType

from optuna.trial import TrialState
from rich.console import Console
from rich.live import Live
from rich.text import Text

from sweeps.tuning.study import COPY_OF, ERROR, TOOK, SharedStudy

PLAIN_LINE_SECONDS = 15.0


class TuningProgress:
    """A live line in a terminal, else a plain line now and then.

    Args:
        console: where to.
        shared: the study, which holds the trials of other drivers too.
    """

    def __init__(self, console: Console, shared: SharedStudy) -> None:
        self._console, self._shared = console, shared
        self._start = time.monotonic()
        self._printed = -PLAIN_LINE_SECONDS
        self._text = self._within = ""
        self._live = Live(
            get_renderable=lambda: Text(self._text), console=console, refresh_per_second=2, transient=True
        )

    def __enter__(self) -> TuningProgress:
        self._text = self.text()
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()
        self._within = ""
        self._console.print(self.text(), highlight=False, soft_wrap=True)

    def update(self, within: str = "") -> None:
        """Look at the study anew; to be called when a trial begins or ends.

        Args:
            within: how far the trials that run are, where somebody knows.
        """
        self._within = within
        self._text = self.text()
        now = time.monotonic()
        if not self._console.is_terminal and now - self._printed >= PLAIN_LINE_SECONDS:
            self._printed = now
            self._console.print(self._text, highlight=False, soft_wrap=True)

    def text(self) -> str:
        """The line."""
        shared = self._shared
        done, n_running = shared.trials(), shared.n_running()
        n_stopped = sum(trial.state == TrialState.PRUNED for trial in done)
        n_failed = sum(ERROR in trial.user_attrs for trial in done)
        parts = [f"{len(done)}/{shared.n_trials} trials", f"{n_running} running"]
        parts += [self._within] if self._within else []
        parts += [f"{n_stopped} stopped early"] if n_stopped else []
        parts += [f"{n_failed} failed"] if n_failed else []
        best = shared.best()
        if best is not None:
            parts.append(f"best {best.values[0]:.4f} (trial {best.number})")
        parts.append(f"{_clock(time.monotonic() - self._start)} elapsed")
        left = self.seconds_left()
        if left is not None:
            parts.append(f"ETA {_clock(left)}")
        return " · ".join(parts)

    def seconds_left(self) -> float | None:
        """Wall seconds until the end, by the mean trial so far; None before the first is done and at the end."""
        done = self._shared.trials()
        took = [
            trial.user_attrs[TOOK] for trial in done if TOOK in trial.user_attrs and COPY_OF not in trial.user_attrs
        ]
        n_left = self._shared.n_trials - len(done)
        if not took or n_left <= 0:
            return None
        return n_left * sum(took) / len(took) / max(self._shared.n_running(), 1)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds))).removeprefix("0:")
