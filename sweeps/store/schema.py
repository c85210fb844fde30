"""The three tables of a results folder, column by column."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pyarrow as pa

from crowdml.experiment.cell import Cell
from crowdml.experiment.result import CellResult
from sweeps.store.provenance import Provenance
from sweeps.store.scrubbing import scrub

SCHEMA_VERSION = 1

TEXT, WHOLE, REAL, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()

AXES = {
    "dataset": TEXT,
    "n_train": WHOLE,
    "network": TEXT,
    "pattern": TEXT,
    "noise_rate": REAL,
    "pattern_options": TEXT,  # JSON
    "worker_model": TEXT,
    "worker_options": TEXT,  # JSON
    "assignment": TEXT,
    "assignment_options": TEXT,  # JSON
    "n_workers": WHOLE,
    "missing_rate": REAL,
    "missing": TEXT,
    "method": TEXT,
    "method_options": TEXT,  # JSON
    "recipe": TEXT,  # JSON
    "seed": WHOLE,
}
MEASURES = {
    "status": TEXT,
    "error": TEXT,
    "aggregation_error": REAL,
    "aggregation_error_affected": REAL,
    "test_accuracy": REAL,
    "test_accuracy_affected": REAL,
    "confusion_error": REAL,
    "n_items": WHOLE,
    "n_classes": WHOLE,
    "n_annotations": WHOLE,
    "n_unlabelled": WHOLE,
    "n_iter": WHOLE,
    "converged": FLAG,
    "n_trainings": WHOLE,
    "images_per_second": REAL,
    "seconds": REAL,
    "seconds_simulate": REAL,
    "seconds_aggregate": REAL,
    "seconds_learn": REAL,
    "peak_memory_mb": REAL,
    "device": TEXT,
}
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
ADDED_LATER: dict[str, str | None] = {
    "worker_options": "{}", "assignment": "every_item", "assignment_options": "{}", "confusion_error": None,
    "command": None, "run_id": None,
}  # fmt: skip
"""Columns that files written before they existed lack, and what all rows of such files have there."""
KEY = {"cell_id": TEXT, "attempt": TEXT}
"""`attempt` tells apart several computations of one cell, so that its curves are never mixed."""

TABLES = {
    "cells": pa.schema({**KEY, **AXES, **MEASURES, **PROVENANCE}),
    "curves": pa.schema({**KEY, "step": WHOLE, "metric": TEXT, "value": REAL}),
    "workers": pa.schema({**KEY, "worker": WHOLE, "true_quality": REAL, "estimated_quality": REAL}),
}


_OPTIONS = ("pattern_options", "worker_options", "assignment_options", "method_options")


def to_tables(results: Sequence[CellResult], attempts: Sequence[str], provenance: Provenance) -> dict[str, pa.Table]:
    """The results as rows of the three tables; tracebacks without secrets.

    Args:
        results: what cells gave.
        attempts: a unique name for each.
        provenance: of the run.
    """
    ids = [result.cell.id for result in results]
    axes = [axis_values(result.cell) for result in results]
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


def axis_values(cell: Cell) -> dict[str, Any]:
    """The columns of AXES for a cell; options and recipe as JSON text."""
    content = {name: getattr(cell, name) for name in AXES}
    for name in _OPTIONS:
        content[name] = json.dumps(dict(content[name]), sort_keys=True)
    content["recipe"] = None if cell.recipe is None else json.dumps(cell.recipe.to_dict(), sort_keys=True)
    return content


def id_of_axes(axes: Mapping[str, Any], method_version: str) -> str:
    """The cell id that a row's axes give with a version of the method: `Cell.id`, without making the cell.

    Making it would import the class of a method that is named `module:Class`, and a row must not decide what code runs.

    Args:
        axes: the columns of AXES, as in the table.
        method_version: as `crowdml.methods.version` has it.

    Raises:
        ValueError: options that are not JSON.
    """
    content = {name: axes[name] for name in AXES if name not in ADDED_LATER or axes[name] != ADDED_LATER[name]}
    for name in (*_OPTIONS, "recipe"):
        if content.get(name) is not None:
            content[name] = json.loads(content[name])
    text = json.dumps({**content, "method_version": method_version}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _points(table: str, ids: Sequence[str], attempts: Sequence[str], points: Sequence[Sequence[Any]]) -> pa.Table:
    """Rows of several a cell."""
    owner = np.repeat(np.arange(len(ids)), [len(of_cell) for of_cell in points])
    key = [pa.array(ids, TEXT).take(owner), pa.array(attempts, TEXT).take(owner)]
    rows = [row for of_cell in points for row in of_cell]
    names = TABLES[table].names
    columns = zip(*rows, strict=True) if rows else [()] * (len(names) - len(KEY))
    return _table(table, dict(zip(names, [*key, *map(list, columns)], strict=True)))


def _table(name: str, columns: Mapping[str, Any]) -> pa.Table:
    schema = TABLES[name]
    return pa.Table.from_pydict({column: columns[column] for column in schema.names}, schema=schema)


def _check_complete() -> None:
    cell_fields = {item.name for item in fields(Cell)}
    result_fields = {item.name for item in fields(CellResult)} - {"cell", "curves", "workers"}
    if cell_fields != set(AXES) or result_fields != set(MEASURES):
        raise TypeError(f"schema and dataclasses differ: {(cell_fields ^ set(AXES)) | (result_fields ^ set(MEASURES))}")


_check_complete()
