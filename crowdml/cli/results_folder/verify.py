"""`python -m sweeps verify RESULTS`: is everything there, whole and right?"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from crowdml.experiment.cell import Cell
    from sweeps.store.result_store import ResultStore
    from sweeps.store.verification import Verification

LINES_SHOWN = 20


def add_parser(commands: Any) -> None:
    """Add the command's parser to argparse's subparsers."""
    parser = commands.add_parser(
        "verify",
        allow_abbrev=False,
        usage="%(prog)s RESULTS [--repair] [--preset PRESET | --grid FILE, and axes as full_grid.py takes them]",
        help="read every file, check every row, find missing cells",
        description="Check a results folder: every file readable and as it was written, the columns, attempts recorded "
        "twice, rows whose id is not the hash of their axes, curves without a cell, leftovers of interrupted writes, "
        "failed cells. With a grid, also which of its cells are missing. "
        "Exit code: 0 all well, 1 something is damaged, wrong, missing or failed.",
    )
    parser.add_argument("results", metavar="RESULTS", help="results folder, local or s3://... or gs://...")
    parser.add_argument(
        "--repair",
        action="store_true",
        help="move damaged files to RESULTS/damaged/ and delete leftovers of interrupted writes",
    )
    parser.set_defaults(takes_grid=True)


def run(options: argparse.Namespace, console: Console) -> int:
    """Verify, print every finding, repair if asked to."""
    from rich.progress import Progress

    from crowdml.cli.results_folder.folders import existing
    from sweeps.store.schema import TABLES
    from sweeps.store.verification import verify

    grid = _grid(options.grid, console) if options.grid else None
    store = existing(options.results)
    n_files = sum(len(store.parts(table)) for table in TABLES)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading", total=n_files)
        found = verify(store, grid, each=lambda: progress.advance(task))
    _print(found, grid, console)
    if options.repair:
        _repair(store, found, console)
    return 0 if found.sound else 1


def _grid(words: list[str], console: Console) -> list[Cell]:
    """The cells that full_grid.py would run with these words."""
    from crowdml.cli.sweeping import sweep_options as command_line
    from crowdml.cli.sweeping.grid_choice import choose_cells

    chosen = command_line.parser().parse_args(words)
    if chosen.preset is None and chosen.grid is None:
        raise ValueError(f"{' '.join(words)} alone names no grid; give --preset or --grid too")
    return choose_cells(chosen, 0, "", console).cells


def _print(found: Verification, grid: list[Cell] | None, console: Console) -> None:
    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    say(f"{found.n_files} files, {found.n_cells} cells, {found.n_attempts} attempts")
    _listed("damaged files", [f"{part.path}: {part.reason}" for part in found.damaged], say)
    _listed("attempts recorded with different rows", found.conflicting, say)
    _listed("rows whose id is not the hash of their axes", found.wrong_ids, say)
    _listed("failed cells", found.failed, say)
    if grid is not None:
        n_there = len(grid) - len(found.missing)
        say(f"{n_there} of the grid's {len(grid)} cells are there")
        _listed("missing cells", _by_kind(found.missing), say, len(found.missing))
    notes = {
        "cells of another version of their method": found.n_older,
        "attempts in two files; compact joins them": found.n_twice,
        "attempts with curves or workers and no cell, of interrupted writes": found.n_orphans,
        "temporary files of interrupted writes": len(found.stale),
    }
    for what, number in notes.items():
        if number:
            say(f"note: {number} {what}")
    say("all well" if found.sound else "NOT all well")


def _listed(what: str, lines: list[str], say: Any, number: int | None = None) -> None:
    if not lines:
        return
    say(f"{len(lines) if number is None else number} {what}:")
    for line in lines[:LINES_SHOWN]:
        say(f"  {line}")
    if len(lines) > LINES_SHOWN:
        say(f"  ... and {len(lines) - LINES_SHOWN} more")


def _by_kind(cells: list[Cell]) -> list[str]:
    counts = Counter((cell.dataset, cell.network, cell.method) for cell in cells)
    return [f"{dataset}, {network or 'labels only'}, {method}: {n}" for (dataset, network, method), n in counts.items()]


def _repair(store: ResultStore, found: Verification, console: Console) -> None:
    for part in found.damaged:
        console.print(f"moved to {store.set_aside(part.path)}", markup=False, highlight=False, soft_wrap=True)
    for path in found.stale:
        store.delete(path)
        console.print(f"deleted {path}", markup=False, highlight=False, soft_wrap=True)
    if found.damaged:
        console.print("the sweep run again computes the cells of the files moved aside", highlight=False)
