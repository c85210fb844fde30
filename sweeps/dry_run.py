"""What a run would do, before it does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from crowdml.experiment import Cell


def print_dry_run(
    console: Console,
    cells: Sequence[Cell],
    todo: Sequence[Cell],
    n_ok: int,
    n_failed: int,
    seconds: Callable[[Cell], float],
    n_slots: int,
) -> None:
    """Print the number of cells, what is done, and how long the rest takes.

    Args:
        console: where to.
        cells: the whole grid.
        todo: what would be computed.
        n_ok, n_failed: cells with a result, and cells that failed before.
        seconds: estimated wall seconds of a cell in one process.
        n_slots: processes at a time.
    """
    table = Table("data set", "network", "method", "cells", "to compute", "estimated time", box=None)
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.dataset, cell.network or "-", cell.method), []).append(cell)
    left = {cell.id for cell in todo}
    for key, group in groups.items():
        mine = [cell for cell in group if cell.id in left]
        table.add_row(*key, str(len(group)), str(len(mine)), duration(sum(map(seconds, mine))))
    console.print(table)
    total = sum(map(seconds, todo))
    console.print(
        f"{len(cells)} cells: {n_ok} done, {n_failed} failed before, {len(todo)} to compute; "
        f"about {duration(total)} of work, {duration(total / n_slots)} on {n_slots} at a time",
        highlight=False,
    )


def duration(seconds: float) -> str:
    """Seconds, minutes, hours or days, to two figures."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
