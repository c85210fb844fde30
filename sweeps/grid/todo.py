"""What of a grid is left to compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from crowdml.experiment.cell import Cell

Which = Literal["missing", "failed", "all"]


@dataclass(frozen=True)
class Plan:
    """The grid, and what of it is left.

    Args:
        cells: all cells of the grid.
        todo: those to compute now.
        n_ok, n_failed: those with a result from an earlier run, and those that failed in one.
    """

    cells: list[Cell]
    todo: list[Cell]
    n_ok: int
    n_failed: int


def make_plan(cells: Sequence[Cell], known: pd.DataFrame, which: Which = "missing") -> Plan:
    """Compare the grid with the results.

    Args:
        cells: of the grid, each once.
        known: rows of `ResultStore.read_cells`.
        which: cells without a row, those that failed, or all whether done or not.
    """
    status = dict(zip(known["cell_id"], known["status"], strict=True))
    of_cells = [status.get(cell.id) for cell in cells]
    wanted = {"missing": {None}, "failed": {"failed"}, "all": {None, "failed", "ok"}}[which]
    return Plan(
        cells=list(cells),
        todo=[cell for cell, found in zip(cells, of_cells, strict=True) if found in wanted],
        n_ok=of_cells.count("ok"),
        n_failed=of_cells.count("failed"),
    )
