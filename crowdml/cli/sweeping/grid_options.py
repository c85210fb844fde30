"""The options that name a grid of cells and change it."""

from __future__ import annotations

import argparse

from crowdml.cli.parser import positive

AXES = (
    "datasets", "patterns", "noise_rates", "workers", "missing_rates", "worker_models", "assignments", "methods",
    "seeds",
)  # fmt: skip
"""Options that replace an axis of the grid."""
GRID_OPTIONS = ("only", "method_options", *AXES, "labels_per_item", "network", "epochs", "n_train")
"""Options that change a grid."""


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
