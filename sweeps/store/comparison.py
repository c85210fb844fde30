"""Compare two results folders: their cells, the results of common cells, and where the rows come from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sweeps.store.schema import AXES, MEASURES, REAL

TRAINED_TOLERANCE = 1e-6
"""Measures of cells with a network may differ by this much; measures of other cells may not differ."""
_OF_THE_MACHINE = {"seconds", "seconds_simulate", "seconds_aggregate", "seconds_learn", "peak_memory_mb", "device"}
COMPARED = [name for name in MEASURES if name not in {*_OF_THE_MACHINE, "images_per_second", "error"}]
"""Columns that must be equal when a cell is computed again."""


@dataclass(frozen=True)
class Comparison:
    """The differences between two folders.  Cells with equal axes match, even if the version of their method differs.

    Args:
        only_a, only_b: the axes of the cells that only one folder has.
        different: one row per differing column of a common cell: AXES, `column`, and the values `a` and `b` as
            text.
        n_both: number of common cells.
        n_other_version: number of common cells with different ids, because the version of their method differs.
        provenance: one row per property that differs: its name in `what`, and in `a` and `b` its values, each with the
            number of cells.
    """

    only_a: pd.DataFrame
    only_b: pd.DataFrame
    different: pd.DataFrame
    n_both: int
    n_other_version: int
    provenance: pd.DataFrame

    @property
    def same(self) -> bool:
        """Whether both folders have the same cells with the same results."""
        return not (len(self.only_a) or len(self.only_b) or len(self.different))


def compare(a: pd.DataFrame, b: pd.DataFrame, *, tolerance: float | None = None) -> Comparison:
    """Compare the cells of two folders.

    Args:
        a, b: rows of `ResultStore.read_cells`.
        tolerance: real numbers that differ by at most this much are equal; None is TRAINED_TOLERANCE for cells with a
            network and 0 for other cells.
    """
    axes = list(AXES)
    numbers: dict[tuple[Any, ...], int] = {}
    rows_a, rows_b = _numbered(a, numbers), _numbered(b, numbers)
    paired = rows_a.merge(rows_b.drop(columns=axes), left_index=True, right_index=True, suffixes=("_a", "_b"))
    differing = [_differing(paired, column, tolerance) for column in COMPARED]
    different = pd.concat(differing).sort_index(kind="stable").reset_index(drop=True)
    return Comparison(
        only_a=rows_a.loc[~rows_a.index.isin(rows_b.index), axes].reset_index(drop=True),
        only_b=rows_b.loc[~rows_b.index.isin(rows_a.index), axes].reset_index(drop=True),
        different=different,
        n_both=len(paired),
        n_other_version=int((paired["cell_id_a"] != paired["cell_id_b"]).sum()),
        provenance=_provenance(a, b),
    )


def _numbered(cells: pd.DataFrame, numbers: dict[tuple[Any, ...], int]) -> pd.DataFrame:
    """Return the newest row of each combination of axes, indexed by the number of the combination.

    A column of whole numbers with missing values is a column of floats.  Equal numbers of both types are equal keys.
    """
    newest = cells.sort_values("finished_at", kind="stable").drop_duplicates(list(AXES), keep="last")
    columns = [newest[axis].astype(object).where(newest[axis].notna(), None) for axis in AXES]
    return newest.set_index(
        pd.Index([numbers.setdefault(key, len(numbers)) for key in zip(*columns, strict=True)], dtype="int64")
    )


def _differing(paired: pd.DataFrame, column: str, tolerance: float | None) -> pd.DataFrame:
    a, b = paired[f"{column}_a"], paired[f"{column}_b"]
    unlike = (a != b) & ~(a.isna() & b.isna())
    if MEASURES[column] == REAL:
        allowed = paired["network"].notna() * TRAINED_TOLERANCE if tolerance is None else tolerance
        unlike &= ~((a - b).abs() <= allowed)
    rows = paired.loc[unlike, list(AXES)].assign(column=column)
    return rows.assign(a=a[unlike].map(_text).astype(object), b=b[unlike].map(_text).astype(object))


def _provenance(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    counts = [_counts(a), _counts(b)]
    rows = [
        {"what": what, **{side: _listed(count.get(what, {})) for side, count in zip("ab", counts, strict=True)}}
        for what in sorted({*counts[0], *counts[1]})
        if set(counts[0].get(what, {})) != set(counts[1].get(what, {}))
    ]
    return pd.DataFrame(rows, columns=["what", "a", "b"])


def _counts(cells: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return property of the provenance -> value -> number of rows."""
    counts: dict[str, dict[str, int]] = {}
    columns = ["git_commit", "git_dirty", "device", "versions", "dataset", "data_fingerprint"]
    for values, n_rows in cells[columns].value_counts(dropna=False).items():
        for what, value in _facts(dict(zip(columns, values, strict=True))):  # pyright: ignore[reportArgumentType]
            of_value = counts.setdefault(what, {})
            of_value[value] = of_value.get(value, 0) + int(n_rows)
    return counts


def _facts(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("git_commit", "git_dirty", "device"):
        yield name, _text(row[name])
    yield f"data of {row['dataset']}", _text(row["data_fingerprint"])
    for package, version in json.loads(row["versions"]).items():
        yield f"{package} version", version


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{value} ({n_rows} cells)" for value, n_rows in sorted(counts.items())) or "-"


def _text(value: Any) -> str:
    return "-" if pd.isna(value) else str(value)
