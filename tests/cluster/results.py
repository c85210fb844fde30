"""What a results folder holds, for comparison with another one."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sweeps.store.result_store import MARKER, ResultStore
from sweeps.store.schema import PROVENANCE, TABLES

TIMINGS = ["seconds", "seconds_simulate", "seconds_aggregate", "seconds_learn", "images_per_second", "peak_memory_mb"]
OF_THE_RUN = [name for name in PROVENANCE if name != "data_fingerprint"]


def n_attempts(results: Path) -> int:
    """How many computations of cells are recorded, so far."""
    return len(ResultStore(results).attempts()) if (results / MARKER).exists() else 0


def assert_complete(results: Path, n_cells: int) -> None:
    """Every cell is there exactly once, and none failed."""
    rows = ResultStore(results).read_cells()
    assert rows["cell_id"].is_unique
    assert len(rows) == n_cells
    assert list(rows["error"].dropna()) == []
    assert set(rows["status"]) == {"ok"}


def assert_same(results: Path, undisturbed: Path) -> None:
    """Two folders hold the same results: all columns but timings and the provenance of the run, curves, workers."""
    for table in TABLES:
        found, wanted = (_comparable(ResultStore(folder).read(table)) for folder in (results, undisturbed))
        pd.testing.assert_frame_equal(found, wanted)


def _comparable(rows: pd.DataFrame) -> pd.DataFrame:
    rows = rows.drop(columns=["attempt", *TIMINGS, *OF_THE_RUN], errors="ignore")
    keys = [name for name in ("cell_id", "metric", "step", "worker") if name in rows.columns]
    return rows.sort_values(keys, ignore_index=True)
