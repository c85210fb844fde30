"""List the data sets: images with true classes, true classes alone, and crowds of real workers.

A missing data set is downloaded at its first use, if its publisher allows that.

examples:
  crowdml datasets
  crowdml datasets web rte
  CROWDML_DATA_ROOT=/data crowdml datasets
"""

from __future__ import annotations

import argparse
from pathlib import Path

from crowdml import datasets
from crowdml.cli.display import Console, show, speak, table
from crowdml.datasets import Description, images
from crowdml.datasets.download import ROOT_VARIABLE, data_root
from crowdml.support.names import check_name

DETAILS = ("summary", "n_items", "n_known", "n_workers", "n_annotations", "n_classes", "origin", "licence", "citation")


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    command.add_argument(
        "names", nargs="*", metavar="NAME", help="show all facts about these: origin, licence, citation"
    )


def run(options: argparse.Namespace) -> None:
    """Print one row per data set, or all facts about the named data sets."""
    console = Console()
    every = {row.name: row for row in datasets.describe()}
    for name in options.names:
        _describe(console, every[check_name("data set", name, every)])
    if options.names:
        return
    numbers = ("items", "workers", "labels", "classes")
    rows = []
    for row in every.values():
        sizes = map(_number, (row.n_items, row.n_workers, row.n_annotations, row.n_classes))
        rows.append((row.name, row.kind, *sizes, "yes" if at_hand(row) else "no", row.licence or ""))
    heads = ("name", "kind", *numbers, "at hand", "licence")
    show(console, table(heads, rows, numbers=numbers, names=("name", "kind", "at hand"), cut=("licence",)))
    speak(console, f"\nfiles lie in {data_root()}; {ROOT_VARIABLE} names another folder")


def at_hand(row: Description) -> bool:
    """Return whether a data set can be loaded without a download."""
    source = datasets.crowd_source(row.name) if row.kind == "crowd" else images.files(row.name)
    return source is None or all(Path(data_root(), source.folder, name).is_file() for name in source.files)


def _describe(console: Console, row: Description) -> None:
    speak(console, f"{row.name} ({row.kind}), {'at hand' if at_hand(row) else 'not at hand'}")
    for name in DETAILS:
        value = getattr(row, name)
        if value is not None:
            says = f"{value:,}" if isinstance(value, int) else value
            speak(console, f"  {name.removeprefix('n_'):<12} {says}")


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
