"""Join the many small files of a results folder, so that reading it is faster.

No result changes.  A sweep may write into the folder at the same time.

example:
  crowdml results compact results
"""

from __future__ import annotations

import argparse


from crowdml.cli.display import Console, speak


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    command.add_argument("results", metavar="RESULTS", help="results folder, local or s3://... or gs://...")
    command.add_argument(
        "--drop-superseded", action="store_true",
        help="leave out attempts that a better or newer attempt of the same cell replaced",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Compact the folder and print how many files it had and has."""
    from crowdml.cli.open_results import open_results
    from sweeps.store.compaction import compact

    done = compact(open_results(options.results), drop_superseded=options.drop_superseded)
    console = Console()
    for table, before in done.before.items():
        speak(console, f"{table}: {before} files before, {done.after[table]} now")
    if options.drop_superseded:
        speak(console, f"{done.dropped} rows of superseded attempts dropped")
    for part in done.damaged:
        speak(console, f"left as it is: {part}")
    return int(bool(done.damaged))
