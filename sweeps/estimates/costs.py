"""Estimate the seconds of a cell from timings of similar cells in the results, else from a probe, else from constants.

The sizes of the shards, the dry run and the ETA use the estimates.  The ETA also uses the timings of finished cells.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import log
from typing import Literal, NamedTuple

import pandas as pd

from crowdml import methods
from crowdml.datasets import crowd_names, crowd_source, n_classes, n_train_items
from crowdml.experiment.cell import COLUMNS, Cell
from crowdml.experiment.crowd_types import MACHINES
from crowdml.noise import make_assignment
from sweeps.estimates.devices import is_gpu

# Seconds, on one core of a 2024 server processor.
_SECONDS_FIXED = 0.01
_SECONDS_SIMULATE = 6e-7  # per annotation
_SECONDS_MACHINE = 2e-5  # per label of a machine annotator; cells of a group share the annotators
_SECONDS_ITERATION = 4e-9  # per annotation and class, for one EM iteration
_SECONDS_IMAGE = {  # per image, forward and backward
    "cnn_digits": 5e-5, "lenet": 5e-4, "cnn8": 1e-2, "resnet20": 4e-3, "resnet32": 6e-3, "resnet44": 9e-3,
    "cifar_quick": 1e-3, "lc_cnn": 4e-3, "cnn6_dropout": 2e-3, "cnn7": 8e-3, "cnn9": 5e-2, "resnet9": 3e-2,
    "mlp128": 2e-5, "mlp128_bn": 2e-5, "mlp256": 3e-5, "mlp500_300": 7e-5,
}  # fmt: skip
_GPU_SPEEDUP = 200.0
# Work of a label source: number of EM iterations, and number of network trainings.
_ITERATIONS = {
    "mv": 1, "em": 10, "em_hard": 8, "spectral_em": 12, "wawa": 2, "minimax_entropy": 30, "minimax_cv": 300,
    "minimax_conditional": 60, "minimax_ordinal": 60, "ebcc": 400, "laa": 250, "bila": 150, "mace": 100,
    "labnet": 10, "labnet_instance": 10,
}  # fmt: skip
_TRAININGS = {"labnet": 4, "labnet_instance": 8, "crowdlab": 4, "mbem": 2}
# Number of networks that a learner trains; each network sees all images.
_NETWORKS = {
    "forward": 2, "backward": 2, "s_model": 2, "c_model": 3, "s_model_em": 6, "jocor": 2, "jocor3": 3,
    "jocor3_circular": 3, "jocor3_ce": 3, "co_teaching": 2, "co_teaching_plus": 2, "decoupling": 2, "divide_mix": 8,
}  # fmt: skip

Source = Literal["measured", "scaled", "probe", "constants"]
"""The source of an estimate: timings of equal cells, of similar cells, a probe of the network, or constants."""
NetworkKind = tuple[str, str]
"""Data set and name of the network."""
Speeds = Mapping[NetworkKind, float]
"""Network on a data set -> training images per second of one network."""


class Estimate(NamedTuple):
    """Wall seconds of a cell in one process, and the source of this estimate."""

    seconds: float
    source: Source


_KEYS = {name: column for name, column in COLUMNS.items() if column.axis.costs}

Work = namedtuple("Work", [*_KEYS, "machines"])
"""The properties that the seconds of a cell depend on; cells with equal work take equally long.

The fields are the axes that are declared with `costs`, and whether machine annotators must be trained.
"""


def work_of(cell: Cell) -> Work:
    """Return the properties that the seconds of a cell depend on."""
    return Work(*(column.value(cell) for column in _KEYS.values()), cell.crowd.pattern == MACHINES)


def _without_sizes(work: Work) -> Work:
    """Return the work without training items, workers and epochs, because known seconds are scaled by these sizes."""
    recipe = None if work.recipe is None else replace(work.recipe, epochs=1, milestones=(), decay_from=0)
    return work._replace(n_train=None, n_workers=None, recipe=recipe)


@dataclass(frozen=True)
class CostModel:
    """Estimates the seconds of cells.

    Args:
        measured: work -> median seconds of the cells with this work.
        gpu: whether networks are trained on a GPU.
        speeds: speeds of networks, from cells of other methods in the results.
        probed: speeds of networks, from a probe of this machine.
    """

    measured: Mapping[Work, float] = field(default_factory=dict)
    gpu: bool = False
    speeds: Speeds = field(default_factory=dict)
    probed: Speeds = field(default_factory=dict)

    def seconds(self, cell: Cell) -> float:
        """Return the estimated wall seconds of a cell in one process."""
        return self.estimate(cell).seconds

    def source(self, cell: Cell) -> Source:
        """Return the source of the estimate of a cell."""
        return self.estimate(cell).source

    def estimate(self, cell: Cell) -> Estimate:
        """Return the estimated seconds of a cell and the source of the estimate."""
        work = work_of(cell)
        known = self._estimates.get(work)
        if known is None:
            known = self._estimates[work] = self._estimate(work)
        return known

    @cached_property
    def _estimates(self) -> dict[Work, Estimate]:
        return {}

    @cached_property
    def _similar(self) -> dict[Work, list[tuple[float, float]]]:
        """Work without its sizes -> (seconds by constants or speeds, measured seconds) of each known work."""
        pairs: dict[Work, list[tuple[float, float]]] = {}
        for work, seconds in self.measured.items():
            # The results may hold data sets that this version does not know.
            with suppress(ValueError):
                pairs.setdefault(_without_sizes(work), []).append((self._guess(work), seconds))
        return pairs

    def _estimate(self, work: Work) -> Estimate:
        if work in self.measured:
            return Estimate(self.measured[work], "measured")
        guess = self._guess(work)
        similar = self._similar.get(_without_sizes(work))
        if similar:
            # The nearest in size needs the least scaling.
            guessed, seconds = min(similar, key=lambda pair: abs(log(pair[0] / guess)))
            return Estimate(seconds * guess / guessed, "scaled")
        return Estimate(guess, self._source_of_speed(work))

    def _source_of_speed(self, work: Work) -> Source:
        kind = (work.dataset, work.network)
        return "probe" if kind in self.probed else "scaled" if kind in self.speeds else "constants"

    def _guess(self, work: Work) -> float:
        n_items, n_annotations, classes = _sizes(work)
        source, learner = methods.parts(work.method)
        per_label = _SECONDS_MACHINE if work.machines else _SECONDS_SIMULATE
        seconds = _SECONDS_FIXED + n_annotations * (
            per_label + _SECONDS_ITERATION * classes * _ITERATIONS.get(source, 20)
        )
        if work.network is not None and work.recipe is not None:
            trainings = _TRAININGS.get(source, 1) * _NETWORKS.get(learner, 1)
            seconds += trainings * work.recipe.epochs * n_items * self._seconds_image(work.dataset, work.network)
        return seconds

    def _seconds_image(self, dataset: str, network: str) -> float:
        speed = self.probed.get((dataset, network)) or self.speeds.get((dataset, network))
        if speed:
            return 1 / speed
        return _SECONDS_IMAGE.get(network, 1e-2) / (_GPU_SPEEDUP if self.gpu else 1)


def learn_costs(results: pd.DataFrame, *, gpu: bool) -> CostModel:
    """Return a CostModel with the timings of results, without a probe.

    Args:
        results: the rows of `ResultStore.read_cells`.
        gpu: whether networks will be trained on a GPU.  Timings of networks on the other kind of device are not used.
    """
    ok = results[(results["status"] == "ok") & (results["seconds"] > 0)]
    on_gpu = ok["device"].isin([name for name in ok["device"].dropna().unique() if is_gpu(name)])
    trains = ok["network"].notna()
    alike = ok[~trains | (on_gpu == gpu)]
    return CostModel(measured=_measured(alike), gpu=gpu, speeds=_speeds(alike))


def networks_at_once(method: str) -> int:
    """Return the number of networks that a method trains; each network sees all images."""
    return _NETWORKS.get(methods.parts(method)[1], 1)


def _measured(rows: pd.DataFrame) -> dict[Work, float]:
    frame = rows.assign(machines=rows["pattern"] == MACHINES).astype({"n_train": object, "n_workers": object})
    medians = frame.groupby(list(Work._fields), dropna=False)["seconds"].median().reset_index()
    measured: dict[Work, float] = {}
    for row in medians.to_dict("records"):
        # Another version of crowdml may have written a value that this version does not know.
        with suppress(ValueError):
            work = Work(*(column.load(row[name]) for name, column in _KEYS.items()), bool(row["machines"]))
            measured[work] = float(row["seconds"])
    return measured


def _speeds(rows: pd.DataFrame) -> Speeds:
    alone = [name for name in rows["method"].unique() if networks_at_once(name) == 1]
    timed = rows[rows["network"].notna() & (rows["images_per_second"] > 0) & rows["method"].isin(alone)]
    medians = timed.groupby(["dataset", "network"], as_index=False)["images_per_second"].median()
    return {(dataset, network): float(speed) for dataset, network, speed in medians.itertuples(index=False)}


def _sizes(work: Work) -> tuple[int, int, int]:
    """Return the numbers of items, annotations and classes, before labels are removed."""
    if work.dataset in crowd_names():
        crowd = crowd_source(work.dataset)
        return crowd.n_items, crowd.n_annotations, crowd.n_classes
    assert work.n_workers is not None
    n_items = work.n_train or n_train_items(work.dataset)
    n_labels = make_assignment(work.assignment, dict(work.assignment_options)).n_labels(work.n_workers)
    return n_items, n_items * n_labels, n_classes(work.dataset)
