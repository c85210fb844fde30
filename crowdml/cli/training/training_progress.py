"""Show how far a training is, from what its run folder says, in this process or in others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from crowdml.support.heartbeat import heartbeat
from crowdml.support.live_text import LiveText, clock_time
from crowdml.training.run_folder import RunFolder

SHOWN = {"train_loss": "loss", "validation_loss": "validation loss", "test_accuracy": "test accuracy"}
"""The metrics that are shown, and their names on the screen."""

_SECONDS_BETWEEN_LOOKS = 1.0


class TrainingProgress:
    """The state of a training as one line of text.

    Args:
        folder: the folder of the run.
        clock: returns seconds that never go back.
    """

    def __init__(self, folder: RunFolder, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._training = -1
        self._began = self._began_at = 0.0
        self._line = "starting"

    def line(self) -> str:
        """Return the state at the last look."""
        return self._line

    def look(self) -> bool:
        """Read the state from the folder; return whether a training has begun."""
        found = self._folder.share()
        if found is None:
            return False
        training, share = found
        now = self._clock()
        if training != self._training:
            self._training, self._began, self._began_at = training, now, share
        # What was done before the first look took none of the time since.
        done = share - self._began_at
        left = clock_time((now - self._began) * (1 - share) / done) if done > 0 else "unknown"
        points = self._folder.curves()
        latest = {metric: value for _, metric, value in points if metric in SHOWN}
        parts = [f"training {training + 1}", *([f"epoch {points[-1][0]} done"] if points else [])]
        parts += [f"{SHOWN[metric]} {value:.4g}" for metric, value in latest.items()]
        self._line = f"{', '.join(parts)}: {100 * share:.0f} %, time left {left}"
        return True


@contextmanager
def watch_training(folder: RunFolder, console: Console | None = None) -> Iterator[None]:
    """Show the progress of the run in a folder while the block runs, on standard error."""
    progress = TrainingProgress(folder)
    with LiveText(console or Console(stderr=True), progress.line, last_line=False) as shown:

        def look() -> None:
            if progress.look():
                shown.update()

        with heartbeat(look, seconds=_SECONDS_BETWEEN_LOOKS, name="progress"):
            yield
