"""Check that a results folder is complete and correct.

The report lists damaged or changed files, damaged rows, missing columns, attempts recorded twice, rows whose id is not the
hash of their axes, curves without a cell, leftovers of interrupted writes, and failed cells.  With --preset or
--grid, the report also lists the missing cells of that grid.

examples:
  crowdml results verify results --repair
  crowdml results verify results --preset laptop

exit code: 0 all well, 1 something is damaged, wrong, missing or failed
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING


from crowdml.cli.display import Console, speak, step
from crowdml.cli.sweeping.grid_options import OTHER_OPTIONS, add_grid_options
from sweeps.grid.grids import axis_options

if TYPE_CHECKING:
    from crowdml.experiment.cell import Cell
    from sweeps.store.result_store import ResultStore
    from sweeps.store.verification import Verification

LINES_SHOWN = 20


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    command.add_argument("results", metavar="RESULTS", help="results folder, local or s3://... or gs://...")
    command.add_argument(
        "--repair", action="store_true",
        help="move damaged files and rows to RESULTS/damaged/ and delete leftovers of interrupted writes",
    )  # fmt: skip
    add_grid_options(command)


def run(options: argparse.Namespace) -> int:
    """Verify the folder, print every finding, and repair it if asked to.  Return 1 if something is wrong."""
    from crowdml.cli.open_results import open_results
    from sweeps.store.schema import TABLES
    from sweeps.store.verification import verify

    console = Console()
    grid = _grid(options, console)
    store = open_results(options.results)
    n_files = sum(len(store.parts(table)) for table in TABLES)
    n_read = 0
    with step("reading") as progress:

        def count_file() -> None:
            nonlocal n_read
            n_read += 1
            progress(n_read, n_files)

        found = verify(store, grid, each=count_file)
    _print(found, grid, console)
    if options.repair:
        _repair(store, found, console)
    return 0 if found.sound else 1


def _grid(options: argparse.Namespace, console: Console) -> list[Cell] | None:
    from crowdml.cli.sweeping.grid_choice import choose_cells

    if options.preset is None and options.grid is None:
        given = [f"--{name.replace('_', '-')}" for name in (*axis_options(), *OTHER_OPTIONS) if getattr(options, name)]
        if given:
            raise ValueError(f"{', '.join(given)} alone names no grid; give --preset or --grid too")
        return None
    return choose_cells(options, 0, "", console).cells


def _print(found: Verification, grid: list[Cell] | None, console: Console) -> None:
    speak(console, f"{found.n_files} files, {found.n_cells} cells, {found.n_attempts} attempts")
    _listed("damaged files", [f"{part.path}: {part.reason}" for part in found.damaged], console)
    _listed("damaged rows", [str(row) for rows in found.damaged_rows.values() for row in rows], console)
    _listed("attempts recorded with different rows", found.conflicting, console)
    _listed("rows whose id is not the hash of their axes", found.wrong_ids, console)
    _listed("failed cells", found.failed, console)
    if grid is not None:
        n_there = len(grid) - len(found.missing)
        speak(console, f"{n_there} of the grid's {len(grid)} cells are there")
        _listed("missing cells", _by_kind(found.missing), console, len(found.missing))
    notes = {
        "cells of another version of their method": found.n_older,
        "attempts in two files; compact joins them": found.n_twice,
        "attempts with curves or workers and no cell, of interrupted writes": found.n_orphans,
        "temporary files of interrupted writes": len(found.stale),
    }
    for what, number in notes.items():
        if number:
            speak(console, f"note: {number} {what}")
    speak(console, "all well" if found.sound else "NOT all well")


def _listed(what: str, lines: Sequence[str], console: Console, number: int | None = None) -> None:
    if not lines:
        return
    speak(console, f"{len(lines) if number is None else number} {what}:")
    for line in lines[:LINES_SHOWN]:
        speak(console, f"  {line}")
    if len(lines) > LINES_SHOWN:
        speak(console, f"  ... and {len(lines) - LINES_SHOWN} more")


def _by_kind(cells: list[Cell]) -> list[str]:
    counts = Counter((cell.dataset, cell.network, cell.method) for cell in cells)
    return [f"{dataset}, {network or 'labels only'}, {method}: {n}" for (dataset, network, method), n in counts.items()]


def _repair(store: ResultStore, found: Verification, console: Console) -> None:
    from sweeps.store.parts import Part

    for part in found.damaged:
        speak(console, f"moved to {store.set_aside(part.path)}")
    for table, rows in found.damaged_rows.items():
        for path in dict.fromkeys(row.path for row in rows):
            moved = store.set_aside_rows(table, Part(path, size=None))
            speak(console, f"moved to {moved}; its sound rows are in a new file")
    for path in found.stale:
        store.delete(path)
        speak(console, f"deleted {path}")
    if found.damaged or any(found.damaged_rows.values()):
        speak(console, "run the sweep again to compute the cells that were moved aside")
