"""Show the progress of a training, read from its run folder, in this process or in another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from crowdml.cli.display import Console
from crowdml.support.heartbeat import heartbeat
from crowdml.support.live_text import LiveText, clock_time
from crowdml.training.run_folder import RunFolder

SHOWN = {"train_loss": "loss", "validation_loss": "validation loss", "test_accuracy": "test accuracy"}
"""The metrics that are shown, and their names on the screen."""


class TrainingProgress:
    """The progress of the training in a folder, as one line of text; `clock` returns seconds that never decrease."""

    def __init__(self, folder: RunFolder, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._training = -1
        self._began = self._began_at = 0.0
        self._line = "starting"

    def line(self) -> str:
        """Return the progress at the last call of `look`."""
        return self._line

    def look(self) -> bool:
        """Read the progress from the folder; return whether a training has begun."""
        found = self._folder.share()
        if found is None:
            return False
        training, share = found
        now = self._clock()
        if training != self._training:
            self._training, self._began, self._began_at = training, now, share
        # Count only the work since the first look, because the time is counted from there.
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

        with heartbeat(look, seconds=1.0, name="progress"):
            yield
