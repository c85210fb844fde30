"""Copy the computed cells of several results folders into one folder.

Each attempt is copied once, with its origin.  A second run copies only new attempts.

example:
  crowdml results merge mine yours --out both
"""

from __future__ import annotations

import argparse


from crowdml.cli.display import Console, speak


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    command.add_argument("sources", nargs="+", metavar="RESULTS", help="folders to read, local or s3://... or gs://...")
    command.add_argument("--out", required=True, metavar="RESULTS", help="target: a new folder or a results folder")


def run(options: argparse.Namespace) -> None:
    """Merge the folders and print what was added."""
    from crowdml.cli.open_results import open_results
    from sweeps.store.merging import merge

    target = open_results(options.out, must_exist=False)
    added = merge([open_results(source) for source in options.sources], target)
    speak(
        Console(),
        f"added {added['cells']} attempts, {added['curves']} points of curves and {added['workers']} rows of workers "
        f"to {target.public_location}, which now has {len(target.status())} cells",
    )
