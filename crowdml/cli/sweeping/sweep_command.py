"""`crowdml sweep`: the options of the main job."""

from __future__ import annotations

import argparse
import os

from crowdml.cli.parser import not_negative, positive

EXAMPLES = """examples:
  crowdml sweep                                                the grid that fits this machine
  crowdml sweep --preset labels --dry-run                      hours and money before anything runs
  crowdml sweep --preset laptop --only 'method == "labnet" and n_workers > 3' --priority seed
  crowdml sweep --methods mv em labnet --workers 3 7 --noise-rates 0.3 0.6
  crowdml sweep --grid my_grid.toml --results s3://bucket/crowdml --gpus-per-trial 0.25

crowdml presets, crowdml methods and crowdml datasets list the names; crowdml simulate --help lists noise patterns,
worker models and assignments.  An unknown name is answered with the nearest names.

exit code: 0 all cells have a result, 2 bad input, 3 some cells failed, 130 interrupted, 143 terminated"""

AXES = (
    "datasets", "patterns", "noise_rates", "workers", "missing_rates", "worker_models", "assignments", "methods",
    "seeds",
)  # fmt: skip
"""Options that replace an axis of the grid."""
GRID_OPTIONS = ("only", "method_options", *AXES, "labels_per_item", "network", "epochs", "n_train")
"""Options that change a grid."""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the parser of this command."""
    command = commands.add_parser(
        "sweep",
        description="Run a grid of label-noise experiments on Ray and write one Parquet row per cell.  Cells that the\n"
        "results folder has are not computed again, so the same command goes on after an interruption.",
        epilog=EXAMPLES,
    )
    add_grid_options(command)
    command.add_argument(
        "--results",
        default=os.environ.get("CROWDML_RESULTS", "results"),
        metavar="DIR|URI",
        help="results folder, s3://... or gs://... (default: $CROWDML_RESULTS or results/)",
    )
    what = command.add_argument_group("what to run")
    what.add_argument("--write-grid", metavar="FILE", help="write the grid as a TOML file to start from, and stop")
    what.add_argument("--dry-run", action="store_true", help="print the cells and an estimate of time; run nothing")
    again = what.add_mutually_exclusive_group()
    again.add_argument("--retry-failed", action="store_true", help="run only the cells that failed before")
    again.add_argument("--recompute", action="store_true", help="also run cells that have a result")
    what.add_argument(
        "--price-per-gpu-hour", type=not_negative, metavar="X", help="price of one GPU, for the estimate of --dry-run"
    )
    what.add_argument(
        "--price-per-cpu-hour",
        type=not_negative,
        metavar="X",
        help="price of one processor, for the estimate of --dry-run",
    )
    what.add_argument(
        "--tensorboard",
        metavar="DIR",
        help="folder of the run's TensorBoard scalars (default: RESULTS/tensorboard if RESULTS is a local folder)",
    )
    place = command.add_argument_group("where to run")
    place.add_argument(
        "--address",
        help='Ray cluster: host:port, "auto" for the cluster of this machine, or "local" to start a Ray for this run '
        "(default: $RAY_ADDRESS, else auto if this machine is in a cluster, else local)",
    )
    place.add_argument(
        "--backend", choices=("ray", "inline"), default="ray", help="inline: in this process, without Ray"
    )
    place.add_argument("--cpus-per-trial", type=positive, default=1, metavar="N", help="default: 1")
    place.add_argument(
        "--gpus-per-trial",
        type=_share_of_gpu,
        metavar="X",
        help="GPUs of a training trial; a share packs several trials on one GPU, 2 and more train with DDP (default: "
        "auto, as many trials per GPU as its memory holds, by earlier results or a short probe)",
    )
    place.add_argument(
        "--train-workers", type=positive, metavar="N", help="Ray Train workers per training cell (default: its GPUs)"
    )


def run(options: argparse.Namespace) -> int:
    """Run the sweep."""
    # The run needs Ray and torch; the help does not.
    from crowdml.cli.sweeping.sweep import run

    return run(options)


def add_grid_options(command: argparse.ArgumentParser) -> None:
    """Add the options that name a grid of cells and change it."""
    grid = command.add_argument_group("grid")
    grid.add_argument("--preset", help="grid to run (default: paper if there is a GPU, else laptop)")
    grid.add_argument("--grid", metavar="FILE", help="a grid of your own, a TOML file such as examples/my_grid.toml")
    grid.add_argument(
        "--allow-imports",
        action="store_true",
        help="let a grid file name methods your.module:Class, which runs their code",
    )
    grid.add_argument(
        "--only", metavar="QUERY", help="only the cells for which it holds: 'method == \"labnet\" and n_workers > 3'"
    )
    grid.add_argument(
        "--method-options",
        metavar="FILE",
        help="options of methods and recipes, a TOML file as crowdml tune writes it",
    )
    grid.add_argument(
        "--priority",
        nargs="+",
        default=[],
        type=_criterion,
        metavar="AXIS",
        help="which cells run first: seed (the lowest), n_workers- (the highest), method=labnet,em (these, in order)",
    )
    axes = command.add_argument_group("axes (each replaces an axis of the grid)")
    axes.add_argument("--datasets", nargs="+", metavar="NAME", help="data sets, and crowds of real workers")
    axes.add_argument(
        "--patterns",
        nargs="+",
        metavar="NAME",
        help="noise patterns; real for real workers; machine_annotators for trained classifiers",
    )
    axes.add_argument("--noise-rates", nargs="+", type=float, metavar="RATE", help="in [0, 1)")
    axes.add_argument("--workers", nargs="+", type=int, metavar="N", help="number of workers, at least 1")
    axes.add_argument(
        "--missing-rates", nargs="+", type=float, metavar="RATE", help="share of labels missing, in [0, 1)"
    )
    axes.add_argument("--worker-models", nargs="+", metavar="NAME", help="how workers differ, such as homogeneous")
    axes.add_argument("--assignments", nargs="+", metavar="NAME", help="who labels what, such as every_item")
    axes.add_argument(
        "--labels-per-item", type=positive, metavar="N", help="for assignments in which not every worker is asked"
    )
    axes.add_argument("--methods", nargs="+", metavar="NAME", help="mv, em, labnet, em+base, your.module:Class, ...")
    axes.add_argument("--seeds", nargs="+", type=int, metavar="N")
    training = command.add_argument_group("training (each replaces the setting of the data set)")
    training.add_argument("--network", metavar="NAME", help="network for all data sets")
    training.add_argument(
        "--epochs", type=positive, metavar="N", help="epochs per training; the schedule shrinks in proportion"
    )
    training.add_argument("--n-train", type=positive, metavar="N", help="training items to use")


def _criterion(text: str) -> str:
    """Return a priority as `sweeps.grid.selection.order` takes it.

    argparse would read a word that begins with a minus as an option, so the command line writes the minus at the end.
    """
    return f"-{text.removesuffix('-')}" if text.endswith("-") else text


def _share_of_gpu(text: str) -> float | None:
    return None if text == "auto" else not_negative(text)
