"""Observers: who is told how a training goes, and where the training keeps its state.  Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ReportPoint = Callable[[int, str, float], None]
"""`report(step, metric, value)` receives one point of a learning curve; steps count epochs over all trainings."""

Tick = Callable[[int, float], None]
"""`tick(training, done)` is called after each step; `done` is the share of the training that is finished, in [0, 1]."""


def ignore_point(step: int, metric: str, value: float) -> None:
    """Discard a point of a learning curve."""


def ignore_tick(training: int, done: float) -> None:
    """Discard a sign of progress."""


@dataclass(frozen=True, eq=False)
class Observers:
    """Who is told how a training goes, and where the training keeps its state.  Observers do not change the results.

    Args:
        report: receives the points of the learning curves.
        tick: is called after each step.
        checkpoints: folder for the state of each training, so that an interrupted run can continue; None keeps none.
    """

    report: ReportPoint = ignore_point
    tick: Tick = ignore_tick
    checkpoints: Path | None = None
