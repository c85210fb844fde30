"""Choose rows by attempt: a cell may have been computed several times, and a row may occur twice."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

RANK_COLUMNS = ["cell_id", "attempt", "status", "finished_at"]
"""The columns that `best_attempts` needs."""


def best_attempts(cells: pa.Table) -> pa.Table:
    """Return the best row of each cell: ok before failed, then the newest `finished_at`, then the first attempt name.

    A clock that jumps can change which of two ok attempts is the best.  It cannot put a failed attempt before an ok
    attempt, and it cannot lose a cell.

    Args:
        cells: rows of the table `cells` with RANK_COLUMNS at least; a row may occur twice.
    """
    if not cells.num_rows:
        return cells
    rank = cells.select(RANK_COLUMNS).combine_chunks()
    failed = pc.cast(pc.not_equal(rank["status"], pa.scalar("ok")), pa.int8())
    order = pc.sort_indices(
        rank.drop_columns(["status"]).append_column("failed", failed),
        sort_keys=[
            ("cell_id", "ascending"),
            ("failed", "ascending"),
            ("finished_at", "descending"),
            ("attempt", "ascending"),
        ],
    )
    ids = rank["cell_id"].combine_chunks().take(order)
    first = pa.concat_arrays([pa.array([True]), pc.not_equal(ids.slice(1), ids.slice(0, len(ids) - 1))])
    return cells.combine_chunks().take(order.filter(first))


def distinct(rows: pa.Table) -> pa.Table:
    """Return the rows without duplicates, which simultaneous or interrupted compactions leave."""
    twice = rows.to_pandas().duplicated().to_numpy()
    return rows.filter(pa.array(~twice)) if twice.any() else rows


def only(rows: pa.Table, attempts: pa.Array) -> pa.Table:
    """Return the rows of these attempts."""
    return rows.filter(pc.is_in(rows["attempt"], value_set=attempts))


def without(rows: pa.Table, attempts: pa.Array) -> pa.Table:
    """Return the rows of all other attempts."""
    return rows.filter(pc.invert(pc.is_in(rows["attempt"], value_set=attempts)))
