"""Command-line options that name a grid of cells and change the grid."""

from __future__ import annotations

import argparse

from crowdml.cli.parser import positive
from crowdml.experiment.axes import Axis, CellError, Kind
from sweeps.grid.grids import AXES, axis_options

OTHER_OPTIONS = ("only", "method_options", "labels_per_item", "network", "epochs", "n_train")
"""Options that change a grid and are not axes."""


def add_grid_options(command: argparse.ArgumentParser) -> None:
    """Add the options that name a grid of cells and change the grid."""
    grid = command.add_argument_group("grid")
    grid.add_argument("--preset", help="grid to run (default: paper if there is a GPU, else laptop)")
    grid.add_argument("--grid", metavar="FILE", help="a grid of your own, a TOML file such as examples/my_grid.toml")
    grid.add_argument(
        "--allow-imports", action="store_true",
        help="let a grid file name methods as your.module:Class, whose code then runs",
    )  # fmt: skip
    grid.add_argument(
        "--only", metavar="QUERY", help="select cells by a condition: 'method == \"labnet\" and n_workers > 3'"
    )
    grid.add_argument(
        "--method-options", metavar="FILE", help="options of methods and recipes, a TOML file as crowdml tune writes it"
    )
    grid.add_argument(
        "--priority", nargs="+", default=[], type=_criterion, metavar="AXIS",
        help="which cells run first: seed (lowest first), n_workers- (highest first), method=labnet,em (in this order)",
    )  # fmt: skip
    axes = command.add_argument_group("axes (each replaces an axis of the grid)")
    for name, column in axis_options().items():
        kind = {Kind.WHOLE: int, Kind.NUMBER: float}.get(column.axis.kind, str)
        axes.add_argument(
            f"--{name.replace('_', '-')}", nargs="+", type=kind, metavar="X", help=_described(column.axis)
        )
    axes.add_argument(
        "--labels-per-item", type=positive, metavar="N", help="for assignments that do not ask every worker"
    )
    training = command.add_argument_group("training (each replaces the setting of the data set)")
    training.add_argument("--network", metavar="NAME", help="network for all data sets")
    training.add_argument(
        "--epochs", type=positive, metavar="N", help="epochs per training; the schedule shrinks in proportion"
    )
    training.add_argument("--n-train", type=positive, metavar="N", help="training items to use")


def named_by_option(error: CellError, options: argparse.Namespace) -> str:
    """Return the text of an error, with the option of the wrong field in front of it."""
    axis = next((axis for axis, field in AXES.items() if field == error.field), error.field)
    if getattr(options, axis, None) is None:
        return str(error)
    return f"--{axis.replace('_', '-')}: {error}"


def _described(axis: Axis) -> str:
    if axis.names:
        return f"{axis.help}: {', '.join(axis.names)}"
    if axis.at_least is None:
        return axis.help
    low, high = f"{axis.at_least:g}", axis.below
    return f"{axis.help}, at least {low}" if high is None else f"{axis.help}, in [{low}, {high:g})"


def _criterion(text: str) -> str:
    """Move a minus from the end to the start, because argparse takes a word that begins with a minus as an option."""
    return f"-{text.removesuffix('-')}" if text.endswith("-") else text
