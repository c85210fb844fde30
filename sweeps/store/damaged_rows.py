"""Find rows that crowdml cannot have written, because a value is missing, is out of range, or is no valid text or JSON.

All rows are checked where they are read, so that all other code can rely on the values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from crowdml.experiment.axes import CellError, Kind
from crowdml.experiment.cell import COLUMNS
from crowdml.experiment.crowd_types import crowd_type
from sweeps.store.schema import AXES, KEY, MEASURES, REAL, TEXT

LONGEST_NAME, LONGEST_JSON = 500, 100_000
"""The most characters of a name, such as a method, and of options or a recipe as JSON."""

_FREE_TEXT = ("error", "command")
_ALWAYS = {*KEY, "status", "versions", "finished_at", "step", "metric", "worker", "pattern"} | {
    name for name, column in COLUMNS.items() if column.part is None and (column.required or column.default is not None)
}
"""Columns that have a value in every row."""
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class DamagedRow:
    """A row with a value that crowdml cannot have written.

    Args:
        path: the path of the part in its file system.
        number: the number of the row in the part, from 1.
        reason: what is wrong.
    """

    path: str
    number: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}, row {self.number}: {self.reason}"


def row_faults(rows: pa.Table) -> dict[int, str]:
    """Return the index of each damaged row and what is wrong with it, in the order of the rows.

    Args:
        rows: rows with some of the columns of a table in `sweeps.store.schema.TABLES`.
    """
    found: dict[int, str] = {}
    for wrong, reason in _faults(rows):
        for index in np.flatnonzero(wrong):
            found.setdefault(int(index), reason)
    return dict(sorted(found.items()))


def _faults(rows: pa.Table) -> Iterator[tuple[NDArray[np.bool_], str]]:
    """Yield (n_rows,) which rows are wrong, and the reason."""
    for name in rows.column_names:
        column = rows[name]
        if name in _ALWAYS:
            yield _is_missing(column), f"{name} is missing"
        if column.null_count == len(column):
            continue
        if name == "status":
            yield ~_where(pc.is_in(column, pa.array(["ok", "failed"]))), 'status must be "ok" or "failed"'
        elif name == "finished_at":
            early = pc.less(column, pa.scalar(_FIRST, column.type))
            late = pc.greater(column, pa.scalar(_LAST, column.type))
            yield _where(pc.or_(early, late)), "finished_at is out of range"
        elif name == "versions" or (name in AXES and COLUMNS[name].axis.kind is not Kind.TEXT):
            yield from _odd_values(name, column)
        elif column.type == TEXT and name not in _FREE_TEXT:
            length = np.asarray(pc.utf8_length(column).fill_null(1))
            odd = _where(pc.invert(pc.utf8_is_printable(column))) | (length < 1) | (length > LONGEST_NAME)
            yield odd, f"{name} is empty, is too long, or holds control characters"
        elif column.type == REAL and name in MEASURES:
            yield _where(pc.is_inf(column)), f"{name} is infinite"
    if "pattern" in rows.column_names:
        yield from _lacking(rows)


def _lacking(rows: pa.Table) -> Iterator[tuple[NDArray[np.bool_], str]]:
    """Yield the rows that lack a value of their kind of crowd or of their network."""
    kinds = {pattern: crowd_type(pattern) for pattern in rows["pattern"].unique().to_pylist() if pattern is not None}
    present = {name: column for name, column in COLUMNS.items() if name in rows.column_names}
    for kind in set(kinds.values()):
        patterns = [pattern for pattern, of_pattern in kinds.items() if of_pattern is kind]
        of_kind = _where(pc.is_in(rows["pattern"], pa.array(patterns, TEXT)))
        own = {item.name: item for item in fields(kind)}
        for name, column in present.items():
            if name in own and own[name].default is not None:
                yield of_kind & _is_missing(rows[name]), f"{name} is missing"
            elif column.part == "crowd" and name not in (*own, "pattern"):
                # A file that is older than a column has its default.
                default = pa.scalar(column.store(column.default), rows[name].type)
                left_out = _is_missing(rows[name]) | _where(pc.equal(rows[name], default))
                yield of_kind & ~left_out, f"{name} must be left out, because {kind.has} none"
    for one, other in (("network", "recipe"), ("recipe", "network")):
        if one in rows.column_names and other in rows.column_names:
            yield ~_is_missing(rows[one]) & _is_missing(rows[other]), f"{other} is missing"


def _odd_values(name: str, column: pa.ChunkedArray) -> Iterator[tuple[NDArray[np.bool_], str]]:
    """Yield the rows with each value that cannot stand in a column of numbers or JSON."""
    for value in column.unique().to_pylist():
        if value is not None and (reason := _reason(name, value)):
            yield _where(pc.equal(column, pa.scalar(value, column.type))), f"{name} {reason}"


@lru_cache(100_000)
def _reason(name: str, value: Any) -> str | None:
    """Return what is wrong with a value of a column of numbers or JSON."""
    if isinstance(value, str):
        if len(value) > LONGEST_JSON:
            return "is too long"
        try:
            content = json.loads(value)
        except (ValueError, RecursionError):
            return "is not JSON"
        if not isinstance(content, dict):
            return "is not a JSON object"
        if not _is_printable(content):
            return "holds control characters"
        if name == "versions":
            is_text = all(isinstance(version, str) for version in content.values())
            return None if is_text else "is not a JSON object of texts"
    try:
        COLUMNS[name].load(value)
    except CellError as error:
        return " ".join(error.reason.split())
    return None


def _is_printable(content: Any) -> bool:
    """Return whether all texts in JSON are printable; JSON that was read is not nested too deeply for this."""
    if isinstance(content, dict):
        return all(_is_printable(part) for pair in content.items() for part in pair)
    if isinstance(content, list):
        return all(map(_is_printable, content))
    return not isinstance(content, str) or content.isprintable()


def _is_missing(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Return (n_rows,) where a value is null or NaN."""
    return column.is_null(nan_is_null=True).to_numpy()


def _where(condition: Any) -> NDArray[np.bool_]:
    """Return (n_rows,) whether a condition (a column of bool) is true.  Null counts as false."""
    return np.asarray(condition.fill_null(False), bool)
