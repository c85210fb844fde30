"""Find the cells of a grid that are left to compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from crowdml.experiment.cell import Cell

Which = Literal["missing", "failed", "all"]


@dataclass(frozen=True)
class Plan:
    """The cells of a grid, and the cells that are left to compute.

    Args:
        cells: all cells of the grid.
        todo: the cells to compute now.
        n_ok, n_failed: number of cells that succeeded and that failed in earlier runs.
    """

    cells: list[Cell]
    todo: list[Cell]
    n_ok: int
    n_failed: int


def make_plan(cells: Sequence[Cell], known: pd.DataFrame, which: Which = "missing") -> Plan:
    """Compare the cells of a grid with the results; no cell may occur twice in `cells`.

    Args:
        known: the rows of `ResultStore.read_cells`.
        which: the cells to compute: "missing" (without a row), "failed", or "all".
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
