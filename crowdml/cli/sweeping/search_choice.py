"""Make the search from the options of `crowdml tune`."""

from __future__ import annotations

import argparse

from crowdml import datasets, methods
from crowdml.experiment.cell import Cell
from crowdml.experiment.crowd_types import REAL
from crowdml.noise import PATTERNS
from crowdml.support.names import check_name
from sweeps.grid.grids import Block
from sweeps.tuning.search import Search, make_search
from sweeps.tuning.search_inline import Scheduler

USUAL_RECIPE = ("lr", "weight_decay", "momentum", "batch_size")
"""The fields that `--recipe` without names searches.  Epochs are left out, because more epochs are mostly better."""


def search_of(options: argparse.Namespace) -> Search:
    """Return the search of the options; raise ValueError for an unknown name or a value out of range."""
    recipe = () if options.recipe is None else tuple(options.recipe) or USUAL_RECIPE
    return make_search(
        _cell(options), seeds=options.seeds, objective=options.objective, options=options.options,
        recipe=recipe, share=options.validation,
    )  # fmt: skip


def scheduler_of(options: argparse.Namespace, search: Search) -> Scheduler:
    """Return the scheduler, which stops trials early; raise ValueError if the objectives or the backend forbid it."""
    one_objective = not options.multi_objective
    chosen: Scheduler = options.scheduler or ("asha" if one_objective and search.cell.network is not None else "none")
    if chosen != "none" and not one_objective:
        raise ValueError(f"--scheduler {chosen} compares one objective; leave it out with --multi-objective")
    if chosen == "pbt" and options.backend != "ray":
        raise ValueError("--scheduler pbt changes the options of trials that run side by side; it needs --backend ray")
    return chosen


def _cell(options: argparse.Namespace) -> Cell:
    name = check_name("data set", options.dataset, [*datasets.names(), *datasets.crowd_names()])
    pattern = options.pattern or (REAL if name in datasets.crowd_names() else None)
    if pattern is None:
        raise ValueError(f"--pattern is needed: the workers of {name} are simulated (there are: {', '.join(PATTERNS)})")
    trains = options.network is not None or methods.needs_network(options.method)
    block = Block(
        datasets=(name,), patterns=(pattern,), noise_rates=(options.noise_rate,), workers=(options.workers,),
        missing_rates=(options.missing_rate,), worker_models=(options.worker_model,),
        assignments=(options.assignment,), methods=(options.method,), seeds=(options.seeds[0],), train=trains,
        network=options.network, epochs=options.epochs if trains else None, n_train=options.n_train,
    )  # fmt: skip
    (cell,) = block.cells()
    return cell
