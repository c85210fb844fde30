"""`crowdml presets`: list the grids that `crowdml sweep` has ready."""

from __future__ import annotations

import argparse

from rich.console import Console

from crowdml.cli.display import show, table
from crowdml.support.names import check_name
from sweeps.grid.presets import PRESETS


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the parser of this command."""
    command = commands.add_parser(
        "presets",
        description="List the grids that crowdml sweep --preset takes.",
        epilog="examples:\n  crowdml presets\n  crowdml presets laptop",
    )
    command.add_argument("names", nargs="*", metavar="NAME", help="list only these")


def run(options: argparse.Namespace) -> None:
    """Print one row per preset: name, number of cells, what the grid is."""
    chosen = [check_name("preset", name, PRESETS) for name in options.names] or PRESETS
    rows = [(name, f"{len(PRESETS[name].cells()):,}", PRESETS[name].description) for name in chosen]
    show(Console(), table(("name", "cells", "grid"), rows, numbers=("cells",), names=("name",)))
