"""`python -m sweeps compact RESULTS`: merge the many small files of a results folder."""

from __future__ import annotations

import argparse
from typing import Any

from rich.console import Console


def add_parser(commands: Any) -> None:
    """Add the command's parser to argparse's subparsers."""
    parser = commands.add_parser(
        "compact",
        allow_abbrev=False,
        help="merge many small files into few large ones",
        description="Merge the files of a results folder, so that it is read faster. Changes no result, and may run "
        "while a sweep writes.",
    )
    parser.add_argument("results", metavar="RESULTS", help="results folder, local or s3://... or gs://...")
    parser.add_argument(
        "--drop-superseded",
        action="store_true",
        help="leave out attempts that a better or newer one of the same cell replaced",
    )


def run(options: argparse.Namespace, console: Console) -> int:
    """Compact, and say how many files there were and are."""
    from crowdml.cli.results_folder.folders import existing
    from sweeps.store.compaction import compact

    done = compact(existing(options.results), drop_superseded=options.drop_superseded)
    for table, before in done.before.items():
        console.print(f"{table}: {before} files before, {done.after[table]} now", markup=False, highlight=False)
    if options.drop_superseded:
        console.print(f"{done.dropped} rows of superseded attempts dropped", markup=False, highlight=False)
    for part in done.damaged:
        console.print(f"left as it is: {part}", markup=False, highlight=False, soft_wrap=True)
    return int(bool(done.damaged))
