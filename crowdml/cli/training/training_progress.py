"""How far a training is: a bar with the time left where somebody looks, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from crowdml.cli.display import speak

SHOWN = ("train_loss", "validation_loss", "test_accuracy")
"""The metrics that are shown."""

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_UPDATES = 0.1


class TrainingProgress:
    """Takes `Task.tick` and `Task.report`, keeps the points of the curves, and shows the rest.

    Args:
        console: where.
        bars: the bars on it, or None to write lines.
    """

    def __init__(self, console: Console, bars: Progress | None) -> None:
        self._console, self._bars = console, bars
        self._latest: dict[str, float] = {}
        self._stage = -1
        self._began = self._spoke = self._updated = 0.0
        self._began_at = 0.0
        self._bar = bars.add_task("training", total=1.0, visible=False) if bars else None

    def report(self, step: int, metric: str, value: float) -> None:
        """A point of a curve."""
        if metric in SHOWN:
            self._latest[metric] = value

    def tick(self, stage: int, done: float) -> None:
        """The share of a training that is done; called at every step, so it looks at the clock and mostly returns."""
        now = time.monotonic()
        if stage != self._stage:
            self._begin(stage, now, done)
        if self._bars is not None:
            if now - self._updated >= _SECONDS_BETWEEN_UPDATES or done >= 1:
                self._updated = now
                assert self._bar is not None
                self._bars.update(self._bar, completed=done, description=self._says())
        elif now - self._spoke >= _SECONDS_BETWEEN_LINES or done >= 1:
            self._spoke = now
            # What an earlier sitting did took no time here.
            here = done - self._began_at
            left = (now - self._began) * (1 - done) / here if here > 0 else 0.0
            speak(self._console, f"{self._says()}: {100 * done:.0f} %, {_duration(left)} left")

    def _begin(self, stage: int, now: float, done: float) -> None:
        self._stage, self._began, self._began_at = stage, now, done
        self._spoke = now
        if self._bars is not None:
            assert self._bar is not None
            self._bars.reset(self._bar, visible=True)

    def _says(self) -> str:
        metrics = "".join(f", {name} {value:.4g}" for name, value in self._latest.items())
        return f"training {self._stage + 1}{metrics}"


@contextmanager
def watch_training(console: Console | None = None) -> Iterator[TrainingProgress]:
    """The progress of the trainings in the block, on standard error."""
    place = console or Console(stderr=True)
    if not place.is_terminal:
        yield TrainingProgress(place, None)
        return
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), *times)
    with Progress(*columns, console=place, transient=True) as bars:
        yield TrainingProgress(place, bars)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
