"""The command line of `tune_method`: its options, and the search that they describe."""

from __future__ import annotations

import argparse
from typing import get_args

from crowdml import datasets, methods
from crowdml.cli.arguments import OneLineParser, positive
from crowdml.experiment.cell import Cell
from crowdml.experiment.crowd_types import REAL
from crowdml.learning.recipe import Recipe
from crowdml.noise import ASSIGNMENTS, PATTERNS, WORKER_MODELS
from crowdml.support.names import check_name
from sweeps.grid.grids import Block
from sweeps.tuning.samplers import Sampler
from sweeps.tuning.search import Objective, Search, make_search
from sweeps.tuning.search_inline import Scheduler

USUAL_RECIPE = ("lr", "weight_decay", "momentum", "batch_size")
"""What `--recipe` searches if no field is named; not the epochs, of which more are mostly better."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = OneLineParser(
        prog="tune_method.py",
        description="Search a method's options on one crowd, without a look at the test labels, and write the best\n"
        "into a file that full_grid.py --method-options takes.  Run again, it goes on with its study;\n"
        "several drivers that name one study share its trials.",
        epilog="exit code: 0 done, 2 bad input, 3 no trial succeeded, 130 interrupted",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--method", required=True, metavar="NAME", help="nnaqc, em, labnet, em+elr, ...")
    crowd = command.add_argument_group("crowd")
    crowd.add_argument("--dataset", required=True, metavar="NAME", help="a data set, or a crowd of real workers")
    crowd.add_argument(
        "--pattern", metavar="NAME", help=f"{', '.join(PATTERNS)}, machine_annotators (default: real of real crowds)"
    )
    crowd.add_argument("--noise-rate", type=float, metavar="RATE", help="in [0, 1)")
    crowd.add_argument("--workers", type=int, metavar="N", help="number of workers (default: all of a real crowd)")
    crowd.add_argument("--missing-rate", type=float, default=0.0, metavar="RATE", help="in [0, 1), default 0")
    crowd.add_argument("--worker-model", default="homogeneous", metavar="NAME", help=", ".join(WORKER_MODELS))
    crowd.add_argument("--assignment", default="every_item", metavar="NAME", help=", ".join(ASSIGNMENTS))
    crowd.add_argument("--n-train", type=int, metavar="N", help="training items used (default: all)")
    what = command.add_argument_group("what is searched, and what it is judged by")
    what.add_argument("--options", nargs="+", metavar="NAME", help="only these options (default: all with a range)")
    what.add_argument(
        "--recipe", nargs="*", metavar="NAME",
        help=f"of the training besides: {', '.join(Recipe.SPACE)} (default: {' '.join(USUAL_RECIPE)})",
    )  # fmt: skip
    what.add_argument(
        "--objective", choices=get_args(Objective), default="noisy_validation",
        help="on items held out: agreement with their crowd (of an aggregator: likelihood of annotations held out), "
        "or accuracy by their true classes",
    )  # fmt: skip
    what.add_argument("--validation", type=float, default=0.2, metavar="SHARE", help="held out, default 0.2")
    what.add_argument("--multi-objective", action="store_true", help="seconds count too: finds the Pareto front")
    what.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N", help="a trial is their mean, default 0")
    what.add_argument("--test-seeds", nargs="+", type=int, metavar="N", help="of the test at the end, default --seeds")
    what.add_argument("--network", metavar="NAME", help="an aggregator is judged by its labels unless this is given")
    what.add_argument("--epochs", type=positive, metavar="N", help="epochs a training; the schedule shrinks with it")
    how = command.add_argument_group("how")
    how.add_argument("--trials", type=positive, default=50, metavar="N", help="of all drivers and runs, default 50")
    how.add_argument("--sampler", choices=get_args(Sampler), default="tpe")
    how.add_argument(
        "--scheduler", choices=get_args(Scheduler),
        help="which trials are stopped early (default: asha with a network and one objective, else none); pbt trains "
        "a population whose options change meanwhile",
    )  # fmt: skip
    how.add_argument("--search-seed", type=int, default=0, metavar="N", help="of the sampler, default 0")
    how.add_argument(
        "--study", metavar="FILE|URL", help="a file, or a database such as sqlite:///s.db (default: beside --out)"
    )
    how.add_argument("--out", default="best.toml", metavar="FILE", help="of the best options, default best.toml")
    how.add_argument("--dry-run", action="store_true", help="print the space and what is done; run nothing")
    place = command.add_argument_group("where")
    place.add_argument("--address", help='Ray cluster: host:port, "auto", or "local" to start one for this search')
    place.add_argument("--backend", choices=("ray", "inline"), default="ray", help="inline: in this process")
    place.add_argument("--cpus-per-trial", type=positive, default=1, metavar="N", help="default 1")
    place.add_argument("--gpus-per-trial", type=float, metavar="X", help="default: 1 if there are GPUs")
    return command


def search_of(options: argparse.Namespace) -> Search:
    """The search that the options describe.

    Raises:
        ValueError: an unknown name or a value out of range.
    """
    recipe = () if options.recipe is None else tuple(options.recipe) or USUAL_RECIPE
    return make_search(
        _cell(options),
        seeds=options.seeds,
        objective=options.objective,
        options=options.options,
        recipe=recipe,
        share=options.validation,
    )


def scheduler_of(options: argparse.Namespace, search: Search) -> Scheduler:
    """Which trials are stopped early.

    Raises:
        ValueError: one that does not go with the objectives, the backend or the seeds.
    """
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
        datasets=(name,),
        patterns=(pattern,),
        noise_rates=(options.noise_rate,),
        workers=(options.workers,),
        missing_rates=(options.missing_rate,),
        worker_models=(options.worker_model,),
        assignments=(options.assignment,),
        methods=(options.method,),
        seeds=(options.seeds[0],),
        train=trains,
        network=options.network,
        epochs=options.epochs if trains else None,
        n_train=options.n_train,
    )
    (cell,) = block.cells()
    return cell
