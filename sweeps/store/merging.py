"""Merge results folders."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from sweeps.store.attempts import distinct, without
from sweeps.store.result_store import ResultStore


def merge(sources: Sequence[ResultStore], target: ResultStore) -> dict[str, int]:
    """Add every attempt of the sources to the target once, with its provenance.

    A second merge, or a merge after an interruption, adds only what the target lacks.  Damaged rows are left out.

    Args:
        sources: the folders to read; the target may be one of them.
        target: the folder to add to; it is created if it is missing.

    Returns:
        Table -> number of added rows.

    Raises:
        ResultsError: a file is damaged or cannot be reached, or the target cannot be written.
    """
    target.create()
    added = {}
    # The cells come last, so that readers see a cell only when its curves and workers exist.
    for table in ("curves", "workers", "cells"):
        present = target.read_rows(table, ["attempt"])["attempt"].combine_chunks()
        added[table] = 0
        for source in sources:
            for part in source.parts(table):
                rows, _ = source.read_part(table, part)
                rows = without(distinct(rows), present)
                target.write_rows(table, rows)
                added[table] += rows.num_rows
                present = pa.concat_arrays([present, rows["attempt"].combine_chunks().unique()])
    return added
