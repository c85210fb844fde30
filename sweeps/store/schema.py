"""The columns of the three tables of a results folder.

The fields of Cell declare the columns of the axes.  The fields of CellResult are the columns of the measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_type_hints

import numpy as np
import pyarrow as pa

from crowdml.experiment.axes import Kind
from crowdml.experiment.cell import COLUMNS
from crowdml.experiment.columns import columns_of
from crowdml.experiment.result import CellResult
from sweeps.store.provenance import Provenance
from sweeps.store.scrubbing import scrub

SCHEMA_VERSION = 1

TEXT, WHOLE, REAL, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_TYPES = {str: TEXT, int: WHOLE, float: REAL, bool: FLAG}

AXES = {name: {Kind.WHOLE: WHOLE, Kind.NUMBER: REAL}.get(column.axis.kind, TEXT) for name, column in COLUMNS.items()}
"""Columns that describe a cell; options and recipe are JSON text."""
MEASURES = {
    name: next(made for kind, made in _TYPES.items() if hint in (kind, kind | None))
    for name, hint in get_type_hints(CellResult).items()
    if name not in ("cell", "curves", "workers")
}
"""Columns with the result of a cell."""
PROVENANCE = {
    "data_fingerprint": TEXT,
    "git_commit": TEXT,
    "git_dirty": FLAG,
    "versions": TEXT,  # JSON: package -> version
    "host": TEXT,
    "command": TEXT,  # of the run that made the row, without secrets
    "run_id": TEXT,
    "finished_at": pa.timestamp("us", tz="UTC"),
}
KEY = {"cell_id": TEXT, "attempt": TEXT}
"""`attempt` identifies one computation of a cell, so that the curves of two computations are never mixed."""

TABLES = {
    "cells": pa.schema({**KEY, **AXES, **MEASURES, **PROVENANCE}),
    "curves": pa.schema({**KEY, "step": WHOLE, "metric": TEXT, "value": REAL}),
    "workers": pa.schema({**KEY, "worker": WHOLE, "true_quality": REAL, "estimated_quality": REAL}),
}
ABSENT = {name: column.store(column.default) for name, column in COLUMNS.items() if not column.required}
"""Column of an axis -> its default value, for the rows of a file that is older than the axis."""


def to_tables(results: Sequence[CellResult], attempts: Sequence[str], provenance: Provenance) -> dict[str, pa.Table]:
    """Return results as rows of the three tables, without secrets in tracebacks; the names in `attempts` are unique."""
    ids = [result.cell.id for result in results]
    axes = [columns_of(result.cell) for result in results]
    cells: dict[str, Any] = {"cell_id": ids, "attempt": list(attempts)}
    cells |= {name: [row[name] for row in axes] for name in AXES}
    cells |= {name: [getattr(result, name) for result in results] for name in MEASURES}
    cells["error"] = [None if result.error is None else scrub(result.error) for result in results]
    cells["data_fingerprint"] = [provenance.fingerprints.get(result.cell.dataset) for result in results]
    schema = TABLES["cells"]
    same = provenance.columns()
    cells |= {name: pa.repeat(pa.scalar(value, schema.field(name).type), len(ids)) for name, value in same.items()}
    return {
        "cells": _table("cells", cells),
        "curves": _points("curves", ids, attempts, [result.curves for result in results]),
        "workers": _points("workers", ids, attempts, [result.workers for result in results]),
    }


def _points(table: str, ids: Sequence[str], attempts: Sequence[str], points: Sequence[Sequence[Any]]) -> pa.Table:
    """Return a table with several rows per cell."""
    owner = np.repeat(np.arange(len(ids)), [len(of_cell) for of_cell in points])
    key = [pa.array(ids, TEXT).take(owner), pa.array(attempts, TEXT).take(owner)]
    rows = [row for of_cell in points for row in of_cell]
    names = TABLES[table].names
    columns = zip(*rows, strict=True) if rows else [()] * (len(names) - len(KEY))
    return _table(table, dict(zip(names, [*key, *map(list, columns)], strict=True)))


def _table(name: str, columns: Mapping[str, Any]) -> pa.Table:
    schema = TABLES[name]
    return pa.Table.from_pydict({column: columns[column] for column in schema.names}, schema=schema)
