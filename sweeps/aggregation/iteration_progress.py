"""IterationProgress: one line about an iterative method."""

from __future__ import annotations

import math
import time

from rich.console import Console

from crowdml.support.live_text import LiveText, clock_time

_RECENT = 6
"""Number of recent iterations from which the rate of convergence is estimated."""


class IterationProgress(LiveText):
    """Show the number of iterations, the largest change of a posterior probability, and the time left.

    The method stops after `max_iter` iterations, or when the largest change is at most `tol`.
    """

    def __init__(self, console: Console, max_iter: int, tol: float) -> None:
        self._max_iter, self._tol = max_iter, tol
        self._phase = "starting"
        self._changes: list[float] = []
        self._start = self._first_iteration = time.monotonic()
        super().__init__(console, self.line)

    def phase(self, text: str) -> None:
        """Show the name of a phase that has no iterations."""
        self._phase = text
        self._first_iteration = time.monotonic()
        self.update()

    def add(self, change: float) -> None:
        """Count one iteration with its largest change."""
        self._phase = ""
        self._changes.append(change)
        self.update()

    def seconds_left(self) -> float | None:
        """Return the seconds left if the change continues to fall at its recent rate; None before two iterations."""
        n_done = len(self._changes)
        if n_done < 2:
            return None
        n_left, n_recent = self._max_iter - n_done, min(n_done, _RECENT)
        last, earlier = self._changes[-1], self._changes[-n_recent]
        if 0 < last < earlier and self._tol > 0:
            rate = math.log(earlier / last) / (n_recent - 1)
            n_left = min(n_left, math.ceil(max(math.log(last / self._tol), 0) / rate))
        return n_left * (time.monotonic() - self._first_iteration) / n_done

    def line(self) -> str:
        """Return the progress line."""
        elapsed = f"{clock_time(time.monotonic() - self._start)} elapsed"
        if self._phase:
            return f"{self._phase} · {elapsed}"
        line = f"iteration {len(self._changes)} · largest change {self._changes[-1]:.1e} · {elapsed}"
        left = self.seconds_left()
        converged = self._changes[-1] <= self._tol
        return line if left is None or converged else f"{line} · at most {clock_time(left)} left"
