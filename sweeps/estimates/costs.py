"""How long a cell takes: by the timings of similar cells in the results, else by a probe, else by rough constants.

The estimate sizes shards and feeds the dry run and the ETA; the ETA corrects itself by what cells really took.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import log
from typing import Any, Literal, NamedTuple

import pandas as pd

from crowdml import methods
from crowdml.datasets import crowd_names, crowd_source, n_classes, n_train_items
from crowdml.experiment.cell import MACHINES, Cell
from crowdml.learning.recipe import Recipe
from crowdml.noise import make_assignment
from sweeps.estimates.devices import is_gpu

# Seconds, on one core of a 2024 server processor.
_SECONDS_FIXED = 0.01
_SECONDS_SIMULATE = 6e-7  # an annotation
_SECONDS_MACHINE = 2e-5  # a label of a machine annotator, whom the cells of a group share
_SECONDS_ITERATION = 4e-9  # an annotation and class, of one EM iteration
_SECONDS_IMAGE = {  # forward and backward
    "cnn_digits": 5e-5, "lenet": 5e-4, "cnn8": 1e-2, "resnet20": 4e-3, "resnet32": 6e-3, "resnet44": 9e-3,
    "cifar_quick": 1e-3, "lc_cnn": 4e-3, "cnn6_dropout": 2e-3, "cnn7": 8e-3, "cnn9": 5e-2, "resnet9": 3e-2,
    "mlp128": 2e-5, "mlp128_bn": 2e-5, "mlp256": 3e-5, "mlp500_300": 7e-5,
}  # fmt: skip
_GPU_SPEEDUP = 200.0
# Relative work of a source: EM iterations it does, and networks it trains.
_ITERATIONS = {
    "mv": 1, "em": 10, "em_hard": 8, "spectral_em": 12, "wawa": 2, "minimax_entropy": 30, "minimax_cv": 300,
    "minimax_conditional": 60, "minimax_ordinal": 60, "ebcc": 400, "laa": 250, "bila": 150, "mace": 100,
    "labnet": 10, "labnet_instance": 10,
}  # fmt: skip
_TRAININGS = {"labnet": 4, "labnet_instance": 8, "crowdlab": 4, "mbem": 2}
# Networks that a learner trains, each on all images.
_NETWORKS = {
    "forward": 2, "backward": 2, "s_model": 2, "c_model": 3, "s_model_em": 6, "jocor": 2, "jocor3": 3,
    "jocor3_circular": 3, "jocor3_ce": 3, "co_teaching": 2, "co_teaching_plus": 2, "decoupling": 2, "divide_mix": 8,
}  # fmt: skip

Source = Literal["measured", "scaled", "probe", "constants"]
"""What an estimate rests on: cells just like it, cells similar to it, a probe of its network, or constants."""
Kind = tuple[str, str]
"""Data set and network."""
Speeds = Mapping[Kind, float]
"""Training images a second of one network, by kind."""


class Estimate(NamedTuple):
    """Wall seconds of a cell in one process, and what they rest on."""

    seconds: float
    source: Source


class Work(NamedTuple):
    """What the seconds of a cell depend on; cells that agree in it take equally long."""

    dataset: str
    n_train: int | None
    network: str | None
    recipe: Recipe | None
    method: str
    n_workers: int | None
    assignment: str
    assignment_options: tuple[tuple[str, Any], ...]
    machines: bool

    def without_sizes(self) -> Work:
        """The work but for its training items, workers and epochs, by which known seconds can be scaled."""
        recipe = None if self.recipe is None else replace(self.recipe, epochs=1, milestones=(), decay_from=0)
        return self._replace(n_train=None, n_workers=None, recipe=recipe)


@dataclass(frozen=True)
class CostModel:
    """Estimates seconds a cell.

    Args:
        measured: work -> median seconds of such cells.
        gpu: whether networks are trained on a GPU.
        speeds: of networks, from cells of other methods in the results.
        probed: of networks, from a probe of this machine.
    """

    measured: Mapping[Work, float] = field(default_factory=dict)
    gpu: bool = False
    speeds: Speeds = field(default_factory=dict)
    probed: Speeds = field(default_factory=dict)

    def seconds(self, cell: Cell) -> float:
        """Estimated wall seconds of the cell in one process."""
        return self.estimate(cell).seconds

    def source(self, cell: Cell) -> Source:
        """What that estimate rests on."""
        return self.estimate(cell).source

    def estimate(self, cell: Cell) -> Estimate:
        """Both."""
        work = _work_of_cell(cell)
        known = self._estimates.get(work)
        if known is None:
            known = self._estimates[work] = self._estimate(work)
        return known

    @cached_property
    def _estimates(self) -> dict[Work, Estimate]:
        return {}

    @cached_property
    def _similar(self) -> dict[Work, list[tuple[float, float]]]:
        """Work without its sizes -> (seconds by constants or speeds, measured seconds) of all that is known of it."""
        pairs: dict[Work, list[tuple[float, float]]] = {}
        for work, seconds in self.measured.items():
            # Results may hold data sets that this crowdml does not know.
            with suppress(ValueError):
                pairs.setdefault(work.without_sizes(), []).append((self._guess(work), seconds))
        return pairs

    def _estimate(self, work: Work) -> Estimate:
        if work in self.measured:
            return Estimate(self.measured[work], "measured")
        guess = self._guess(work)
        similar = self._similar.get(work.without_sizes())
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
    """A CostModel that knows the timings in a frame of `ResultStore.read_cells`, and of no probe.

    Args:
        results: rows of cells.
        gpu: whether networks will be trained on a GPU; cells trained on the other kind of device tell nothing then.
    """
    ok = results[(results["status"] == "ok") & (results["seconds"] > 0)]
    on_gpu = ok["device"].isin([name for name in ok["device"].dropna().unique() if is_gpu(name)])
    trains = ok["network"].notna()
    alike = ok[~trains | (on_gpu == gpu)]
    return CostModel(measured=_measured(alike), gpu=gpu, speeds=_speeds(alike))


def networks_at_once(method: str) -> int:
    """Networks that a method trains side by side or one after the other, each on all images."""
    return _NETWORKS.get(methods.parts(method)[1], 1)


def _measured(rows: pd.DataFrame) -> dict[Work, float]:
    frame = rows.assign(machines=rows["pattern"] == MACHINES).astype({"n_train": object, "n_workers": object})
    medians = frame.groupby(list(Work._fields), dropna=False)["seconds"].median().reset_index()
    measured: dict[Work, float] = {}
    for row in medians.to_dict("records"):
        # Another version of crowdml may have written a recipe that this one does not know.
        with suppress(ValueError, TypeError):
            measured[_work_of_row({str(name): value for name, value in row.items()})] = float(row["seconds"])
    return measured


def _speeds(rows: pd.DataFrame) -> Speeds:
    alone = [name for name in rows["method"].unique() if networks_at_once(name) == 1]
    timed = rows[rows["network"].notna() & (rows["images_per_second"] > 0) & rows["method"].isin(alone)]
    medians = timed.groupby(["dataset", "network"], as_index=False)["images_per_second"].median()
    return {(dataset, network): float(speed) for dataset, network, speed in medians.itertuples(index=False)}


def _work_of_row(row: Mapping[str, Any]) -> Work:
    present = {name: row[name] for name in Work._fields if not pd.isna(row[name])}
    n_train, n_workers, recipe = (present.get(name) for name in ("n_train", "n_workers", "recipe"))
    return Work(
        dataset=present["dataset"],
        n_train=None if n_train is None else int(n_train),
        network=present.get("network"),
        recipe=None if recipe is None else Recipe(**json.loads(recipe)),
        method=present["method"],
        n_workers=None if n_workers is None else int(n_workers),
        assignment=present["assignment"],
        assignment_options=tuple(sorted(json.loads(present["assignment_options"]).items())),
        machines=bool(present["machines"]),
    )


def _work_of_cell(cell: Cell) -> Work:
    return Work(
        cell.dataset,
        cell.n_train,
        cell.network,
        cell.recipe,
        cell.method,
        cell.n_workers,
        cell.assignment,
        cell.assignment_options,
        cell.pattern == MACHINES,
    )


def _sizes(work: Work) -> tuple[int, int, int]:
    """Items, annotations and classes, before labels are removed."""
    if work.dataset in crowd_names():
        crowd = crowd_source(work.dataset)
        return crowd.n_items, crowd.n_annotations, crowd.n_classes
    assert work.n_workers is not None
    n_items = work.n_train or n_train_items(work.dataset)
    n_labels = make_assignment(work.assignment, dict(work.assignment_options)).n_labels(work.n_workers)
    return n_items, n_items * n_labels, n_classes(work.dataset)
