"""Cells, results and methods for tests; the methods are named `tests.cells:Name` in a grid."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from crowdml.aggregation import Aggregation, MajorityVote
from crowdml.experiment.cell import Cell, cell_of
from crowdml.experiment.result import CellResult
from crowdml.labels import CrowdLabels
from sweeps.store.provenance import Provenance

DEFAULTS = {"dataset": "digits", "pattern": "uniform", "noise_rate": 0.6, "n_workers": 3, "method": "mv", "seed": 0}
PROVENANCE = Provenance(git_commit="abc", git_dirty=False, versions={"numpy": "2"}, fingerprints={"digits": "f00d"})


def cell(**changes: Any) -> Cell:
    """Return a label-only cell on the digits with some values of its columns changed."""
    return cell_of({**DEFAULTS, **changes})


def result(**changes: Any) -> CellResult:
    """A result of `cell(**changes)` as if it had been computed."""
    return CellResult(
        cell=cell(**changes),
        status="ok",
        aggregation_error=0.25,
        seconds=1.5,
        curves=((1, "test_accuracy", 0.5), (2, "test_accuracy", 0.75)),
        workers=((0, 0.4, 0.45), (1, 0.4, float("nan"))),
    )


@dataclass(frozen=True)
class Raises:
    """An aggregator with a bug."""

    def fit(self, crowd: CrowdLabels, prior: Any = None) -> Aggregation:
        raise RuntimeError("a bug in the method")


@dataclass(frozen=True)
class OutOfMemory:
    """An aggregator that asks for more memory than there is."""

    def fit(self, crowd: CrowdLabels, prior: Any = None) -> Aggregation:
        np.empty(2**60, np.int8)
        raise AssertionError("that allocation must fail")


@dataclass(frozen=True)
class NotANumber:
    """An aggregator whose posterior is NaN."""

    def fit(self, crowd: CrowdLabels, prior: Any = None) -> Aggregation:
        voted = MajorityVote().fit(crowd)
        return replace(voted, rows=np.full_like(voted.posterior, np.nan))


@dataclass(frozen=True)
class KillsItsProcess:
    """What the kernel does to a process that uses up the machine's memory."""

    def fit(self, crowd: CrowdLabels, prior: Any = None) -> Aggregation:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


@dataclass(frozen=True)
class Slow:
    """Majority vote that takes its time."""

    seconds: float = 0.3

    def fit(self, crowd: CrowdLabels, prior: Any = None) -> Aggregation:
        time.sleep(self.seconds)
        return MajorityVote().fit(crowd)


@dataclass(frozen=True)
class RightOnceTold:
    """Fails until a file exists, as a method does that its author then mends."""

    def fit(self, crowd: CrowdLabels, prior: Any = None) -> Aggregation:
        if not Path(os.environ["CROWDML_TEST_FLAG"]).exists():
            raise RuntimeError("not mended yet")
        return MajorityVote().fit(crowd)
