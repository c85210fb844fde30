"""`python -m sweeps merge A B --out C`: the union of results folders."""

from __future__ import annotations

import argparse
from typing import Any

from rich.console import Console


def add_parser(commands: Any) -> None:
    """Add the command's parser to argparse's subparsers."""
    parser = commands.add_parser(
        "merge",
        allow_abbrev=False,
        help="bring the results of several folders into one",
        description="Bring every computed cell of several results folders into one, each attempt once, with where it "
        "comes from. Run again, it adds only what is new.",
    )
    parser.add_argument("sources", nargs="+", metavar="RESULTS", help="folders to read, local or s3://... or gs://...")
    parser.add_argument("--out", required=True, metavar="RESULTS", help="folder to add to; new, or a results folder")


def run(options: argparse.Namespace, console: Console) -> int:
    """Merge, and say what was added."""
    from crowdml.cli.results_folder.folders import existing
    from sweeps.store.merging import merge
    from sweeps.store.result_store import ResultStore

    target = ResultStore(options.out)
    added = merge([existing(source) for source in options.sources], target)
    console.print(
        f"added {added['cells']} attempts, {added['curves']} points of curves and {added['workers']} rows of workers "
        f"to {target.public_location}, which now has {len(target.status())} cells",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return 0
