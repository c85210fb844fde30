"""List the grids that crowdml sweep --preset takes.

examples:
  crowdml presets
  crowdml presets laptop
"""

from __future__ import annotations

import argparse

from crowdml.cli.display import Console, show, table
from crowdml.support.names import check_name
from sweeps.grid.presets import PRESETS


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    command.add_argument("names", nargs="*", metavar="NAME", help="list only these")


def run(options: argparse.Namespace) -> None:
    """Print one row per preset: name, number of cells, what the grid is."""
    chosen = [check_name("preset", name, PRESETS) for name in options.names] or PRESETS
    rows = [(name, f"{len(PRESETS[name].cells()):,}", PRESETS[name].description) for name in chosen]
    show(Console(), table(("name", "cells", "grid"), rows, numbers=("cells",), names=("name",)))
